"""The interpreter's lock: one thread in user mode at a time, handed over at the switch interval; none without need."""

import pytest

from iosim.costs import Costs
from iosim.load import Load
from iosim.machine import Machine
from iosim.results import Run
from iosim.run import run
from iosim.sim.clock import Clock
from iosim.sim.interpreter import Interpreter
from iosim.sim.kernel import SimKernel
from iosim.sim.thread import Code, Thread
from iosim.sim.world import execute
from iosim.syscalls import clone, compute, exit, fork, nanosleep, wait

MS = 1_000_000
CPYTHON = Costs(runtime="cpython", call_ns=600, request_ns=1100)
FREE = Costs().scaled_to_zero().replace(runtime="cpython", switch_interval_ns=5 * MS)


async def nothing() -> None:
    pass


@pytest.fixture
def threads() -> list[Thread]:
    """Three of one process, that never run."""
    kernel = SimKernel(Clock(), CPYTHON, Machine())
    process = kernel.start_process(nothing())
    for _ in range(2):
        kernel.start_thread(process, nothing())
    kernel.close_programs()
    return list(process.threads)


def test_the_lock_goes_to_the_waiters_in_turn(threads: list[Thread]) -> None:
    one, two, three = threads
    lock = Interpreter()
    assert lock.take(one) is None
    lock.waiters |= {two: None, three: None}
    assert lock.release() is two
    assert lock.holder is None, "who is woken owns nothing yet"
    assert lock.release() is three
    assert lock.release() is None


def test_who_was_asked_is_told_when_another_thread_has_the_lock(threads: list[Thread]) -> None:
    one, two, _ = threads
    lock = Interpreter()
    lock.take(one)
    lock.release()
    lock.yielded, lock.asked = one, True
    assert lock.take(two) is one
    assert not lock.asked
    assert lock.switches == 2


def test_taking_it_again_is_no_switch(threads: list[Thread]) -> None:
    one, *_ = threads
    lock = Interpreter()
    for _ in range(3):
        lock.take(one)
        lock.release()
    assert lock.switches == 1


def elapsed_ns(program: Code, cpus: int, costs: Costs = FREE) -> int:
    return execute(program, costs=costs, machine=Machine(cpus=cpus)).clock.now


@pytest.mark.parametrize(("runtime", "expected_ms"), [("cpython", 40), ("c", 20)])
def test_two_threads_compute_one_after_the_other_in_an_interpreter(runtime: str, expected_ms: int) -> None:
    ended: list[str] = []

    async def program() -> None:
        await clone(worker)
        await compute(20 * MS)
        ended.append("program")
        await nanosleep(60 * MS)

    async def worker() -> None:
        await compute(20 * MS)
        ended.append("worker")
        await exit()

    assert elapsed_ns(program(), 2, FREE.replace(runtime=runtime)) == pytest.approx(expected_ms * MS, abs=5 * MS)
    assert len(ended) >= 1


@pytest.mark.parametrize("runtime", ["c", "cpython"])
def test_processes_have_a_lock_each(runtime: str) -> None:
    async def program() -> None:
        await fork(worker)
        await fork(worker)
        await wait()
        await wait()

    async def worker() -> None:
        await compute(20 * MS)

    assert elapsed_ns(program(), 2, FREE.replace(runtime=runtime)) == 20 * MS


def test_a_sleeping_thread_does_not_hold_it() -> None:
    async def program() -> None:
        await clone(sleeper)
        await nanosleep(10 * MS)
        await compute(3 * MS)

    async def sleeper() -> None:
        await nanosleep(100 * MS)

    assert elapsed_ns(program(), 2) == 13 * MS


def test_exit_ends_threads_that_hold_the_lock_or_wait_for_it() -> None:
    async def program() -> None:
        for _ in range(3):
            await clone(busy)
        await nanosleep(7 * MS)
        await exit()

    async def busy() -> None:
        while True:
            await compute(MS)

    for cpus in (1, 2, 4):
        assert elapsed_ns(program(), cpus, CPYTHON) < 100 * MS


LOADS = [Load(clients=n, think_ns=0, work_ns=work, duration_ns=20 * MS, warmup_ns=0)
         for n, work in [(1, 0), (7, 0), (60, 0), (7, 300_000)]]  # fmt: skip


@pytest.mark.parametrize("cpus", [1, 2, 3])
@pytest.mark.parametrize("load", LOADS, ids=str)
def test_bursts_that_are_not_cut_change_nothing(load: Load, cpus: int) -> None:
    one, other = (
        run("threads", load, costs=CPYTHON, machine=Machine(cpus=cpus), coalesce=coalesce) for coalesce in (True, False)
    )
    assert one.digest == other.digest
    assert one.latency_parts_ns is not None
    assert min(one.latency_parts_ns.values()) >= 0


def figures(result: Run) -> tuple[object, ...]:
    return result.digest, result.latency_ns, result.context_switches


@pytest.mark.parametrize("model", ["epoll_loop", "blocking", "prefork"])
def test_one_thread_in_a_process_needs_no_lock(model: str) -> None:
    load = Load(clients=5, rate_per_s=20_000, duration_ns=20 * MS)
    in_c = run(model, load, costs=CPYTHON.replace(runtime="c"), machine=Machine(cpus=2))
    assert figures(run(model, load, costs=CPYTHON, machine=Machine(cpus=2))) == figures(in_c)


def test_threads_on_one_cpu_meet_no_lock_where_none_is_preempted() -> None:
    result = run("threads", Load(clients=30, think_ns=0, duration_ns=20 * MS), costs=CPYTHON)
    assert result.work is not None
    assert "lock_wait_ns" not in result.work


def test_threads_on_two_cpus_wait_for_the_lock_and_say_so() -> None:
    load = Load(clients=30, think_ns=0, work_ns=50_000, duration_ns=50 * MS)
    limited, free = (run("threads", load, costs=costs, machine=Machine(cpus=2))
                     for costs in (CPYTHON, CPYTHON.replace(runtime="c")))  # fmt: skip
    assert limited.throughput_per_s < 1.05e9 / (50_000 + 2 * 600 + 1100), "two threads in one interpreter"
    assert free.throughput_per_s > 1.5 * limited.throughput_per_s
    assert limited.cpu_causes_ns is not None
    assert limited.cpu_causes_ns["interpreter lock"] > 0
