"""epoll: registration, level against edge, ONESHOT, and what a close does to the interest list."""

from errno import EBADF, EEXIST, EINVAL, ENOENT
from typing import TYPE_CHECKING

import pytest

from iosim.syscalls import (
    EPOLL_CTL_ADD,
    EPOLL_CTL_DEL,
    EPOLL_CTL_MOD,
    EPOLLERR,
    EPOLLET,
    EPOLLEXCLUSIVE,
    EPOLLHUP,
    EPOLLIN,
    EPOLLONESHOT,
    EPOLLOUT,
    EPOLLRDHUP,
    SOCK_NONBLOCK,
    accept4,
    clone,
    close,
    connect,
    epoll_create,
    epoll_ctl,
    epoll_wait,
    nanosleep,
    read,
    shutdown,
    socket,
    write,
)

if TYPE_CHECKING:
    from tests.conformance.conftest import World

MILLISECOND_NS = 1_000_000
EVERYTHING = EPOLLIN | EPOLLOUT | EPOLLRDHUP


async def interest(*fds: int, events: int = EPOLLIN) -> int:
    """A new epoll descriptor that watches these."""
    epoll = await epoll_create()
    for fd in fds:
        await epoll_ctl(epoll, EPOLL_CTL_ADD, fd, events)
    return epoll


async def now(epoll: int, maxevents: int = 64) -> list[tuple[int, int]]:
    """What epoll_wait has without waiting."""
    return await epoll_wait(epoll, maxevents, 0)


async def test_errors_of_epoll_ctl(world: "World") -> None:
    client, conn = await world.pair()
    epoll = await interest(conn)
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
    epoll = await interest(conn)
    assert await now(epoll) == []
    await write(client, b"abc")
    assert await now(epoll) == [(conn, EPOLLIN)]
    assert await read(conn, 2) == b"ab"
    assert await now(epoll) == [(conn, EPOLLIN)]
    await read(conn)
    assert await now(epoll) == []


async def test_edge_tells_of_each_arrival_once(world: "World") -> None:
    client, conn = await world.pair()
    epoll = await interest(conn, events=EPOLLIN | EPOLLET)
    await write(client, b"abc")
    assert await now(epoll) == [(conn, EPOLLIN)]
    assert await now(epoll) == []
    assert await read(conn, 1) == b"a"
    assert await now(epoll) == []  # unread data is no edge
    await write(client, b"d")
    assert await now(epoll) == [(conn, EPOLLIN)]  # new data is, though old data was there
    await write(client, b"e")
    await write(client, b"f")
    assert await now(epoll) == [(conn, EPOLLIN)]  # two arrivals, one event
    assert await read(conn) == b"bcdef"
    assert await now(epoll) == []


async def test_an_edge_that_was_read_away_is_not_told(world: "World") -> None:
    client, conn = await world.pair()
    epoll = await interest(conn, events=EPOLLIN | EPOLLET)
    await write(client, b"x")
    await read(conn)
    assert await now(epoll) == []
    await write(client, b"y")
    assert await now(epoll) == [(conn, EPOLLIN)]


async def test_an_edge_for_reading_tells_of_writability_too(world: "World") -> None:
    client, conn = await world.pair()
    epoll = await interest(conn, events=EPOLLIN | EPOLLOUT | EPOLLET)
    assert await now(epoll) == [(conn, EPOLLOUT)]
    assert await now(epoll) == []
    await write(client, b"x")
    assert await now(epoll) == [(conn, EPOLLIN | EPOLLOUT)]
    assert await now(epoll) == []


async def test_edge_of_a_listener(world: "World") -> None:
    listener, address = await world.listener()
    epoll = await interest(listener, events=EPOLLIN | EPOLLET)
    await world.client(address)
    await world.client(address)
    assert await now(epoll) == [(listener, EPOLLIN)]
    await accept4(listener)
    assert await now(epoll) == []  # the second waits, and nothing will say so
    await world.client(address)
    assert await now(epoll) == [(listener, EPOLLIN)]


async def test_edge_of_room_to_write(world: "World") -> None:
    client, conn = await world.pair()
    await world.nonblocking(client)
    epoll = await interest(client, events=EPOLLOUT | EPOLLET)
    assert await now(epoll) == [(client, EPOLLOUT)]
    sent = await world.fill(client)
    while await epoll_wait(epoll, 8, 30):  # the receiver's window may still have opened while we wrote
        sent += await world.fill(client)
    await world.read_exactly(conn, sent)
    assert await epoll_wait(epoll, 8, 2000) == [(client, EPOLLOUT)]
    assert await now(epoll) == []


async def test_oneshot_is_masked_until_mod(world: "World") -> None:
    client, conn = await world.pair()
    epoll = await interest(conn, events=EPOLLIN | EPOLLONESHOT)
    await write(client, b"x")
    assert await now(epoll) == [(conn, EPOLLIN)]
    assert await now(epoll) == []
    await write(client, b"y")
    assert await now(epoll) == []
    await close(client)
    assert await now(epoll) == []
    with world.fails(EEXIST):  # masked, but registered
        await epoll_ctl(epoll, EPOLL_CTL_ADD, conn, EPOLLIN)
    await epoll_ctl(epoll, EPOLL_CTL_MOD, conn, EPOLLIN | EPOLLONESHOT)
    assert await now(epoll) == [(conn, EPOLLIN)]
    assert await now(epoll) == []


async def test_add_looks_at_once(world: "World") -> None:
    client, conn = await world.pair()
    await write(client, b"x")
    assert await now(await interest(conn)) == [(conn, EPOLLIN)]
    assert await now(await interest(conn, events=EPOLLIN | EPOLLET)) == [(conn, EPOLLIN)]
    assert await now(await interest(conn, events=EPOLLOUT)) == [(conn, EPOLLOUT)]


async def test_mod_looks_again(world: "World") -> None:
    client, conn = await world.pair()
    epoll = await interest(conn, events=EPOLLIN | EPOLLET)
    await write(client, b"x")
    assert await now(epoll) == [(conn, EPOLLIN)]
    assert await now(epoll) == []
    await epoll_ctl(epoll, EPOLL_CTL_MOD, conn, EPOLLIN | EPOLLET)  # arms the edge anew
    assert await now(epoll) == [(conn, EPOLLIN)]
    await epoll_ctl(epoll, EPOLL_CTL_MOD, conn, EPOLLOUT)
    assert await now(epoll) == [(conn, EPOLLOUT)]
    await epoll_ctl(epoll, EPOLL_CTL_MOD, conn, 0)
    assert await now(epoll) == []


async def test_mod_to_less_silences_what_was_ready(world: "World") -> None:
    client, conn = await world.pair()
    epoll = await interest(conn)
    await write(client, b"x")
    await epoll_ctl(epoll, EPOLL_CTL_MOD, conn, 0)
    assert await now(epoll) == []
    await epoll_ctl(epoll, EPOLL_CTL_MOD, conn, EPOLLIN)
    assert await now(epoll) == [(conn, EPOLLIN)]


async def test_del_forgets(world: "World") -> None:
    client, conn = await world.pair()
    epoll = await interest(conn)
    await write(client, b"x")
    await epoll_ctl(epoll, EPOLL_CTL_DEL, conn)
    assert await now(epoll) == []
    await epoll_ctl(epoll, EPOLL_CTL_ADD, conn, EPOLLIN)
    assert await now(epoll) == [(conn, EPOLLIN)]


async def test_close_takes_a_descriptor_off_the_interest_list(world: "World") -> None:
    client, conn = await world.pair()
    epoll = await interest(conn, client)
    await write(client, b"x")
    await write(conn, b"x")
    await close(conn)
    assert [fd for fd, _ in await now(epoll)] == [client]
    with world.fails(EBADF):
        await epoll_ctl(epoll, EPOLL_CTL_DEL, conn)
    again = await socket()
    assert again == conn
    await epoll_ctl(epoll, EPOLL_CTL_ADD, again, EPOLLIN)  # another file under the same number


async def test_the_ready_list_is_in_order_of_arrival(world: "World") -> None:
    pairs = [await world.pair() for _ in range(4)]
    epoll = await interest(*(conn for _, conn in pairs))
    for number in (2, 0, 3, 1):
        await write(pairs[number][0], b"x")
    order = [pairs[number][1] for number in (2, 0, 3, 1)]
    assert [fd for fd, _ in await now(epoll)] == order
    assert [fd for fd, _ in await now(epoll)] == order  # level: back to the tail, one after the other


async def test_maxevents_1_goes_round(world: "World") -> None:
    pairs = [await world.pair() for _ in range(3)]
    conns = [conn for _, conn in pairs]
    epoll = await interest(*conns)
    for client, _ in pairs:
        await write(client, b"x")
    turns = [(await now(epoll, 1))[0][0] for _ in range(6)]
    assert turns == conns * 2
    assert [fd for fd, _ in await now(epoll, 2)] == conns[:2]
    assert [fd for fd, _ in await now(epoll, 2)] == [conns[2], conns[0]]


async def test_maxevents_leaves_edges_for_the_next_call(world: "World") -> None:
    pairs = [await world.pair() for _ in range(3)]
    conns = [conn for _, conn in pairs]
    epoll = await interest(*conns, events=EPOLLIN | EPOLLET)
    for client, _ in pairs:
        await write(client, b"x")
    assert [fd for fd, _ in await now(epoll, 2)] == conns[:2]
    assert [fd for fd, _ in await now(epoll, 2)] == conns[2:]
    assert await now(epoll, 2) == []


async def test_flags_of_a_half_close(world: "World") -> None:
    client, conn = await world.pair()
    plain, curious = await interest(conn), await interest(conn, events=EVERYTHING)
    assert await now(curious) == [(conn, EPOLLOUT)]
    await shutdown(client)
    assert await now(plain) == [(conn, EPOLLIN)]
    assert await now(curious) == [(conn, EVERYTHING)]
    await shutdown(conn)
    assert await now(plain) == [(conn, EPOLLIN | EPOLLHUP)]
    assert await now(curious) == [(conn, EVERYTHING | EPOLLHUP)]


async def test_flags_of_a_reset(world: "World") -> None:
    client, conn = await world.pair()
    silent, curious = await interest(client, events=0), await interest(client, events=EVERYTHING)
    assert await now(silent) == []
    await write(client, b"nobody reads this")
    await close(conn)
    assert await now(silent) == [(client, EPOLLERR | EPOLLHUP)]  # unasked
    assert await now(curious) == [(client, EVERYTHING | EPOLLERR | EPOLLHUP)]


async def test_edges_of_a_closing_peer(world: "World") -> None:
    client, conn = await world.pair()
    epoll = await interest(conn, events=EPOLLIN | EPOLLRDHUP | EPOLLET)
    await write(client, b"x")
    assert await now(epoll) == [(conn, EPOLLIN)]
    await close(client)
    assert await now(epoll) == [(conn, EPOLLIN | EPOLLRDHUP)]
    assert await now(epoll) == []


async def test_an_end_is_an_edge_for_everyone(world: "World") -> None:
    client, conn = await world.pair()
    writer, silent = await interest(conn, events=EPOLLOUT | EPOLLET), await interest(conn, events=EPOLLET)
    assert await now(writer) == [(conn, EPOLLOUT)]
    await shutdown(client)
    assert await now(writer) == [(conn, EPOLLOUT)]  # not what it asked for, but the state has changed
    assert await now(silent) == []
    await shutdown(conn)
    assert await now(writer) == [(conn, EPOLLOUT | EPOLLHUP)]
    assert await now(silent) == [(conn, EPOLLHUP)]
    assert await now(silent) == await now(writer) == []


async def test_a_change_of_state_takes_a_place_in_the_ready_list(world: "World") -> None:
    client, conn = await world.pair()
    epoll = await interest(client, conn)
    await shutdown(client)  # both change: the one has received a FIN, the other has sent it
    assert await now(epoll, 1) == [(conn, EPOLLIN)]
    await shutdown(conn)
    assert [fd for fd, _ in await now(epoll, 1)] == [client]  # it was listed, though it was not readable yet


async def test_a_new_socket_in_an_interest_list(world: "World") -> None:
    listener, address = await world.listener()
    fd = await socket(SOCK_NONBLOCK)
    epoll = await interest(fd, events=EPOLLIN | EPOLLOUT | EPOLLET)
    assert await now(epoll) == [(fd, EPOLLOUT | EPOLLHUP)]
    with pytest.raises(BlockingIOError):
        await connect(fd, address)
    assert await epoll_wait(epoll, 8, 2000) == [(fd, EPOLLOUT)]
    await accept4(listener)


async def test_exclusive_is_for_add_alone(world: "World") -> None:
    listener, _ = await world.listener()
    other, _ = await world.listener()
    epoll = await interest(listener, events=EPOLLIN | EPOLLEXCLUSIVE)
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
    epoll = await interest(idle, other, conn)

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
    inner = await interest(conn)
    outer = await interest(inner)
    assert await world.ready(inner) == 0
    assert await now(outer) == []
    await write(client, b"x")
    assert await world.ready(inner) == EPOLLIN
    assert await now(outer) == [(inner, EPOLLIN)]
    await read(conn)
    assert await world.ready(inner) == 0
    assert await now(outer) == []
