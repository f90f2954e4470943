"""select and poll: what is ready, in which order, and when."""

from errno import EBADF
from typing import TYPE_CHECKING

import pytest

from iosim.syscalls import (
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLNVAL,
    POLLOUT,
    FdSet,
    PollFds,
    accept4,
    clone,
    close,
    epoll_create,
    nanosleep,
    poll,
    read,
    select,
    shutdown,
    socket,
    write,
)

if TYPE_CHECKING:
    from tests.conformance.conftest import World

MILLISECOND_NS = 1_000_000
POLLRDHUP = 0x2000


def fd_set(*fds: int) -> FdSet:
    made = FdSet()
    for fd in fds:
        made.add(fd)
    return made


async def test_select_tells_readers_and_writers_apart(world: "World") -> None:
    client, conn = await world.pair()
    assert await select(fd_set(client, conn), FdSet(), 0) == ([], [])
    assert await select(FdSet(), fd_set(client, conn), 0) == ([], sorted([client, conn]))
    await write(client, b"x")
    assert await select(fd_set(client, conn), fd_set(conn), 0) == ([conn], [conn])


async def test_select_answers_in_ascending_order(world: "World") -> None:
    pairs = [await world.pair() for _ in range(4)]
    for client, _ in reversed(pairs):
        await write(client, b"x")
    conns = [conn for _, conn in pairs]
    assert (await select(fd_set(*reversed(conns)), FdSet()))[0] == sorted(conns)


async def test_select_leaves_the_sets_of_the_caller(world: "World") -> None:
    client, conn = await world.pair()
    readers, writers = fd_set(client, conn), fd_set(client)
    await select(readers, writers, 0)
    assert list(readers) == sorted([client, conn])
    assert list(writers) == [client]


@pytest.mark.usefixtures("world")
async def test_select_and_poll_of_nothing_are_a_sleep() -> None:
    assert await select(FdSet(), FdSet(), 5) == ([], [])
    assert await poll(PollFds(), 5) == []
    assert await poll(PollFds(), 0) == []


async def test_select_refuses_a_closed_descriptor(world: "World") -> None:
    client, conn = await world.pair()
    await close(conn)
    with world.fails(EBADF):
        await select(fd_set(client, conn), FdSet(), 0)
    with world.fails(EBADF):
        await select(FdSet(), fd_set(conn), 0)


async def test_poll_tells_of_a_closed_descriptor(world: "World") -> None:
    client, conn = await world.pair()
    await close(conn)
    assert await poll(PollFds({client: POLLOUT, conn: POLLIN}), 0) == [(client, POLLOUT), (conn, POLLNVAL)]


async def test_poll_answers_in_array_order(world: "World") -> None:
    pairs = [await world.pair() for _ in range(3)]
    for client, _ in pairs:
        await write(client, b"x")
    (_, one), (_, two), (_, three) = pairs
    fds = PollFds({three: POLLIN, one: POLLIN, two: POLLIN})
    assert [fd for fd, _ in await poll(fds)] == [three, one, two]
    fds[three] = POLLIN | POLLOUT  # altered: it keeps its place
    assert await poll(fds) == [(three, POLLIN | POLLOUT), (one, POLLIN), (two, POLLIN)]
    del fds[three]
    assert [fd for fd, _ in await poll(fds)] == [one, two]
    del fds[one]
    fds[one] = POLLIN  # came back: at the end
    fds[three] = POLLIN
    assert [fd for fd, _ in await poll(fds)] == [two, one, three]
    fds[two] = 0  # asks for nothing
    assert [fd for fd, _ in await poll(fds)] == [one, three]


async def test_poll_gives_what_was_asked_for(world: "World") -> None:
    client, conn = await world.pair()
    await write(client, b"x")
    assert await world.ready(conn, POLLIN | POLLOUT) == POLLIN | POLLOUT
    assert await world.ready(conn, POLLIN) == POLLIN
    assert await world.ready(conn, POLLOUT) == POLLOUT
    assert await world.ready(conn, 0) == 0
    assert await world.ready(client, POLLIN) == 0


async def test_readiness_is_a_level(world: "World") -> None:
    client, conn = await world.pair()
    await write(client, b"abc")
    for _ in range(2):
        assert (await select(fd_set(conn), FdSet(), 0))[0] == [conn]
        assert await world.ready(conn) == POLLIN
    await read(conn, 2)
    assert await world.ready(conn) == POLLIN
    await read(conn)
    assert await world.ready(conn) == 0


async def test_events_of_a_new_socket(world: "World") -> None:
    fd = await socket()
    assert await world.ready(fd, POLLIN | POLLOUT) == POLLOUT | POLLHUP
    assert await world.ready(fd, 0) == POLLHUP  # unasked


async def test_select_takes_a_new_socket_for_ready(world: "World") -> None:
    for nothing in range(2):  # whatever was asked before
        fd = await socket()
        assert await select(fd_set(fd), fd_set(fd), 0) == ([fd], [fd])
        assert await world.ready(fd, 0) == POLLHUP
        await select(FdSet(), FdSet(), nothing)
        await poll(PollFds(), nothing)


async def test_events_of_a_half_close(world: "World") -> None:
    client, conn = await world.pair()
    await shutdown(client)
    everything = POLLIN | POLLOUT | POLLRDHUP
    assert await world.ready(conn, everything) == everything
    assert await world.ready(conn, POLLIN) == POLLIN
    assert await world.ready(client, everything) == POLLOUT  # "writable": a write would not sleep


async def test_events_when_both_sides_have_shut(world: "World") -> None:
    client, conn = await world.pair()
    await shutdown(client)
    await shutdown(conn)
    everything = POLLIN | POLLOUT | POLLRDHUP
    for fd in (client, conn):
        assert await world.ready(fd, everything) == everything | POLLHUP
    assert await world.ready(conn, 0) == POLLHUP


async def test_events_of_a_peer_that_closed(world: "World") -> None:
    client, conn = await world.pair()
    await close(client)
    assert await world.ready(conn, POLLIN | POLLOUT | POLLRDHUP) == POLLIN | POLLOUT | POLLRDHUP


async def test_events_of_a_reset(world: "World") -> None:
    client, conn = await world.pair()
    await write(client, b"nobody reads this")
    await close(conn)
    everything = POLLIN | POLLOUT | POLLRDHUP
    assert await world.ready(client, everything) == everything | POLLERR | POLLHUP
    assert await world.ready(client, 0) == POLLERR | POLLHUP
    with pytest.raises(ConnectionResetError):
        await read(client)
    assert await world.ready(client, everything) == everything | POLLHUP  # the error was told


async def test_a_reset_stays_readable_when_the_data_before_it_is_read(world: "World") -> None:
    client, conn = await world.pair()
    assert await select(fd_set(client), FdSet(), 0) == ([], [])
    await write(conn, b"early")
    await write(client, b"nobody reads this")
    await close(conn)
    assert await read(client) == b"early"
    assert await select(fd_set(client), FdSet(), 0) == ([client], [])
    assert await world.ready(client) & POLLIN


async def test_select_finds_ends_of_file_and_resets(world: "World") -> None:
    client, conn = await world.pair()
    await close(conn)
    assert await select(fd_set(client), fd_set(client), 0) == ([client], [client])
    client, conn = await world.pair()
    await write(client, b"nobody reads this")
    await close(conn)
    assert await select(fd_set(client), fd_set(client), 0) == ([client], [client])
    assert await select(FdSet(), fd_set(await socket()), 0) != ([], [])


async def test_a_sleeping_select_wakes(world: "World") -> None:
    client, conn = await world.pair()
    other, idle = await world.pair()
    await clone(write_late, client)
    assert await select(fd_set(conn, idle, other), FdSet()) == ([conn], [])


async def test_a_sleeping_poll_wakes(world: "World") -> None:
    client, conn = await world.pair()
    other, idle = await world.pair()
    await clone(write_late, client)
    assert await poll(PollFds({idle: POLLIN, conn: POLLIN, other: POLLIN})) == [(conn, POLLIN)]


async def test_a_sleeping_poll_wakes_before_its_time_out(world: "World") -> None:
    client, conn = await world.pair()
    await clone(write_late, client)
    assert await poll(PollFds({conn: POLLIN}), 10_000) == [(conn, POLLIN)]


async def write_late(fd: int) -> None:
    await nanosleep(10 * MILLISECOND_NS)
    await write(fd, b"x")


async def test_a_time_out_gives_nothing(world: "World") -> None:
    _client, conn = await world.pair()
    assert await poll(PollFds({conn: POLLIN}), 2) == []
    assert await select(fd_set(conn), FdSet(), 2) == ([], [])


async def test_select_and_poll_look_at_every_kind_of_file(world: "World") -> None:
    listener, address = await world.listener()
    epoll = await epoll_create()
    client = await world.client(address)
    assert await poll(PollFds({epoll: POLLIN, listener: POLLIN, client: POLLIN}), 0) == [(listener, POLLIN)]
    await accept4(listener)
    assert await select(fd_set(epoll, listener), fd_set(listener), 0) == ([], [])


def test_select_knows_1024_descriptors() -> None:
    readers = FdSet()
    readers.add(1023)
    assert 1023 in readers
    for fd in (1024, -1):
        with pytest.raises(ValueError, match="0 to 1023"):
            readers.add(fd)
    assert list(readers) == [1023]
    readers.discard(1023)
    assert len(readers) == 0
