"""Signal-driven I/O: which events of a socket raise a signal, what it says, and to whom it goes."""

from collections.abc import Awaitable, Callable
from errno import EBADF, ECONNREFUSED, EINPROGRESS, EINVAL, ESRCH
from typing import TYPE_CHECKING

import pytest

from iosim.syscalls import (
    F_GETFL,
    F_GETOWN,
    F_GETSIG,
    F_SETFL,
    F_SETOWN,
    F_SETSIG,
    O_ASYNC,
    O_NONBLOCK,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    RLIMIT_SIGPENDING,
    SIG_BLOCK,
    SIG_UNBLOCK,
    SIGIO,
    SIGRTMIN,
    SOCK_NONBLOCK,
    accept4,
    close,
    connect,
    fcntl,
    fork,
    getpid,
    read,
    setrlimit,
    shutdown,
    sigprocmask,
    sigtimedwait,
    sigwaitinfo,
    socket,
    wait,
    write,
)

if TYPE_CHECKING:
    from tests.conformance.conftest import World

pytestmark = pytest.mark.own_process

MILLISECOND_NS = 1_000_000
POLLRDNORM, POLLWRNORM, POLLWRBAND = 0x0040, 0x0100, 0x0200
IN, OUT, ERR, HUP = POLLIN | POLLRDNORM, POLLOUT | POLLWRNORM | POLLWRBAND, POLLERR, POLLHUP | POLLERR
SIGNALS = (SIGIO, SIGRTMIN, SIGRTMIN + 1)


async def bands(world: "World", fd: int) -> list[int]:
    """The bands of what this descriptor has raised."""
    taken = await world.pending()
    assert {signal[:2] for signal in taken} <= {(SIGRTMIN, fd)}
    return [signal.band for signal in taken]


# --- which events raise a signal


async def test_every_arrival_raises_a_signal_read_or_not(world: "World") -> None:
    client, conn = await world.pair()
    await world.raise_signals(conn)
    assert await bands(world, conn) == []
    await write(client, b"one")
    assert await bands(world, conn) == [IN]
    await write(client, b"two")
    await write(client, b"three")
    assert await bands(world, conn) == [IN, IN]
    assert await read(conn) == b"onetwothree"
    assert await bands(world, conn) == []


async def test_what_came_before_o_async_raises_none(world: "World") -> None:
    """The program must look for itself."""
    client, conn = await world.pair()
    await write(client, b"early")
    await world.raise_signals(conn)
    assert await bands(world, conn) == []
    assert await read(conn) == b"early"


async def test_a_fin_raises_two(world: "World") -> None:
    """tcp_fin raises one, and then the segment that brought it another."""
    client, conn = await world.pair()
    await world.raise_signals(conn)
    await shutdown(client)
    assert await bands(world, conn) == [IN, IN]
    await close(client)
    assert await bands(world, conn) == []


async def test_a_fin_that_ends_both_ways_hangs_up(world: "World") -> None:
    client, conn = await world.pair()
    await world.raise_signals(conn)
    await shutdown(conn)
    assert await bands(world, conn) == []  # nobody is told of what he does himself
    await shutdown(client)
    assert await bands(world, conn) == [HUP, IN]


async def test_a_reset_raises_an_error(world: "World") -> None:
    client, conn = await world.pair()
    await world.raise_signals(conn)
    await write(client, b"data")
    await write(conn, b"never read")
    await close(client)
    assert await bands(world, conn) == [IN, ERR]


async def test_a_reset_in_answer(world: "World") -> None:
    client, conn = await world.pair()
    await world.raise_signals(conn)
    await close(client)
    assert await bands(world, conn) == [IN, IN]
    await write(conn, b"to nobody")
    assert await bands(world, conn) == [ERR]


async def test_a_shutdown_of_what_is_over_raises_none(world: "World") -> None:
    client, conn = await world.pair()
    await world.raise_signals(conn)
    await write(conn, b"never read")
    await close(client)
    assert await bands(world, conn) == [ERR]
    with pytest.raises(OSError, match="not connected"):
        await shutdown(conn)
    assert await bands(world, conn) == []


async def test_every_connection_raises_a_signal_of_the_listener(world: "World") -> None:
    listener, address = await world.listener()
    await world.raise_signals(listener)
    for _ in range(3):
        await world.client(address)
    assert await bands(world, listener) == [IN, IN, IN]
    await accept4(listener)
    assert await bands(world, listener) == []


async def test_an_accepted_socket_does_not_inherit_it(world: "World") -> None:
    listener, address = await world.listener()
    await world.raise_signals(listener)
    client = await world.client(address)
    conn = await accept4(listener)
    assert not await fcntl(conn, F_GETFL) & O_ASYNC
    await world.pending()
    await write(client, b"x")
    assert await world.pending() == []


async def test_room_to_write_raises_one_after_a_write_that_found_none(world: "World") -> None:
    client, conn = await world.pair()
    await world.raise_signals(conn, flags=O_NONBLOCK)
    sent = await world.fill(conn)
    assert await bands(world, conn) == []
    received = len(await world.read_exactly(client, sent))
    assert await sigtimedwait(SIGNALS, 1000) == (SIGRTMIN, conn, OUT)
    assert received == sent
    assert await bands(world, conn) == []


async def test_room_raises_none_where_nobody_missed_it(world: "World") -> None:
    client, conn = await world.pair()
    await world.raise_signals(conn, flags=O_NONBLOCK)
    for _ in range(3):
        await write(conn, bytes(1000))
        await world.read_exactly(client, 1000)
    assert await bands(world, conn) == []


async def test_a_connect_that_succeeds_or_fails_raises_one(world: "World") -> None:
    listener, address = await world.listener()
    for wanted in (OUT, ERR):
        fd = await socket(SOCK_NONBLOCK)
        await world.raise_signals(fd, flags=O_NONBLOCK)
        with world.fails(EINPROGRESS):
            await connect(fd, address)
        assert await bands(world, fd) == [wanted]
        await close(fd)
        if wanted == OUT:
            await close(listener)


async def test_without_o_async_there_is_none(world: "World") -> None:
    client, conn = await world.pair()
    await world.raise_signals(conn)
    await write(client, b"x")
    await fcntl(conn, F_SETFL, 0)
    await write(client, b"y")
    assert await bands(world, conn) == [IN]  # what is queued stays


# --- processes


async def test_the_owner_gets_the_signal_whoever_set_it(world: "World") -> None:
    client, conn = await world.pair()
    report, told = await world.pair()
    await sigprocmask(SIG_BLOCK, SIGNALS)

    async def child() -> None:
        await write(report, b"%d" % (await sigwaitinfo(SIGNALS)).fd)

    pid = await fork(child)
    await fcntl(conn, F_SETSIG, SIGRTMIN)
    await fcntl(conn, F_SETOWN, pid)
    await fcntl(conn, F_SETFL, O_ASYNC)
    await write(client, b"x")
    assert await read(told) == b"%d" % conn
    assert await world.pending() == []
    assert await wait() == pid
    await write(client, b"y")  # there is nobody any more
    assert await world.pending() == []


async def test_a_child_inherits_the_mask_and_not_what_is_pending(world: "World") -> None:
    client, conn = await world.pair()
    report, told = await world.pair()
    await world.raise_signals(conn)
    await write(client, b"x")

    async def child() -> None:
        await write(report, b"%d" % len(await world.pending()))
        await fcntl(conn, F_SETOWN, await getpid())
        await write(client, b"y")
        await write(report, b" %d" % len(await world.pending()))

    await fork(child)
    await wait()
    assert await read(told) == b"0 1"
    assert await bands(world, conn) == [IN]


async def test_a_signal_that_is_not_blocked_ends_the_process(world: "World") -> None:
    client, conn = await world.pair()
    await sigprocmask(SIG_BLOCK, SIGNALS)

    async def child() -> None:
        await world.raise_signals(conn)
        await sigprocmask(SIG_UNBLOCK, SIGNALS)
        await write(client, b"x")
        await write(client, b"never sent")

    pid = await fork(child)
    assert await wait() == pid
    assert await read(conn) == b"x"


# --- fcntl


async def test_fcntl_remembers(world: "World") -> None:
    _, conn = await world.pair()
    assert (await fcntl(conn, F_GETOWN), await fcntl(conn, F_GETSIG)) == (0, 0)
    assert await fcntl(conn, F_SETOWN, await getpid()) == 0
    assert await fcntl(conn, F_SETSIG, SIGRTMIN + 1) == 0
    assert await fcntl(conn, F_GETOWN) == await getpid()
    assert await fcntl(conn, F_GETSIG) == SIGRTMIN + 1
    assert not await fcntl(conn, F_GETFL) & O_ASYNC
    await sigprocmask(SIG_BLOCK, SIGNALS)
    await fcntl(conn, F_SETFL, O_ASYNC | O_NONBLOCK)
    assert await fcntl(conn, F_GETFL) & (O_ASYNC | O_NONBLOCK) == O_ASYNC | O_NONBLOCK
    await fcntl(conn, F_SETFL, O_NONBLOCK)
    assert not await fcntl(conn, F_GETFL) & O_ASYNC


Attempt = Callable[[int], Awaitable[object]]


@pytest.mark.parametrize(
    ("number", "attempt"),
    [
        (EINVAL, lambda fd: fcntl(fd, F_SETSIG, 65)),
        (EINVAL, lambda fd: fcntl(fd, F_SETSIG, -1)),
        (ESRCH, lambda fd: fcntl(fd, F_SETOWN, 2**22 + 1)),
        (EBADF, lambda fd: fcntl(fd + 1000, F_SETSIG, SIGRTMIN)),
        (EINVAL, lambda _: sigtimedwait(SIGNALS, -1)),
        (EINVAL, lambda _: sigprocmask(7, SIGNALS)),
        (EINVAL, lambda _: setrlimit(RLIMIT_SIGPENDING, -1)),
        (EINVAL, lambda _: setrlimit(99, 1)),
    ],
    ids=["signal 65", "signal -1", "nobody", "closed", "negative time", "unknown how", "negative limit", "resource"],
)
async def test_what_is_refused(world: "World", number: int, attempt: Attempt) -> None:
    _, conn = await world.pair()
    with world.fails(number):
        await attempt(conn)


async def test_no_owner_no_signal(world: "World") -> None:
    client, conn = await world.pair()
    await sigprocmask(SIG_BLOCK, SIGNALS)
    await fcntl(conn, F_SETSIG, SIGRTMIN)
    await fcntl(conn, F_SETFL, O_ASYNC)
    await write(client, b"x")
    assert await world.pending() == []


async def test_a_refused_connection_s_errno_is_still_to_come(world: "World") -> None:
    listener, address = await world.listener()
    await close(listener)
    fd = await socket(SOCK_NONBLOCK)
    await world.raise_signals(fd, flags=O_NONBLOCK)
    with world.fails(EINPROGRESS):
        await connect(fd, address)
    await sigwaitinfo(SIGNALS)
    with world.fails(ECONNREFUSED):
        await connect(fd, address)
