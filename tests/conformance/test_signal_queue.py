"""Signals that wait: in which order they are taken, what is left of them when their queue is full, who is woken."""

from errno import EAGAIN
from typing import TYPE_CHECKING

import pytest

from iosim.syscalls import (
    POLLIN,
    RLIMIT_SIGPENDING,
    SIGIO,
    SIGRTMIN,
    clone,
    close,
    nanosleep,
    read,
    setrlimit,
    sigtimedwait,
    sigwaitinfo,
    write,
)

if TYPE_CHECKING:
    from tests.conformance.conftest import World

pytestmark = pytest.mark.own_process

MILLISECOND_NS = 1_000_000
POLLRDNORM = 0x0040
IN = POLLIN | POLLRDNORM
SIGNALS = (SIGIO, SIGRTMIN, SIGRTMIN + 1)


# --- what is queued, and in which order


async def test_a_closed_descriptor_leaves_its_signals_behind(world: "World") -> None:
    """Stale ones: the number may be another socket's by the time they are taken."""
    client, conn = await world.pair()
    await world.raise_signals(conn)
    await write(client, b"x")
    await close(conn)
    assert await world.pending() == [(SIGRTMIN, conn, IN)]


async def test_signals_of_one_number_are_taken_in_order_of_events(world: "World") -> None:
    pairs = [await world.pair() for _ in range(3)]
    for _, conn in pairs:
        await world.raise_signals(conn)
    turns = [0, 2, 1, 1, 0, 2, 2]
    for turn in turns:
        await write(pairs[turn][0], b"x")
    assert [signal.fd for signal in await world.pending()] == [pairs[turn][1] for turn in turns]


async def test_lower_numbers_are_taken_first(world: "World") -> None:
    (late, low), (early, high), (other, plain) = [await world.pair() for _ in range(3)]
    await world.raise_signals(high, SIGRTMIN + 1)
    await world.raise_signals(low, SIGRTMIN)
    await world.raise_signals(plain, 0)
    for client in (early, late, other, early):
        await write(client, b"x")
    first, second = (SIGRTMIN, low, IN), (SIGRTMIN + 1, high, IN)
    assert await world.pending((SIGRTMIN + 1,)) == [second, second]
    await write(early, b"x")
    assert await world.pending() == [(SIGIO, 0, 0), first, second]


@pytest.mark.parametrize("signo", [0, SIGIO])
async def test_a_standard_signal_is_pending_once(world: "World", signo: int) -> None:
    """By default it does not even say which descriptor; chosen by F_SETSIG, it names the first."""
    (one, near), (other, far) = await world.pair(), await world.pair()
    await world.raise_signals(near, signo)
    await world.raise_signals(far, signo)
    await write(one, b"x")
    await write(other, b"x")
    assert await world.pending() == [(SIGIO, near, IN) if signo else (SIGIO, 0, 0)]


async def overflowing(world: "World", limit: int, events: int) -> list[int]:
    """As many arrivals on as many sockets; the clients, which have more to say."""
    pairs = [await world.pair() for _ in range(events)]
    for _, conn in pairs:
        await world.raise_signals(conn)
    await setrlimit(RLIMIT_SIGPENDING, limit + world.signals_of_others())
    for client, _ in pairs:
        await write(client, b"x")
    return [client for client, _ in pairs]


async def test_beyond_the_limit_one_plain_sigio(world: "World") -> None:
    """The fact of the sheet: limit 10, 30 events, 10 queued + 1 SIGIO, which is taken first."""
    await overflowing(world, 10, 30)
    taken = await world.pending()
    assert [signal.signo for signal in taken] == [SIGIO] + [SIGRTMIN] * 10
    assert taken[0] == (SIGIO, 0, 0)


async def test_up_to_the_limit_none_is_lost(world: "World") -> None:
    await overflowing(world, 10, 10)
    assert [signal.signo for signal in await world.pending()] == [SIGRTMIN] * 10


async def test_the_plain_sigio_counts_too(world: "World") -> None:
    """While it is pending, a place that becomes free is its own."""
    clients = await overflowing(world, 3, 4)
    assert (await sigwaitinfo((SIGRTMIN,))).signo == SIGRTMIN
    await write(clients[0], b"x")
    assert [signal.signo for signal in await world.pending()] == [SIGIO, SIGRTMIN, SIGRTMIN]


async def test_room_in_the_queue_is_used_again(world: "World") -> None:
    clients = await overflowing(world, 3, 4)
    await world.pending()
    for client in clients[:3]:
        await write(client, b"x")
    assert [signal.signo for signal in await world.pending()] == [SIGRTMIN] * 3


async def test_a_limit_of_nothing(world: "World") -> None:
    client, conn = await world.pair()
    await world.raise_signals(conn)
    await setrlimit(RLIMIT_SIGPENDING, 0)
    await write(client, b"x")
    assert await world.pending() == [(SIGIO, 0, 0)]


# --- waiting


async def test_sigwaitinfo_sleeps_until_a_signal_comes(world: "World") -> None:
    client, conn = await world.pair()
    await world.raise_signals(conn)

    async def later() -> None:
        await world.until_asleep()
        await write(client, b"x")

    await clone(later)
    assert await sigwaitinfo(SIGNALS) == (SIGRTMIN, conn, IN)
    assert await read(conn) == b"x"


async def test_it_sleeps_on_for_a_signal_it_does_not_wait_for(world: "World") -> None:
    (one, low), (two, high) = await world.pair(), await world.pair()
    await world.raise_signals(low)
    await world.raise_signals(high, SIGRTMIN + 1)

    async def later() -> None:
        await nanosleep(MILLISECOND_NS)
        await write(one, b"x")
        await nanosleep(MILLISECOND_NS)
        await write(two, b"x")

    await clone(later)
    assert await sigwaitinfo((SIGRTMIN + 1,)) == (SIGRTMIN + 1, high, IN)
    assert await world.pending() == [(SIGRTMIN, low, IN)]


async def test_sigtimedwait_ends_at_its_time(world: "World") -> None:
    client, conn = await world.pair()
    await world.raise_signals(conn)
    with world.fails(EAGAIN):
        await sigtimedwait(SIGNALS, 0)
    with world.fails(EAGAIN):
        await sigtimedwait(SIGNALS, 2)
    await write(client, b"x")
    assert await sigtimedwait(SIGNALS, 1000) == (SIGRTMIN, conn, IN)


async def test_one_signal_wakes_one_thread(world: "World") -> None:
    client, conn = await world.pair()
    await world.raise_signals(conn)
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
