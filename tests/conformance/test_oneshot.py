"""Many threads on one epoll descriptor: who is told of a socket, and how many at once."""

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from iosim.syscalls import (
    EPOLL_CTL_ADD,
    EPOLL_CTL_MOD,
    EPOLLIN,
    EPOLLONESHOT,
    clone,
    epoll_create,
    epoll_ctl,
    epoll_wait,
    nanosleep,
    read,
    write,
)

if TYPE_CHECKING:
    from tests.conformance.conftest import World

MS = 1_000_000
MESSAGES = 30
THREADS = 4


async def most_at_once(world: "World", flags: int, sockets: int) -> int:
    """Threads read one byte at a time from sockets that never run dry, and hold each for a while; how many held the
    same one at once, at most. All bytes are read, by all threads together."""
    epoll = await epoll_create()
    clients: list[int] = []
    taken: list[int] = []
    holders: dict[int, int] = {}
    for _ in range(sockets):
        client, conn = await world.pair()
        clients.append(client)
        holders[conn] = 0
        await world.nonblocking(conn)
        await write(client, bytes(MESSAGES))
        await epoll_ctl(epoll, EPOLL_CTL_ADD, conn, EPOLLIN | flags)
    most, begun, ended = 0, [], []

    async def thread(number: int) -> None:
        nonlocal most
        begun.append(number)
        while len(begun) < THREADS:
            await nanosleep(MS)
        while len(taken) < sockets * MESSAGES:
            for fd, _events in await epoll_wait(epoll, 1, 10):
                holders[fd] += 1
                most = max(most, holders[fd])
                await nanosleep(MS)
                with suppress(BlockingIOError):  # another thread had the last byte
                    taken.extend(await read(fd, 1))
                holders[fd] -= 1
                if flags & EPOLLONESHOT:
                    await epoll_ctl(epoll, EPOLL_CTL_MOD, fd, EPOLLIN | flags)
        ended.append(number)

    for number in range(THREADS):
        await clone(thread, number)
    while len(ended) < THREADS:
        await nanosleep(MS)
    assert len(taken) == sockets * MESSAGES
    return most


@pytest.mark.parametrize("sockets", [1, 3])
async def test_oneshot_never_gives_one_socket_to_two_threads(world: "World", sockets: int) -> None:
    assert await most_at_once(world, EPOLLONESHOT, sockets) == 1


async def test_a_level_gives_one_socket_to_many_threads(world: "World") -> None:
    assert await most_at_once(world, 0, 1) > 1


async def test_what_comes_while_masked_is_told_when_armed_again(world: "World") -> None:
    client, conn = await world.pair()
    epoll = await world.interest(conn, events=EPOLLIN | EPOLLONESHOT)
    await write(client, b"x")
    assert await epoll_wait(epoll) == [(conn, EPOLLIN)]
    await read(conn)
    await write(client, b"y")
    assert await world.now(epoll) == []
    await epoll_ctl(epoll, EPOLL_CTL_MOD, conn, EPOLLIN | EPOLLONESHOT)
    assert await world.now(epoll) == [(conn, EPOLLIN)]
