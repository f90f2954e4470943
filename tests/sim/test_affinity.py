"""Threads with an affinity: where they run, exactly, and who else still may run anywhere."""

from collections.abc import Awaitable, Callable

from iosim.costs import Costs
from iosim.machine import Machine
from iosim.sim.kernel import SimKernel
from iosim.sim.work import COMPUTE
from iosim.sim.world import execute
from iosim.syscalls import clone, compute, nanosleep, sched_getaffinity, sched_setaffinity

MS = 1_000_000
FREE = Costs().scaled_to_zero()


def computed_ns(program: Callable[[], Awaitable[None]], cpus: int = 2, costs: Costs = FREE) -> tuple[list[int], int]:
    """What each CPU computed, and when the program ended."""

    async def main() -> None:
        await program()

    kernel: SimKernel = execute(main(), costs=costs, machine=Machine(cpus=cpus))
    return [cpu.books()[1][COMPUTE] for cpu in kernel.scheduler.cpus], kernel.clock.now


def test_a_thread_moves_at_once() -> None:
    async def program() -> None:
        for cpu, length_ms in ((2, 5), (0, 3), (1, 7)):
            await sched_setaffinity([cpu])
            assert await sched_getaffinity() == [cpu]
            await compute(length_ms * MS)

    assert computed_ns(program, cpus=3) == ([3 * MS, 7 * MS, 5 * MS], 15 * MS)


def test_two_threads_of_one_cpu_share_it_though_another_is_idle() -> None:
    ended: list[int] = []

    async def worker() -> None:
        await compute(20 * MS)
        ended.append(1)

    async def program() -> None:
        await sched_setaffinity([1])
        await clone(worker)
        await clone(worker)
        while len(ended) < 2:
            await nanosleep(MS)

    (idle, busy), now = computed_ns(program)
    assert (idle, busy) == (0, 40 * MS)
    assert 40 * MS <= now <= 42 * MS


def test_an_idle_cpu_takes_the_next_thread_that_may_run_there() -> None:
    ended: list[str] = []

    async def pinned(name: str) -> None:
        await sched_setaffinity([0])
        await compute(30 * MS)
        ended.append(name)

    async def free(name: str) -> None:
        await compute(10 * MS)
        ended.append(name)

    async def program() -> None:
        for start, name in ((pinned, "a"), (pinned, "b"), (free, "c"), (free, "d")):
            await clone(start, name)
        while len(ended) < 4:
            await nanosleep(MS)

    (first, second), _ = computed_ns(program)
    assert first + second == 80 * MS
    assert first >= 60 * MS
    assert sorted(ended[:2]) == ["c", "d"]  # on the other CPU, while the pinned ones share theirs


def test_a_woken_thread_gets_its_turn_on_its_cpu_and_takes_no_other() -> None:
    ended: list[str] = []

    async def sleeper() -> None:
        await sched_setaffinity([0])
        await nanosleep(5 * MS)
        await compute(MS)
        ended.append("sleeper")

    async def hog() -> None:
        await sched_setaffinity([0])
        await compute(50 * MS)
        ended.append("hog")

    async def program() -> None:
        await sched_setaffinity([1])
        await clone(sleeper)
        await clone(hog)
        await compute(2 * MS)
        while len(ended) < 2:
            await nanosleep(MS)

    (first, second), _ = computed_ns(program)
    assert ended == ["sleeper", "hog"]
    assert (first, second) == (51 * MS, 2 * MS)  # though the other CPU was idle for most of the time


def test_a_move_costs_the_call_and_a_wake_up_and_the_books_balance() -> None:
    async def program() -> None:
        for cpu in (1, 0) * 10:
            await sched_setaffinity([cpu])
            await compute(MS)

    (first, second), now = computed_ns(program, costs=Costs())
    assert (first, second) == (10 * MS, 10 * MS)
    exits_ns = 21 * Costs().at("idle_exit_ns")
    assert 20 * MS + exits_ns < now < 20 * MS + exits_ns + 20 * 3000
