"""What asynchronous I/O costs and when it stalls, counted exactly: glibc's helper threads, Linux AIO's batches."""

from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from iosim.load import SECOND_NS, Load
from iosim.run import run
from iosim.sim.aio_library import IDLE_NS, PREAD, READ, THREADS
from iosim.sim.kernel import SimKernel
from iosim.sim.work import AIO_ENTRY, AIO_WALK, CALL, CLONE, ENTRY, IO_POLL, IO_SUBMIT
from iosim.sim.world import execute
from iosim.syscalls import (
    IOCB_CMD_POLL,
    POLLIN,
    Aiocb,
    Iocb,
    accept4,
    aio_error,
    aio_init,
    aio_read,
    aio_return,
    aio_suspend,
    bind,
    connect,
    getsockname,
    io_getevents,
    io_setup,
    io_submit,
    listen,
    nanosleep,
    socket,
    write,
)

MS = 1_000_000
Pairs = list[tuple[int, int]]


def after(program: Callable[[Pairs], Awaitable[None]], connections: int) -> SimKernel:
    """The kernel as a program with so many connections (client, server's end) left it."""

    async def main() -> None:
        listener = await socket()
        await bind(listener, ("127.0.0.1", 0))
        await listen(listener)
        address = await getsockname(listener)
        pairs = []
        for _ in range(connections):
            client = await socket()
            await connect(client, address)
            pairs.append((client, await accept4(listener)))
        await program(pairs)

    return execute(main())


def work_of(kernel: SimKernel, kind: int) -> int:
    return sum(cpu.account.totals()[0][kind] for cpu in kernel.scheduler.cpus)


async def reads(pairs: Pairs) -> list[Aiocb]:
    """A read of every connection, begun in the order of the descriptors."""
    requests = [Aiocb(conn, bytearray(64)) for _, conn in pairs]
    for request in requests:
        await aio_read(request)
    return requests


@pytest.mark.parametrize("connections", [1, 19, 20, 21, 50])
def test_there_are_at_most_twenty_helpers(connections: int) -> None:
    async def program(pairs: Pairs) -> None:
        await reads(pairs)
        await nanosleep(MS)

    kernel = after(program, connections)
    assert work_of(kernel, CLONE) == min(connections, THREADS)
    assert kernel.peak_threads == 1 + min(connections, THREADS)


def test_aio_init_gives_another_number_until_the_first_request() -> None:
    async def program(pairs: Pairs) -> None:
        await aio_init(3)
        await reads(pairs[:1])
        await aio_init(30)
        await reads(pairs[1:])
        await nanosleep(MS)

    assert after(program, 9).peak_threads == 1 + 3


def test_a_read_is_two_system_calls() -> None:
    async def program(pairs: Pairs) -> None:
        for client, _ in pairs:
            await write(client, b"x")
        for request in await reads(pairs):
            await aio_suspend([request])

    kernel = after(program, 12)
    assert kernel.helper_census[PREAD] == kernel.helper_census[READ] == 12
    assert kernel.census["read"] == 0  # none that the program made


@pytest.mark.parametrize(("idle_ns", "threads"), [(IDLE_NS // 2, 1), (2 * IDLE_NS, 2)])
def test_a_helper_ends_after_a_second_without_work(idle_ns: int, threads: int) -> None:
    """And the next request then needs a new one."""

    async def program(pairs: Pairs) -> None:
        [(client, _)] = pairs
        for _ in range(2):
            await write(client, b"x")
            await aio_suspend(await reads(pairs))
            await nanosleep(idle_ns)

    assert work_of(after(program, 1), CLONE) == threads


@pytest.mark.parametrize("outstanding", [1, 10, 100])
def test_aio_suspend_walks_a_list_for_every_entry_of_its_list(outstanding: int) -> None:
    """n entries, each found by a walk from the head of a list of n: n (n + 1) / 2 steps; and n more entries on the way
    out, to take itself off them."""

    async def program(pairs: Pairs) -> None:
        requests = await reads(pairs)
        for _ in range(2):
            with suppress(BlockingIOError):
                await aio_suspend(requests, 1)

    async def without(pairs: Pairs) -> None:
        await reads(pairs)

    kernels = [after(each, outstanding) for each in (program, without)]
    walked, looked_at = (work_of(kernels[0], kind) - work_of(kernels[1], kind) for kind in (AIO_WALK, AIO_ENTRY))
    assert walked == 2 * outstanding * (outstanding + 1) // 2
    assert looked_at == 2 * 2 * outstanding


def test_the_twenty_first_is_served_when_one_of_the_twenty_is() -> None:
    """To the nanosecond: nothing of it happens before the thread that it gets is free."""
    served: dict[str, int] = {}
    spoke_ns = SECOND_NS

    async def program(pairs: Pairs) -> None:
        *idle, (client, _) = pairs
        await write(client, b"here")
        requests = await reads(pairs)
        for name, timeout_ms in (("before", 0), ("later", 900)):
            with suppress(BlockingIOError):
                await aio_suspend(requests[-1:], timeout_ms)
            served[name] = await aio_error(requests[-1])
        await write(idle[3][0], b"I go")
        await aio_suspend(requests[-1:])
        assert await aio_return(requests[-1]) == 4
        assert await aio_return(requests[3]) == 4

    kernel = after(program, THREADS + 1)
    assert served["before"] == served["later"] != 0
    assert kernel.clock.now < spoke_ns


def test_idle_clients_stall_the_model_and_helpers_for_all_do_not() -> None:
    """50 clients of which two speak, and neither of them was among the first twenty to come: nobody is answered."""
    load = Load(clients=50, active=0.04, think_ns=MS, think="constant", requests=40)
    stalled, roomy = (run("posix_aio", load, params={"aio_threads": threads}) for threads in (THREADS, 50))
    assert roomy.requests["completed"] == roomy.requests["issued"] == 40
    assert stalled.requests["completed"] < stalled.requests["issued"] < 40
    assert any("answers no more" in warning for warning in stalled.warnings)


@pytest.mark.parametrize("ready", [1, 4, 16])
def test_one_io_submit_arms_a_whole_batch(ready: int) -> None:
    """Two system calls a turn beside the reads and writes, however many sockets were ready (epoll ONESHOT would re-arm
    each with a call of its own)."""

    async def program(pairs: Pairs) -> None:
        context = await io_setup(64)
        polls = [Iocb(IOCB_CMD_POLL, conn, POLLIN) for _, conn in pairs]
        for client, _ in pairs[:ready]:
            await write(client, b"x")
        for _ in range(3):
            assert await io_submit(context, polls) == len(polls)
            polls = [Iocb(IOCB_CMD_POLL, fd, POLLIN) for fd, _ in await io_getevents(context)]
            assert len(polls) == ready

    kernel = after(program, 16)
    assert work_of(kernel, IO_SUBMIT) == kernel.census["io_submit"] == kernel.census["io_getevents"] == 3
    assert work_of(kernel, IO_POLL) == 16 + 2 * ready


def test_the_busier_it_is_the_more_requests_share_a_turn() -> None:
    made = [
        run("linux_aio", Load(clients=1000, rate_per_s=rate_per_s, requests=2000)).window_syscalls
        for rate_per_s in (100, 100_000, 200_000, 400_000)
    ]
    per_read = [calls["io_submit"] / calls["read"] for calls in made]
    assert per_read[0] > 0.99
    assert per_read == sorted(per_read, reverse=True)
    assert per_read[-1] < 0.05


def test_what_enters_the_kernel_and_what_the_runtime_pays() -> None:
    """A request: aio_read tells a helper (or starts it), which preads, reads, wakes the program, and waits for more;
    aio_suspend sleeps. aio_error and aio_return enter nothing. The helper is C in any runtime: only the program's own
    calls cost a runtime's share."""

    async def program(pairs: Pairs) -> None:
        [(client, _)] = pairs
        for _ in range(10):
            await write(client, b"x")
            [request] = await reads(pairs)
            await aio_suspend([request])
            await aio_error(request)
            await aio_return(request)
            await nanosleep(MS)

    kernel = after(program, 1)
    assert sum(kernel.helper_census.values()) == 10 * 3
    plain = sum(count for name, count in kernel.census.items() if not name.startswith("aio_"))
    assert work_of(kernel, ENTRY) == plain + 10 * (1 + 4 + 1)
    assert work_of(kernel, CALL) == sum(kernel.census.values())
