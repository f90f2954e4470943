"""epoll: what it tells of ends of file, resets and other changes of state."""

from typing import TYPE_CHECKING

import pytest

from iosim.syscalls import (
    EPOLLERR,
    EPOLLET,
    EPOLLHUP,
    EPOLLIN,
    EPOLLOUT,
    EPOLLRDHUP,
    SOCK_NONBLOCK,
    accept4,
    close,
    connect,
    epoll_wait,
    read,
    shutdown,
    socket,
    write,
)

if TYPE_CHECKING:
    from tests.conformance.conftest import World

EVERYTHING = EPOLLIN | EPOLLOUT | EPOLLRDHUP


async def test_flags_of_a_half_close(world: "World") -> None:
    client, conn = await world.pair()
    plain, curious = await world.interest(conn), await world.interest(conn, events=EVERYTHING)
    assert await world.now(curious) == [(conn, EPOLLOUT)]
    await shutdown(client)
    assert await world.now(plain) == [(conn, EPOLLIN)]
    assert await world.now(curious) == [(conn, EVERYTHING)]
    await shutdown(conn)
    assert await world.now(plain) == [(conn, EPOLLIN | EPOLLHUP)]
    assert await world.now(curious) == [(conn, EVERYTHING | EPOLLHUP)]


async def test_flags_of_a_reset(world: "World") -> None:
    client, conn = await world.pair()
    silent, curious = await world.interest(client, events=0), await world.interest(client, events=EVERYTHING)
    assert await world.now(silent) == []
    await write(client, b"nobody reads this")
    await close(conn)
    assert await world.now(silent) == [(client, EPOLLERR | EPOLLHUP)]  # unasked
    assert await world.now(curious) == [(client, EVERYTHING | EPOLLERR | EPOLLHUP)]


async def test_edges_of_a_closing_peer(world: "World") -> None:
    client, conn = await world.pair()
    epoll = await world.interest(conn, events=EPOLLIN | EPOLLRDHUP | EPOLLET)
    await write(client, b"x")
    assert await world.now(epoll) == [(conn, EPOLLIN)]
    await close(client)
    assert await world.now(epoll) == [(conn, EPOLLIN | EPOLLRDHUP)]
    assert await world.now(epoll) == []


async def test_an_end_is_an_edge_for_everyone(world: "World") -> None:
    client, conn = await world.pair()
    writer, silent = await world.interest(conn, events=EPOLLOUT | EPOLLET), await world.interest(conn, events=EPOLLET)
    assert await world.now(writer) == [(conn, EPOLLOUT)]
    await shutdown(client)
    assert await world.now(writer) == [(conn, EPOLLOUT)]  # not what it asked for, but the state has changed
    assert await world.now(silent) == []
    await shutdown(conn)
    assert await world.now(writer) == [(conn, EPOLLOUT | EPOLLHUP)]
    assert await world.now(silent) == [(conn, EPOLLHUP)]
    assert await world.now(silent) == await world.now(writer) == []


async def test_a_change_of_state_takes_a_place_in_the_ready_list(world: "World") -> None:
    client, conn = await world.pair()
    epoll = await world.interest(client, conn)
    await shutdown(client)  # both change: the one has received a FIN, the other has sent it
    assert await world.now(epoll, 1) == [(conn, EPOLLIN)]
    await shutdown(conn)
    assert [fd for fd, _ in await world.now(epoll, 1)] == [client]  # it was listed, though it was not readable yet


async def test_each_shutdown_is_an_edge_for_oneself(world: "World") -> None:
    client, _conn = await world.pair()
    epoll = await world.interest(client, events=EPOLLOUT | EPOLLET)
    for _ in range(3):
        assert await world.now(epoll) == [(client, EPOLLOUT)]
        await shutdown(client)  # inet_shutdown: "wake up anyone sleeping in poll"


async def test_polling_an_epoll_descriptor_tidies_its_ready_list(world: "World") -> None:
    (early, one), (late, two) = await world.pair(), await world.pair()
    epoll = await world.interest(one, two)
    await write(early, b"x")
    await read(one)  # listed, and not ready any more
    assert await world.ready(epoll) == 0
    await write(late, b"x")
    await write(early, b"x")
    assert await world.now(epoll) == [(two, EPOLLIN), (one, EPOLLIN)]


async def test_a_new_socket_in_an_interest_list(world: "World") -> None:
    listener, address = await world.listener()
    fd = await socket(SOCK_NONBLOCK)
    epoll = await world.interest(fd, events=EPOLLIN | EPOLLOUT | EPOLLET)
    assert await world.now(epoll) == [(fd, EPOLLOUT | EPOLLHUP)]
    with pytest.raises(BlockingIOError):
        await connect(fd, address)
    assert await epoll_wait(epoll, 8, 2000) == [(fd, EPOLLOUT)]
    await accept4(listener)
