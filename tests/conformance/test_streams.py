"""Streams: read, write, close, shutdown, and the flags of a descriptor."""

from errno import EAGAIN, EBADF, ECONNRESET, EINVAL, ENOTCONN, EPIPE
from typing import TYPE_CHECKING

import pytest

from iosim.syscalls import (
    F_GETFL,
    F_SETFL,
    O_NONBLOCK,
    POLLHUP,
    POLLIN,
    POLLOUT,
    SOCK_NONBLOCK,
    accept4,
    clone,
    close,
    compute,
    epoll_create,
    fcntl,
    nanosleep,
    read,
    shutdown,
    socket,
    write,
)

if TYPE_CHECKING:
    from tests.conformance.conftest import World

MORE_THAN_ALL_BUFFERS = 1 << 24
MILLISECOND_NS = 1_000_000


async def test_what_is_written_is_read_in_order(world: "World") -> None:
    client, conn = await world.pair()
    assert await write(client, b"one") == 3
    assert await write(client, b"two") == 3
    assert await read(conn) == b"onetwo"  # a stream has no boundaries
    assert await write(conn, b"three") == 5
    assert await read(client) == b"three"


async def test_read_takes_no_more_than_asked(world: "World") -> None:
    client, conn = await world.pair()
    await write(client, b"abcdef")
    assert await read(conn, 2) == b"ab"
    assert await read(conn, 3) == b"cde"
    assert await read(conn, 3) == b"f"


async def test_read_of_nothing_returns_nothing_at_once(world: "World") -> None:
    client, conn = await world.pair()
    await world.nonblocking(conn)
    with world.fails(EAGAIN):
        await read(conn)
    await write(client, b"x")
    assert await read(conn, 0) == b""
    assert await read(conn) == b"x"


async def test_read_of_nothing_needs_no_peer(world: "World") -> None:
    listener, _ = await world.listener()
    for fd in (listener, await socket()):
        assert await read(fd, 0) == b""
    client, conn = await world.pair()
    await write(client, b"nobody reads this")
    await close(conn)
    assert await read(client, 0) == b""
    with world.fails(ECONNRESET):  # it is not even told of the reset
        await read(client)


async def test_write_of_nothing_writes_nothing(world: "World") -> None:
    client, conn = await world.pair()
    assert await write(client, b"") == 0
    await world.nonblocking(conn)
    with world.fails(EAGAIN):
        await read(conn)


async def test_end_of_file_comes_after_the_data_and_stays(world: "World") -> None:
    client, conn = await world.pair()
    await write(client, b"last")
    await close(client)
    assert await read(conn) == b"last"
    assert await read(conn) == b""
    assert await read(conn) == b""


async def test_half_close(world: "World") -> None:
    client, conn = await world.pair()
    await write(client, b"question")
    await shutdown(client)
    assert await read(conn) == b"question"
    assert await read(conn) == b""
    assert await write(conn, b"answer") == 6  # the other half goes on
    assert await read(client) == b"answer"
    with world.fails(EPIPE):
        await write(client, b"more")


async def test_shutdown_twice_is_no_error(world: "World") -> None:
    client, _conn = await world.pair()
    await shutdown(client)
    await shutdown(client)


async def test_shutdown_needs_a_peer(world: "World") -> None:
    fd = await socket()
    with world.fails(ENOTCONN):
        await shutdown(fd)
    await close(fd)
    with world.fails(EBADF):
        await shutdown(fd)


async def test_shutdown_of_a_listener_for_writing_does_nothing(world: "World") -> None:
    listener, address = await world.listener()
    await shutdown(listener)
    client = await world.client(address)
    await write(client, b"x")
    assert await read(await accept4(listener)) == b"x"


async def test_shutdown_after_the_end_of_the_connection(world: "World") -> None:
    client, conn = await world.pair()
    await close(conn)
    await shutdown(client)  # the second end: now there is no connection any more
    with world.fails(ENOTCONN):
        await shutdown(client)
    client, conn = await world.pair()
    await write(client, b"nobody reads this")
    await close(conn)
    with world.fails(ENOTCONN):
        await shutdown(client)


async def test_a_socket_without_a_peer_neither_reads_nor_writes(world: "World") -> None:
    fd = await socket()
    with world.fails(ENOTCONN):
        await read(fd)
    with world.fails(EPIPE):  # Linux: send(2) names ENOTCONN, a stream that was never connected gives EPIPE
        await write(fd, b"x")


async def test_a_listener_neither_reads_nor_writes(world: "World") -> None:
    listener, _ = await world.listener()
    with world.fails(ENOTCONN):
        await read(listener)
    with world.fails(EPIPE):
        await write(listener, b"x")


async def test_an_epoll_descriptor_neither_reads_nor_writes(world: "World") -> None:
    epoll = await epoll_create()
    with world.fails(EINVAL):
        await read(epoll)
    with world.fails(EINVAL):
        await write(epoll, b"x")


async def test_a_closed_descriptor_is_a_bad_one(world: "World") -> None:
    fd = await socket()
    await close(fd)
    with world.fails(EBADF):
        await close(fd)
    with world.fails(EBADF):
        await read(fd)
    with world.fails(EBADF):
        await write(fd, b"x")
    with world.fails(EBADF):
        await fcntl(fd, F_GETFL)
    with world.fails(EBADF):
        await read(-1)


@pytest.mark.usefixtures("world")
async def test_the_lowest_free_descriptor_is_given() -> None:
    first, second, third = await socket(), await socket(), await socket()
    assert first < second < third
    await close(second)
    await close(first)
    assert await epoll_create() == first
    assert await socket() == second
    assert await socket() > third


async def test_the_lowest_free_descriptor_is_given_to_accept(world: "World") -> None:
    listener, address = await world.listener()
    hole = await socket()
    client = await world.client(address)
    await close(hole)
    assert await accept4(listener) == hole
    assert client > hole


async def test_fcntl_shows_and_sets_o_nonblock(world: "World") -> None:
    client, conn = await world.pair()
    assert not await fcntl(client, F_GETFL) & O_NONBLOCK
    assert await fcntl(client, F_SETFL, O_NONBLOCK) == 0
    assert await fcntl(client, F_GETFL) & O_NONBLOCK
    assert not await fcntl(conn, F_GETFL) & O_NONBLOCK  # each end has its own
    with world.fails(EAGAIN):
        await read(client)
    assert await fcntl(client, F_SETFL, 0) == 0
    assert not await fcntl(client, F_GETFL) & O_NONBLOCK


async def test_fcntl_knows_its_commands(world: "World") -> None:
    fd = await socket()
    with world.fails(EINVAL):
        await fcntl(fd, 9999)


async def test_sock_nonblock_at_birth(world: "World") -> None:
    listener, address = await world.listener()
    await world.client(address)
    await world.client(address)
    plain, nonblocking = await accept4(listener), await accept4(listener, SOCK_NONBLOCK)
    assert not await fcntl(plain, F_GETFL) & O_NONBLOCK
    assert await fcntl(nonblocking, F_GETFL) & O_NONBLOCK
    assert await fcntl(await socket(SOCK_NONBLOCK), F_GETFL) & O_NONBLOCK


async def test_accept_does_not_inherit_o_nonblock(world: "World") -> None:
    listener, address = await world.listener(flags=SOCK_NONBLOCK)
    await world.client(address)
    assert not await fcntl(await accept4(listener), F_GETFL) & O_NONBLOCK


async def test_a_full_stream_takes_part_then_eagain_then_room_again(world: "World") -> None:
    client, conn = await world.pair()
    await world.nonblocking(client)
    block = bytes(MORE_THAN_ALL_BUFFERS)
    sent = await write(client, block)
    assert 0 < sent < len(block)  # it takes what fits
    sent += await world.fill(client)  # until EAGAIN
    while await world.ready(client, POLLOUT, 30):  # the receiver's window may still open
        sent += await world.fill(client)
    await world.read_exactly(conn, sent)
    assert await world.ready(client, POLLOUT, 2000) == POLLOUT
    assert await write(client, b"more") == 4
    assert await read(conn) == b"more"


async def test_a_blocking_read_sleeps_until_there_is_something(world: "World") -> None:
    client, conn = await world.pair()
    log = []

    async def writer() -> None:
        await nanosleep(20 * MILLISECOND_NS)
        log.append("write")
        await write(client, b"late")

    log.append("read")
    await clone(writer)
    assert await read(conn) == b"late"
    assert log == ["read", "write"]


async def test_a_blocking_write_sleeps_until_all_is_taken(world: "World") -> None:
    client, conn = await world.pair()
    log = []

    async def reader() -> None:
        await nanosleep(20 * MILLISECOND_NS)
        log.append("read")
        assert len(await world.read_exactly(conn, MORE_THAN_ALL_BUFFERS)) == MORE_THAN_ALL_BUFFERS
        await write(conn, b"done")

    await clone(reader)
    assert await write(client, bytes(MORE_THAN_ALL_BUFFERS)) == MORE_THAN_ALL_BUFFERS
    assert log == ["read"]
    assert await read(client) == b"done"


async def test_a_sleeping_read_sees_the_end_of_file(world: "World") -> None:
    client, conn = await world.pair()

    async def closer() -> None:
        await nanosleep(10 * MILLISECOND_NS)
        await close(client)

    await clone(closer)
    assert await read(conn) == b""


async def test_close_with_unread_data_resets(world: "World") -> None:
    client, conn = await world.pair()
    await write(client, b"nobody reads this")
    await close(conn)
    with world.fails(ECONNRESET):
        await read(client)
    assert await read(client) == b""  # the error is told once
    with world.fails(EPIPE):
        await write(client, b"x")


async def test_a_reset_is_told_by_write_too(world: "World") -> None:
    client, conn = await world.pair()
    await write(client, b"nobody reads this")
    await close(conn)
    with world.fails(ECONNRESET):
        await write(client, b"x")
    with world.fails(EPIPE):
        await write(client, b"x")


async def test_data_before_a_reset_can_still_be_read(world: "World") -> None:
    client, conn = await world.pair()
    await write(conn, b"early")
    await write(client, b"nobody reads this")
    await close(conn)
    assert await read(client) == b"early"
    with world.fails(ECONNRESET):
        await read(client)


async def test_nothing_resets_a_connection_that_both_sides_have_ended(world: "World") -> None:
    client, conn = await world.pair()
    await write(client, b"nobody reads this")
    await shutdown(conn)
    await shutdown(client)
    await close(conn)
    assert await world.ready(client, 0) == POLLHUP  # and no POLLERR
    assert await read(client) == b""


async def test_nanosleep_knows_its_arguments(world: "World") -> None:
    with world.fails(EINVAL):
        await nanosleep(-1)


async def test_writing_to_a_closed_peer_fails_the_second_time(world: "World") -> None:
    client, conn = await world.pair()
    await close(conn)
    assert await world.ready(client, POLLIN, 2000) == POLLIN
    assert await write(client, b"x") == 1  # the peer's kernel answers with a reset
    with world.fails(EPIPE):
        await write(client, b"x")
    assert await read(client) == b""  # end of file came first, and stays


@pytest.mark.usefixtures("world")
async def test_compute_and_sleep_return_nothing() -> None:
    for answer in (await compute(1000), await compute(0), await nanosleep(1000), await nanosleep(0)):  # type: ignore[func-returns-value]
        assert answer is None
