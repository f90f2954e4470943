"""The herd: how many sleepers one new connection wakes, and which. Nobody accepts it, so a late riser finds it too."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from iosim.syscalls import (
    EPOLL_CTL_ADD,
    EPOLLET,
    EPOLLEXCLUSIVE,
    EPOLLIN,
    POLLIN,
    FdSet,
    PollFds,
    accept4,
    clone,
    epoll_create,
    epoll_ctl,
    epoll_wait,
    fork,
    nanosleep,
    poll,
    read,
    select,
    wait,
    write,
)

if TYPE_CHECKING:
    from tests.conformance.conftest import World

MILLISECOND_NS = 1_000_000
LONG_MS = 10_000
ENOUGH_MS = 250
"""How long a sleeper sleeps that may not be woken: long beside the time in which all go to sleep."""
Sleep = Callable[[int], Awaitable[bool]]
"""Wait for a listener; whether a connection was there."""


async def by_select(listener: int) -> bool:
    readers = FdSet()
    readers.add(listener)
    return await select(readers, FdSet(), LONG_MS) == ([listener], [])


async def by_poll(listener: int) -> bool:
    return await poll(PollFds({listener: POLLIN}), LONG_MS) == [(listener, POLLIN)]


async def by_epoll(listener: int, flags: int = 0, timeout_ms: int = LONG_MS) -> bool:
    epoll = await epoll_create()
    await epoll_ctl(epoll, EPOLL_CTL_ADD, listener, EPOLLIN | flags)
    return await epoll_wait(epoll, 8, timeout_ms) == [(listener, EPOLLIN)]


async def by_epoll_edge(listener: int) -> bool:
    return await by_epoll(listener, EPOLLET)


async def by_epoll_exclusive(listener: int) -> bool:
    return await by_epoll(listener, EPOLLEXCLUSIVE, ENOUGH_MS)


async def woken(world: "World", sleep: Sleep, sleepers: int) -> list[int]:
    """Put threads to sleep one after the other, connect once; the numbers of those that woke, ascending."""
    listener, address = await world.listener()
    tell, told = await world.pair()
    awake: list[int] = []

    async def sleeper(number: int) -> None:
        if await sleep(listener):
            awake.append(number)
        await write(tell, b"x")

    for number in range(sleepers):
        await clone(sleeper, number)
        await nanosleep(5 * MILLISECOND_NS)
    await world.client(address)
    await world.read_exactly(told, sleepers)
    return sorted(awake)


@pytest.mark.parametrize("sleepers", [1, 4, 16])
@pytest.mark.parametrize("sleep", [by_select, by_poll, by_epoll, by_epoll_edge])
async def test_one_connection_wakes_every_sleeper(world: "World", sleep: Sleep, sleepers: int) -> None:
    assert await woken(world, sleep, sleepers) == list(range(sleepers))


@pytest.mark.parametrize("sleepers", [1, 4, 16])
async def test_one_connection_wakes_the_first_exclusive_sleeper(world: "World", sleepers: int) -> None:
    assert await woken(world, by_epoll_exclusive, sleepers) == [0]


@pytest.mark.parametrize(("flags", "awake"), [(0, 4), (EPOLLET, 1), (EPOLLEXCLUSIVE, 4)])
async def test_sleepers_on_one_epoll_descriptor(world: "World", flags: int, awake: int) -> None:
    """A level goes back to the ready list, and its first sleeper wakes the next; an edge is for one."""
    watched, address = await world.listener()
    epoll = await epoll_create()
    await epoll_ctl(epoll, EPOLL_CTL_ADD, watched, EPOLLIN | flags)
    tell, told = await world.pair()

    async def sleeper() -> None:
        await write(tell, b"1" if await epoll_wait(epoll, 8, ENOUGH_MS) else b"0")

    for _ in range(4):
        await clone(sleeper)
        await nanosleep(5 * MILLISECOND_NS)
    await world.client(address)
    assert (await world.read_exactly(told, 4)).count(b"1") == awake


async def test_the_first_exclusive_sleeper_always_wins(world: "World") -> None:
    """EPOLLEXCLUSIVE is not fair: who sleeps first on the listener is asked first, however often it has served."""
    listener, address = await world.listener()
    tell, told = await world.pair()

    async def worker(number: int) -> None:
        epoll = await epoll_create()
        await epoll_ctl(epoll, EPOLL_CTL_ADD, listener, EPOLLIN | EPOLLEXCLUSIVE)
        while await epoll_wait(epoll, 8, ENOUGH_MS):
            await accept4(listener)
            await write(tell, b"%d" % number)
        await write(tell, b".")

    for number in range(3):
        await clone(worker, number)
        await nanosleep(5 * MILLISECOND_NS)
    for _ in range(4):
        await world.client(address)
        assert await read(told) == b"0"
        await nanosleep(5 * MILLISECOND_NS)  # until it sleeps again
    await world.read_exactly(told, 3)


async def test_one_connection_wakes_one_sleeping_accept(world: "World") -> None:
    listener, address = await world.listener()
    tell, told = await world.pair()

    async def worker() -> None:
        await accept4(listener)
        await write(tell, b"x")

    for _ in range(4):
        await fork(worker)
        await nanosleep(5 * MILLISECOND_NS)
    for _ in range(4):
        await world.client(address)
        await nanosleep(10 * MILLISECOND_NS)
        assert await read(told) == b"x"
    for _ in range(4):
        await wait()


async def test_forked_workers_that_select_all_wake(world: "World") -> None:
    listener, address = await world.listener()
    tell, told = await world.pair()

    async def worker() -> None:
        await write(tell, b"1" if await by_select(listener) else b"0")

    for _ in range(4):
        await fork(worker)
        await nanosleep(5 * MILLISECOND_NS)
    await world.client(address)
    assert await world.read_exactly(told, 4) == b"1111"
    for _ in range(4):
        await wait()
