"""epoll: registration, level against edge, ONESHOT, and what a close does to the interest list."""

from errno import EBADF, EEXIST, EINVAL, ENOENT
from typing import TYPE_CHECKING

import pytest

from iosim.syscalls import (
    EPOLL_CTL_ADD,
    EPOLL_CTL_DEL,
    EPOLL_CTL_MOD,
    EPOLLET,
    EPOLLEXCLUSIVE,
    EPOLLIN,
    EPOLLONESHOT,
    EPOLLOUT,
    EPOLLRDHUP,
    accept4,
    clone,
    close,
    epoll_create,
    epoll_ctl,
    epoll_wait,
    nanosleep,
    read,
    socket,
    write,
)

if TYPE_CHECKING:
    from tests.conformance.conftest import World

MILLISECOND_NS = 1_000_000
EVERYTHING = EPOLLIN | EPOLLOUT | EPOLLRDHUP


async def test_errors_of_epoll_ctl(world: "World") -> None:
    client, conn = await world.pair()
    epoll = await world.interest(conn)
    with world.fails(EEXIST):
        await epoll_ctl(epoll, EPOLL_CTL_ADD, conn, EPOLLIN)
    with world.fails(ENOENT):
        await epoll_ctl(epoll, EPOLL_CTL_MOD, client, EPOLLIN)
    with world.fails(ENOENT):
        await epoll_ctl(epoll, EPOLL_CTL_DEL, client)
    with world.fails(EINVAL):
        await epoll_ctl(epoll, EPOLL_CTL_ADD, epoll, EPOLLIN)  # itself
    with world.fails(EINVAL):
        await epoll_ctl(epoll, 7, conn, EPOLLIN)
    with world.fails(EINVAL):
        await epoll_ctl(conn, EPOLL_CTL_ADD, client, EPOLLIN)  # no epoll descriptor
    await close(client)
    with world.fails(EBADF):
        await epoll_ctl(epoll, EPOLL_CTL_ADD, client, EPOLLIN)
    with world.fails(EBADF):  # both descriptors are looked up before anything else is looked at
        await epoll_ctl(conn, EPOLL_CTL_ADD, client, EPOLLIN)
    with world.fails(EBADF):
        await epoll_ctl(epoll, 7, client, EPOLLIN)
    await close(epoll)
    with world.fails(EBADF):
        await epoll_ctl(epoll, EPOLL_CTL_ADD, conn, EPOLLIN)


async def test_errors_of_epoll_wait(world: "World") -> None:
    client, _conn = await world.pair()
    epoll = await epoll_create()
    for maxevents in (0, -1):
        with world.fails(EINVAL):
            await epoll_wait(epoll, maxevents, 0)
    with world.fails(EINVAL):
        await epoll_wait(client, 1, 0)
    await close(epoll)
    with world.fails(EBADF):
        await epoll_wait(epoll, 1, 0)


@pytest.mark.usefixtures("world")
async def test_an_empty_interest_list_is_a_sleep() -> None:
    epoll = await epoll_create()
    assert await epoll_wait(epoll, 8, 5) == []
    assert await epoll_wait(epoll, 8, 0) == []


async def test_level_tells_as_long_as_it_is_so(world: "World") -> None:
    client, conn = await world.pair()
    epoll = await world.interest(conn)
    assert await world.now(epoll) == []
    await write(client, b"abc")
    assert await world.now(epoll) == [(conn, EPOLLIN)]
    assert await read(conn, 2) == b"ab"
    assert await world.now(epoll) == [(conn, EPOLLIN)]
    await read(conn)
    assert await world.now(epoll) == []


async def test_edge_tells_of_each_arrival_once(world: "World") -> None:
    client, conn = await world.pair()
    epoll = await world.interest(conn, events=EPOLLIN | EPOLLET)
    await write(client, b"abc")
    assert await world.now(epoll) == [(conn, EPOLLIN)]
    assert await world.now(epoll) == []
    assert await read(conn, 1) == b"a"
    assert await world.now(epoll) == []  # unread data is no edge
    await write(client, b"d")
    assert await world.now(epoll) == [(conn, EPOLLIN)]  # new data is, though old data was there
    await write(client, b"e")
    await write(client, b"f")
    assert await world.now(epoll) == [(conn, EPOLLIN)]  # two arrivals, one event
    assert await read(conn) == b"bcdef"
    assert await world.now(epoll) == []


async def test_an_edge_that_was_read_away_is_not_told(world: "World") -> None:
    client, conn = await world.pair()
    epoll = await world.interest(conn, events=EPOLLIN | EPOLLET)
    await write(client, b"x")
    await read(conn)
    assert await world.now(epoll) == []
    await write(client, b"y")
    assert await world.now(epoll) == [(conn, EPOLLIN)]


async def test_an_edge_for_reading_tells_of_writability_too(world: "World") -> None:
    client, conn = await world.pair()
    epoll = await world.interest(conn, events=EPOLLIN | EPOLLOUT | EPOLLET)
    assert await world.now(epoll) == [(conn, EPOLLOUT)]
    assert await world.now(epoll) == []
    await write(client, b"x")
    assert await world.now(epoll) == [(conn, EPOLLIN | EPOLLOUT)]
    assert await world.now(epoll) == []


async def test_edge_of_a_listener(world: "World") -> None:
    listener, address = await world.listener()
    epoll = await world.interest(listener, events=EPOLLIN | EPOLLET)
    await world.client(address)
    await world.client(address)
    assert await world.now(epoll) == [(listener, EPOLLIN)]
    await accept4(listener)
    assert await world.now(epoll) == []  # the second waits, and nothing will say so
    await world.client(address)
    assert await world.now(epoll) == [(listener, EPOLLIN)]


async def test_edge_of_room_to_write(world: "World") -> None:
    client, conn = await world.pair()
    await world.nonblocking(client)
    epoll = await world.interest(client, events=EPOLLOUT | EPOLLET)
    assert await world.now(epoll) == [(client, EPOLLOUT)]
    sent = await world.fill(client)
    while await epoll_wait(epoll, 8, 30):  # the receiver's window may still have opened while we wrote
        sent += await world.fill(client)
    await world.read_exactly(conn, sent)
    assert await epoll_wait(epoll, 8, 2000) == [(client, EPOLLOUT)]
    assert await world.now(epoll) == []


async def test_oneshot_is_masked_until_mod(world: "World") -> None:
    client, conn = await world.pair()
    epoll = await world.interest(conn, events=EPOLLIN | EPOLLONESHOT)
    await write(client, b"x")
    assert await world.now(epoll) == [(conn, EPOLLIN)]
    assert await world.now(epoll) == []
    await write(client, b"y")
    assert await world.now(epoll) == []
    await close(client)
    assert await world.now(epoll) == []
    with world.fails(EEXIST):  # masked, but registered
        await epoll_ctl(epoll, EPOLL_CTL_ADD, conn, EPOLLIN)
    await epoll_ctl(epoll, EPOLL_CTL_MOD, conn, EPOLLIN | EPOLLONESHOT)
    assert await world.now(epoll) == [(conn, EPOLLIN)]
    assert await world.now(epoll) == []


async def test_add_looks_at_once(world: "World") -> None:
    client, conn = await world.pair()
    await write(client, b"x")
    assert await world.now(await world.interest(conn)) == [(conn, EPOLLIN)]
    assert await world.now(await world.interest(conn, events=EPOLLIN | EPOLLET)) == [(conn, EPOLLIN)]
    assert await world.now(await world.interest(conn, events=EPOLLOUT)) == [(conn, EPOLLOUT)]


async def test_mod_looks_again(world: "World") -> None:
    client, conn = await world.pair()
    epoll = await world.interest(conn, events=EPOLLIN | EPOLLET)
    await write(client, b"x")
    assert await world.now(epoll) == [(conn, EPOLLIN)]
    assert await world.now(epoll) == []
    await epoll_ctl(epoll, EPOLL_CTL_MOD, conn, EPOLLIN | EPOLLET)  # arms the edge anew
    assert await world.now(epoll) == [(conn, EPOLLIN)]
    await epoll_ctl(epoll, EPOLL_CTL_MOD, conn, EPOLLOUT)
    assert await world.now(epoll) == [(conn, EPOLLOUT)]
    await epoll_ctl(epoll, EPOLL_CTL_MOD, conn, 0)
    assert await world.now(epoll) == []


async def test_mod_to_less_silences_what_was_ready(world: "World") -> None:
    client, conn = await world.pair()
    epoll = await world.interest(conn)
    await write(client, b"x")
    await epoll_ctl(epoll, EPOLL_CTL_MOD, conn, 0)
    assert await world.now(epoll) == []
    await epoll_ctl(epoll, EPOLL_CTL_MOD, conn, EPOLLIN)
    assert await world.now(epoll) == [(conn, EPOLLIN)]


async def test_del_forgets(world: "World") -> None:
    client, conn = await world.pair()
    epoll = await world.interest(conn)
    await write(client, b"x")
    await epoll_ctl(epoll, EPOLL_CTL_DEL, conn)
    assert await world.now(epoll) == []
    await epoll_ctl(epoll, EPOLL_CTL_ADD, conn, EPOLLIN)
    assert await world.now(epoll) == [(conn, EPOLLIN)]


async def test_close_takes_a_descriptor_off_the_interest_list(world: "World") -> None:
    client, conn = await world.pair()
    epoll = await world.interest(conn, client)
    await write(client, b"x")
    await write(conn, b"x")
    await close(conn)
    assert [fd for fd, _ in await world.now(epoll)] == [client]
    with world.fails(EBADF):
        await epoll_ctl(epoll, EPOLL_CTL_DEL, conn)
    again = await socket()
    assert again == conn
    await epoll_ctl(epoll, EPOLL_CTL_ADD, again, EPOLLIN)  # another file under the same number


async def test_the_ready_list_is_in_order_of_arrival(world: "World") -> None:
    pairs = [await world.pair() for _ in range(4)]
    epoll = await world.interest(*(conn for _, conn in pairs))
    for number in (2, 0, 3, 1):
        await write(pairs[number][0], b"x")
    order = [pairs[number][1] for number in (2, 0, 3, 1)]
    assert [fd for fd, _ in await world.now(epoll)] == order
    assert [fd for fd, _ in await world.now(epoll)] == order  # level: back to the tail, one after the other


async def test_maxevents_1_goes_round(world: "World") -> None:
    pairs = [await world.pair() for _ in range(3)]
    conns = [conn for _, conn in pairs]
    epoll = await world.interest(*conns)
    for client, _ in pairs:
        await write(client, b"x")
    turns = [(await world.now(epoll, 1))[0][0] for _ in range(6)]
    assert turns == conns * 2
    assert [fd for fd, _ in await world.now(epoll, 2)] == conns[:2]
    assert [fd for fd, _ in await world.now(epoll, 2)] == [conns[2], conns[0]]


async def test_maxevents_leaves_edges_for_the_next_call(world: "World") -> None:
    pairs = [await world.pair() for _ in range(3)]
    conns = [conn for _, conn in pairs]
    epoll = await world.interest(*conns, events=EPOLLIN | EPOLLET)
    for client, _ in pairs:
        await write(client, b"x")
    assert [fd for fd, _ in await world.now(epoll, 2)] == conns[:2]
    assert [fd for fd, _ in await world.now(epoll, 2)] == conns[2:]
    assert await world.now(epoll, 2) == []


async def test_exclusive_is_for_add_alone(world: "World") -> None:
    listener, _ = await world.listener()
    other, _ = await world.listener()
    epoll = await world.interest(listener, events=EPOLLIN | EPOLLEXCLUSIVE)
    with world.fails(EINVAL):
        await epoll_ctl(epoll, EPOLL_CTL_MOD, listener, EPOLLIN | EPOLLEXCLUSIVE)
    with world.fails(EINVAL):
        await epoll_ctl(epoll, EPOLL_CTL_MOD, listener, EPOLLIN)
    with world.fails(EINVAL):
        await epoll_ctl(epoll, EPOLL_CTL_ADD, other, EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT)
    with world.fails(EINVAL):
        await epoll_ctl(epoll, EPOLL_CTL_ADD, other, EPOLLIN | EPOLLEXCLUSIVE | EPOLLRDHUP)
    await epoll_ctl(epoll, EPOLL_CTL_ADD, other, EPOLLIN | EPOLLEXCLUSIVE | EPOLLET)
    await epoll_ctl(epoll, EPOLL_CTL_DEL, listener)


async def test_a_sleeping_epoll_wait_wakes(world: "World") -> None:
    client, conn = await world.pair()
    other, idle = await world.pair()
    epoll = await world.interest(idle, other, conn)

    async def writer() -> None:
        await nanosleep(10 * MILLISECOND_NS)
        await write(client, b"x")

    await clone(writer)
    assert await epoll_wait(epoll) == [(conn, EPOLLIN)]
    assert await epoll_wait(epoll, 8, 10_000) == [(conn, EPOLLIN)]


async def test_a_descriptor_added_while_another_thread_sleeps(world: "World") -> None:
    client, conn = await world.pair()
    epoll = await epoll_create()
    await write(client, b"x")

    async def adder() -> None:
        await nanosleep(10 * MILLISECOND_NS)
        await epoll_ctl(epoll, EPOLL_CTL_ADD, conn, EPOLLIN)

    await clone(adder)
    assert await epoll_wait(epoll) == [(conn, EPOLLIN)]


async def test_an_epoll_descriptor_is_readable_when_it_has_events(world: "World") -> None:
    client, conn = await world.pair()
    inner = await world.interest(conn)
    outer = await world.interest(inner)
    assert await world.ready(inner) == 0
    assert await world.now(outer) == []
    await write(client, b"x")
    assert await world.ready(inner) == EPOLLIN
    assert await world.now(outer) == [(inner, EPOLLIN)]
    await read(conn)
    assert await world.ready(inner) == 0
    assert await world.now(outer) == []
