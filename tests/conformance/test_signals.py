"""Signal-driven I/O: which events of a socket raise a signal, what it says, in which order signals are taken, and what
is left when their queue is full."""

from collections.abc import Awaitable, Callable
from errno import EAGAIN, EBADF, ECONNREFUSED, EINPROGRESS, EINVAL, ESRCH
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
    SigInfo,
    accept4,
    clone,
    close,
    connect,
    fcntl,
    fork,
    getpid,
    nanosleep,
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


async def raise_signals(fd: int, signo: int = SIGRTMIN, flags: int = 0) -> None:
    """Block the signals, then have this descriptor raise one."""
    await sigprocmask(SIG_BLOCK, SIGNALS)
    await fcntl(fd, F_SETOWN, await getpid())
    await fcntl(fd, F_SETSIG, signo)
    await fcntl(fd, F_SETFL, O_ASYNC | flags)


async def pending(signals: tuple[int, ...] = SIGNALS) -> list[SigInfo]:
    """Take all that wait."""
    taken = []
    try:
        while True:
            taken.append(await sigtimedwait(signals, 0))
    except BlockingIOError:
        return taken


async def bands(fd: int) -> list[int]:
    """The bands of what this descriptor has raised."""
    taken = await pending()
    assert {signal[:2] for signal in taken} <= {(SIGRTMIN, fd)}
    return [signal.band for signal in taken]


# --- which events raise a signal


async def test_every_arrival_raises_a_signal_read_or_not(world: "World") -> None:
    client, conn = await world.pair()
    await raise_signals(conn)
    assert await bands(conn) == []
    await write(client, b"one")
    assert await bands(conn) == [IN]
    await write(client, b"two")
    await write(client, b"three")
    assert await bands(conn) == [IN, IN]
    assert await read(conn) == b"onetwothree"
    assert await bands(conn) == []


async def test_what_came_before_o_async_raises_none(world: "World") -> None:
    """The program must look for itself."""
    client, conn = await world.pair()
    await write(client, b"early")
    await raise_signals(conn)
    assert await bands(conn) == []
    assert await read(conn) == b"early"


async def test_a_fin_raises_two(world: "World") -> None:
    """tcp_fin raises one, and then the segment that brought it another."""
    client, conn = await world.pair()
    await raise_signals(conn)
    await shutdown(client)
    assert await bands(conn) == [IN, IN]
    await close(client)
    assert await bands(conn) == []


async def test_a_fin_that_ends_both_ways_hangs_up(world: "World") -> None:
    client, conn = await world.pair()
    await raise_signals(conn)
    await shutdown(conn)
    assert await bands(conn) == []  # nobody is told of what he does himself
    await shutdown(client)
    assert await bands(conn) == [HUP, IN]


async def test_a_reset_raises_an_error(world: "World") -> None:
    client, conn = await world.pair()
    await raise_signals(conn)
    await write(client, b"data")
    await write(conn, b"never read")
    await close(client)
    assert await bands(conn) == [IN, ERR]


async def test_a_reset_in_answer(world: "World") -> None:
    client, conn = await world.pair()
    await raise_signals(conn)
    await close(client)
    assert await bands(conn) == [IN, IN]
    await write(conn, b"to nobody")
    assert await bands(conn) == [ERR]


async def test_a_shutdown_of_what_is_over_raises_none(world: "World") -> None:
    client, conn = await world.pair()
    await raise_signals(conn)
    await write(conn, b"never read")
    await close(client)
    assert await bands(conn) == [ERR]
    with pytest.raises(OSError, match="not connected"):
        await shutdown(conn)
    assert await bands(conn) == []


async def test_every_connection_raises_a_signal_of_the_listener(world: "World") -> None:
    listener, address = await world.listener()
    await raise_signals(listener)
    for _ in range(3):
        await world.client(address)
    assert await bands(listener) == [IN, IN, IN]
    await accept4(listener)
    assert await bands(listener) == []


async def test_an_accepted_socket_does_not_inherit_it(world: "World") -> None:
    listener, address = await world.listener()
    await raise_signals(listener)
    client = await world.client(address)
    conn = await accept4(listener)
    assert not await fcntl(conn, F_GETFL) & O_ASYNC
    await pending()
    await write(client, b"x")
    assert await pending() == []


async def test_room_to_write_raises_one_after_a_write_that_found_none(world: "World") -> None:
    client, conn = await world.pair()
    await raise_signals(conn, flags=O_NONBLOCK)
    sent = await world.fill(conn)
    assert await bands(conn) == []
    received = len(await world.read_exactly(client, sent))
    assert await sigtimedwait(SIGNALS, 1000) == (SIGRTMIN, conn, OUT)
    assert received == sent
    assert await bands(conn) == []


async def test_room_raises_none_where_nobody_missed_it(world: "World") -> None:
    client, conn = await world.pair()
    await raise_signals(conn, flags=O_NONBLOCK)
    for _ in range(3):
        await write(conn, bytes(1000))
        await world.read_exactly(client, 1000)
    assert await bands(conn) == []


async def test_a_connect_that_succeeds_or_fails_raises_one(world: "World") -> None:
    listener, address = await world.listener()
    for wanted in (OUT, ERR):
        fd = await socket(SOCK_NONBLOCK)
        await raise_signals(fd, flags=O_NONBLOCK)
        with world.fails(EINPROGRESS):
            await connect(fd, address)
        assert await bands(fd) == [wanted]
        await close(fd)
        if wanted == OUT:
            await close(listener)


async def test_without_o_async_there_is_none(world: "World") -> None:
    client, conn = await world.pair()
    await raise_signals(conn)
    await write(client, b"x")
    await fcntl(conn, F_SETFL, 0)
    await write(client, b"y")
    assert await bands(conn) == [IN]  # what is queued stays


# --- what is queued, and in which order


async def test_a_closed_descriptor_leaves_its_signals_behind(world: "World") -> None:
    """Stale ones: the number may be another socket's by the time they are taken."""
    client, conn = await world.pair()
    await raise_signals(conn)
    await write(client, b"x")
    await close(conn)
    assert await bands(conn) == [IN]


async def test_signals_of_one_number_are_taken_in_order_of_events(world: "World") -> None:
    pairs = [await world.pair() for _ in range(3)]
    for _, conn in pairs:
        await raise_signals(conn)
    turns = [0, 2, 1, 1, 0, 2, 2]
    for turn in turns:
        await write(pairs[turn][0], b"x")
    assert [signal.fd for signal in await pending()] == [pairs[turn][1] for turn in turns]


async def test_lower_numbers_are_taken_first(world: "World") -> None:
    (late, low), (early, high), (other, plain) = [await world.pair() for _ in range(3)]
    await raise_signals(high, SIGRTMIN + 1)
    await raise_signals(low, SIGRTMIN)
    await raise_signals(plain, 0)
    for client in (early, late, other, early):
        await write(client, b"x")
    first, second = (SIGRTMIN, low, IN), (SIGRTMIN + 1, high, IN)
    assert await pending((SIGRTMIN + 1,)) == [second, second]
    await write(early, b"x")
    assert await pending() == [(SIGIO, 0, 0), first, second]


@pytest.mark.parametrize("signo", [0, SIGIO])
async def test_a_standard_signal_is_pending_once(world: "World", signo: int) -> None:
    """By default it does not even say which descriptor; chosen by F_SETSIG, it names the first."""
    (one, near), (other, far) = await world.pair(), await world.pair()
    await raise_signals(near, signo)
    await raise_signals(far, signo)
    await write(one, b"x")
    await write(other, b"x")
    assert await pending() == [(SIGIO, near, IN) if signo else (SIGIO, 0, 0)]


async def overflowing(world: "World", limit: int, events: int) -> list[int]:
    """As many arrivals on as many sockets; the clients, which have more to say."""
    pairs = [await world.pair() for _ in range(events)]
    for _, conn in pairs:
        await raise_signals(conn)
    await setrlimit(RLIMIT_SIGPENDING, limit + world.signals_of_others())
    for client, _ in pairs:
        await write(client, b"x")
    return [client for client, _ in pairs]


async def test_beyond_the_limit_one_plain_sigio(world: "World") -> None:
    """The fact of the sheet: limit 10, 30 events, 10 queued + 1 SIGIO, which is taken first."""
    await overflowing(world, 10, 30)
    taken = await pending()
    assert [signal.signo for signal in taken] == [SIGIO] + [SIGRTMIN] * 10
    assert taken[0] == (SIGIO, 0, 0)


async def test_up_to_the_limit_none_is_lost(world: "World") -> None:
    await overflowing(world, 10, 10)
    assert [signal.signo for signal in await pending()] == [SIGRTMIN] * 10


async def test_the_plain_sigio_counts_too(world: "World") -> None:
    """While it is pending, a place that becomes free is its own."""
    clients = await overflowing(world, 3, 4)
    assert (await sigwaitinfo((SIGRTMIN,))).signo == SIGRTMIN
    await write(clients[0], b"x")
    assert [signal.signo for signal in await pending()] == [SIGIO, SIGRTMIN, SIGRTMIN]


async def test_room_in_the_queue_is_used_again(world: "World") -> None:
    clients = await overflowing(world, 3, 4)
    await pending()
    for client in clients[:3]:
        await write(client, b"x")
    assert [signal.signo for signal in await pending()] == [SIGRTMIN] * 3


async def test_a_limit_of_nothing(world: "World") -> None:
    client, conn = await world.pair()
    await raise_signals(conn)
    await setrlimit(RLIMIT_SIGPENDING, 0)
    await write(client, b"x")
    assert await pending() == [(SIGIO, 0, 0)]


# --- waiting


async def test_sigwaitinfo_sleeps_until_a_signal_comes(world: "World") -> None:
    client, conn = await world.pair()
    await raise_signals(conn)

    async def later() -> None:
        await world.until_asleep()
        await write(client, b"x")

    await clone(later)
    assert await sigwaitinfo(SIGNALS) == (SIGRTMIN, conn, IN)
    assert await read(conn) == b"x"


async def test_it_sleeps_on_for_a_signal_it_does_not_wait_for(world: "World") -> None:
    (one, low), (two, high) = await world.pair(), await world.pair()
    await raise_signals(low)
    await raise_signals(high, SIGRTMIN + 1)

    async def later() -> None:
        await nanosleep(MILLISECOND_NS)
        await write(one, b"x")
        await nanosleep(MILLISECOND_NS)
        await write(two, b"x")

    await clone(later)
    assert await sigwaitinfo((SIGRTMIN + 1,)) == (SIGRTMIN + 1, high, IN)
    assert await pending() == [(SIGRTMIN, low, IN)]


async def test_sigtimedwait_ends_at_its_time(world: "World") -> None:
    client, conn = await world.pair()
    await raise_signals(conn)
    with world.fails(EAGAIN):
        await sigtimedwait(SIGNALS, 0)
    with world.fails(EAGAIN):
        await sigtimedwait(SIGNALS, 2)
    await write(client, b"x")
    assert await sigtimedwait(SIGNALS, 1000) == (SIGRTMIN, conn, IN)


async def test_one_signal_wakes_one_thread(world: "World") -> None:
    client, conn = await world.pair()
    await raise_signals(conn)
    woken: list[int] = []

    async def waiter(number: int) -> None:
        await sigwaitinfo((SIGRTMIN,))
        woken.append(number)

    for number in range(3):
        await clone(waiter, number)
    await world.until_asleep()
    for count in (1, 2, 3):
        await write(client, b"x")
        await nanosleep(20 * MILLISECOND_NS)
        assert len(woken) == count
    assert sorted(woken) == [0, 1, 2]


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
    assert await pending() == []
    assert await wait() == pid
    await write(client, b"y")  # there is nobody any more
    assert await pending() == []


async def test_a_child_inherits_the_mask_and_not_what_is_pending(world: "World") -> None:
    client, conn = await world.pair()
    report, told = await world.pair()
    await raise_signals(conn)
    await write(client, b"x")

    async def child() -> None:
        await write(report, b"%d" % len(await pending()))
        await fcntl(conn, F_SETOWN, await getpid())
        await write(client, b"y")
        await write(report, b" %d" % len(await pending()))

    await fork(child)
    await wait()
    assert await read(told) == b"0 1"
    assert await bands(conn) == [IN]


async def test_a_signal_that_is_not_blocked_ends_the_process(world: "World") -> None:
    client, conn = await world.pair()
    await sigprocmask(SIG_BLOCK, SIGNALS)

    async def child() -> None:
        await raise_signals(conn)
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
    assert await pending() == []


async def test_a_refused_connection_s_errno_is_still_to_come(world: "World") -> None:
    listener, address = await world.listener()
    await close(listener)
    fd = await socket(SOCK_NONBLOCK)
    await raise_signals(fd, flags=O_NONBLOCK)
    with world.fails(EINPROGRESS):
        await connect(fd, address)
    await sigwaitinfo(SIGNALS)
    with world.fails(ECONNREFUSED):
        await connect(fd, address)
