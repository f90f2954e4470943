"""The herd: how many sleepers one new connection wakes, and which.

Who is woken for readiness leaves the connection where it is, so that a late riser finds it too and is counted.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
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
    poll,
    read,
    select,
    wait,
    write,
)

if TYPE_CHECKING:
    from tests.conformance.conftest import World

NEVER_MS = 20_000
Sleep = Callable[[int], Awaitable[bool]]
"""Wait for a listener; whether a connection was there."""


async def by_select(listener: int) -> bool:
    readers = FdSet()
    readers.add(listener)
    return await select(readers, FdSet(), NEVER_MS) == ([listener], [])


async def by_poll(listener: int) -> bool:
    return await poll(PollFds({listener: POLLIN}), NEVER_MS) == [(listener, POLLIN)]


async def by_epoll(listener: int, flags: int = 0) -> bool:
    epoll = await epoll_create()
    await epoll_ctl(epoll, EPOLL_CTL_ADD, listener, EPOLLIN | flags)
    return await epoll_wait(epoll, 8, NEVER_MS) == [(listener, EPOLLIN)]


async def by_epoll_edge(listener: int) -> bool:
    return await by_epoll(listener, EPOLLET)


async def by_epoll_exclusive(listener: int) -> bool:
    return await by_epoll(listener, EPOLLEXCLUSIVE)


async def by_accept(listener: int) -> bool:
    return bool(await accept4(listener))


async def woken(world: "World", sleep: Sleep, sleepers: int) -> list[list[int]]:
    """Put threads to sleep one after the other; then connect until all are awake: who woke with each connection."""
    listener, address = await world.listener()
    awake: list[int] = []

    async def sleeper(number: int) -> None:
        assert await sleep(listener)
        awake.append(number)

    for number in range(sleepers):
        await clone(sleeper, number)
        await world.until_asleep()
    history: list[list[int]] = []
    while sum(map(len, history)) < sleepers:
        await world.client(address)
        await world.until_asleep()
        history.append(sorted(awake))
        awake.clear()
    return history


@pytest.mark.parametrize("sleepers", [1, 4, 16])
@pytest.mark.parametrize("sleep", [by_select, by_poll, by_epoll, by_epoll_edge])
async def test_one_connection_wakes_every_sleeper(world: "World", sleep: Sleep, sleepers: int) -> None:
    assert await woken(world, sleep, sleepers) == [list(range(sleepers))]


@pytest.mark.parametrize("sleepers", [1, 4, 16])
async def test_one_connection_wakes_one_exclusive_sleeper_the_first(world: "World", sleepers: int) -> None:
    assert await woken(world, by_epoll_exclusive, sleepers) == [[number] for number in range(sleepers)]


@pytest.mark.parametrize("sleepers", [1, 4, 16])
async def test_one_connection_wakes_one_sleeping_accept_the_first(world: "World", sleepers: int) -> None:
    assert await woken(world, by_accept, sleepers) == [[number] for number in range(sleepers)]


@pytest.mark.parametrize(("flags", "awake"), [(0, [4]), (EPOLLET, [1] * 4), (EPOLLEXCLUSIVE, [4])])
async def test_sleepers_on_one_epoll_descriptor(world: "World", flags: int, awake: list[int]) -> None:
    """A level goes back to the ready list, and its first sleeper wakes the next; an edge is for one."""
    epoll = await epoll_create()

    async def together(listener: int) -> bool:
        with suppress(FileExistsError):
            await epoll_ctl(epoll, EPOLL_CTL_ADD, listener, EPOLLIN | flags)
        return await epoll_wait(epoll, 8, NEVER_MS) == [(listener, EPOLLIN)]

    assert [len(numbers) for numbers in await woken(world, together, 4)] == awake


async def test_the_first_exclusive_sleeper_always_wins(world: "World") -> None:
    """EPOLLEXCLUSIVE is not fair: who sleeps first on the listener is asked first, however often it has served."""
    listener, address = await world.listener()
    served: list[int] = []

    async def worker(number: int) -> None:
        epoll = await epoll_create()
        await epoll_ctl(epoll, EPOLL_CTL_ADD, listener, EPOLLIN | EPOLLEXCLUSIVE)
        order = b"serve on"
        while order != b"stop":
            await epoll_wait(epoll, 8, NEVER_MS)
            order = await read(await accept4(listener))
            served.append(number)

    for number in range(3):
        await clone(worker, number)
        await world.until_asleep()
    for order in [b"serve on"] * 3 + [b"stop"] * 3:
        await write(await world.client(address), order)
        await world.until_asleep()
    assert served == [0, 0, 0, 0, 1, 2]


async def test_forked_workers_that_select_all_wake(world: "World") -> None:
    listener, address = await world.listener()
    tell, told = await world.pair()

    async def worker() -> None:
        await write(tell, b"1" if await by_select(listener) else b"0")

    for _ in range(4):
        await fork(worker)
    await world.until_asleep()
    await world.client(address)
    assert await world.read_exactly(told, 4) == b"1111"
    for _ in range(4):
        await wait()
