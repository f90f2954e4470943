"""Linux AIO: what a program sees of it, in both worlds."""

from contextlib import suppress
from errno import EAGAIN, EBADF, EINVAL
from typing import TYPE_CHECKING

import pytest

from iosim.real import abilities
from iosim.syscalls import (
    IOCB_CMD_POLL,
    IOCB_CMD_PREAD,
    IOCB_CMD_PWRITE,
    POLLHUP,
    POLLIN,
    POLLOUT,
    Iocb,
    clone,
    close,
    fork,
    io_destroy,
    io_getevents,
    io_setup,
    io_submit,
    nanosleep,
    read,
    shutdown,
    wait,
    write,
)

if TYPE_CHECKING:
    from tests.conformance.conftest import World

MS = 1_000_000


@pytest.fixture
def linux_aio(world: "World") -> None:
    """Skip where this host cannot do it."""
    if world.name == "real" and (reason := abilities.linux_aio()):
        pytest.skip(reason)


pytestmark = pytest.mark.usefixtures("linux_aio")


def poll_for(fd: int, events: int = POLLIN) -> Iocb:
    return Iocb(IOCB_CMD_POLL, fd, events)


async def test_a_poll_tells_of_data_once(world: "World") -> None:
    client, conn = await world.pair()
    context = await io_setup(8)
    assert await io_submit(context, [poll_for(conn)]) == 1
    assert await io_getevents(context, 0) == []
    await write(client, b"x")
    [(fd, events)] = await io_getevents(context)
    assert fd == conn
    assert events & POLLIN
    await write(client, b"y")
    assert await io_getevents(context, 1, 8, 10) == []  # one-shot
    await io_submit(context, [poll_for(conn)])
    [(fd, events)] = await io_getevents(context)  # level: it is readable still
    assert (fd, events) == (conn, POLLIN)


async def test_polls_that_hold_are_done_in_the_order_of_submission(world: "World") -> None:
    pairs = [await world.pair() for _ in range(4)]
    for client, _ in pairs:
        await write(client, b"x")
    context = await io_setup(8)
    order = [pairs[place][1] for place in (2, 0, 3, 1)]
    assert await io_submit(context, [poll_for(fd) for fd in order]) == 4
    assert await io_getevents(context, 1, 3) == [(fd, POLLIN) for fd in order[:3]]
    assert await io_getevents(context, 1, 3) == [(order[3], POLLIN)]


async def test_polls_that_wait_are_done_in_the_order_of_events(world: "World") -> None:
    pairs = [await world.pair() for _ in range(4)]
    context = await io_setup(8)
    await io_submit(context, [poll_for(conn) for _, conn in pairs])
    order = (2, 0, 3, 1)
    for place in order:
        await write(pairs[place][0], b"x")
    assert [fd for fd, _ in await io_getevents(context, 4)] == [pairs[place][1] for place in order]


async def test_getevents_waits_for_min_nr(world: "World") -> None:
    pairs = [await world.pair() for _ in range(3)]
    context = await io_setup(8)
    await io_submit(context, [poll_for(conn) for _, conn in pairs])

    async def writer() -> None:
        for client, _ in pairs:
            await nanosleep(10 * MS)
            await write(client, b"x")

    await clone(writer)
    assert len(await io_getevents(context, 3)) == 3


async def test_at_the_time_out_getevents_returns_what_there_is(world: "World") -> None:
    client, conn = await world.pair()
    context = await io_setup(8)
    await io_submit(context, [poll_for(conn)])
    assert await io_getevents(context, 1, 8, 5) == []
    await write(client, b"x")
    assert len(await io_getevents(context, 2, 8, 20)) == 1
    assert await io_getevents(context, 1, 8, 0) == []


async def test_a_listener_and_a_hang_up_are_told_of(world: "World") -> None:
    listener, address = await world.listener()
    context = await io_setup(8)
    await io_submit(context, [poll_for(listener)])
    client = await world.client(address)
    [(fd, events)] = await io_getevents(context)
    assert fd == listener
    assert events & POLLIN
    await io_submit(context, [poll_for(client, POLLOUT)])
    assert await io_getevents(context) == [(client, POLLOUT)]
    await io_submit(context, [poll_for(client)])
    await shutdown(client)
    await close(listener)  # it ends the connection that nobody accepted
    [(fd, events)] = await io_getevents(context)
    assert events & (POLLIN | POLLHUP)


async def test_a_poll_for_end_of_file(world: "World") -> None:
    client, conn = await world.pair()
    context = await io_setup(8)
    await io_submit(context, [poll_for(conn)])
    await close(client)
    [(fd, events)] = await io_getevents(context)
    assert fd == conn
    assert events & POLLIN
    assert await read(conn) == b""


async def test_a_poll_for_room(world: "World") -> None:
    client, conn = await world.pair()
    await world.nonblocking(conn)
    sent = await world.fill(conn)
    context = await io_setup(8)
    await io_submit(context, [poll_for(conn, POLLOUT)])
    assert await io_getevents(context, 1, 8, 5) == []
    await world.read_exactly(client, sent)
    [(fd, events)] = await io_getevents(context)
    assert fd == conn
    assert events & POLLOUT


async def test_two_polls_of_one_socket_both_fire(world: "World") -> None:
    client, conn = await world.pair()
    context = await io_setup(8)
    await io_submit(context, [poll_for(conn), poll_for(conn)])
    await write(client, b"x")
    assert [fd for fd, _ in await io_getevents(context, 2)] == [conn, conn]


async def test_a_read_request_sleeps_inside_io_submit(world: "World") -> None:
    """Asynchronous is only the name of it: for a socket, IOCB_CMD_PREAD is a read."""
    client, conn = await world.pair()
    context = await io_setup(8)
    steps = []

    async def writer() -> None:
        await nanosleep(30 * MS)
        steps.append("written")
        await write(client, b"hello")

    await clone(writer)
    buffer = bytearray(64)
    await io_submit(context, [Iocb(IOCB_CMD_PREAD, conn, buffer)])
    steps.append("submitted")
    assert steps == ["written", "submitted"]
    assert await io_getevents(context) == [(conn, 5)]
    assert buffer[:5] == b"hello"


async def test_reads_and_writes_in_one_submission(world: "World") -> None:
    client, conn = await world.pair()
    await write(client, b"question")
    context = await io_setup(8)
    buffer = bytearray(4)
    answer = Iocb(IOCB_CMD_PWRITE, conn, bytearray(b"answer"))
    again = bytearray(64)
    iocbs = [Iocb(IOCB_CMD_PREAD, conn, buffer), answer, Iocb(IOCB_CMD_PREAD, conn, again)]
    assert await io_submit(context, iocbs) == 3
    assert await io_getevents(context, 3) == [(conn, 4), (conn, 6), (conn, 4)]
    assert bytes(buffer + again[:4]) == b"question"
    assert await read(client) == b"answer"


async def test_a_write_request_sleeps_inside_io_submit_until_all_is_taken(world: "World") -> None:
    client, conn = await world.pair()
    context = await io_setup(8)
    size = 8_000_000

    async def reader() -> None:
        await world.read_exactly(client, size)

    await clone(reader)
    await io_submit(context, [Iocb(IOCB_CMD_PWRITE, conn, bytearray(size))])
    assert await io_getevents(context) == [(conn, size)]


async def test_an_error_of_the_transfer_is_in_the_event(world: "World") -> None:
    client, conn = await world.pair()
    await world.nonblocking(conn)
    context = await io_setup(8)
    await io_submit(context, [Iocb(IOCB_CMD_PREAD, conn, bytearray(8))])
    assert await io_getevents(context) == [(conn, -EAGAIN)]
    await shutdown(client)
    await io_submit(context, [Iocb(IOCB_CMD_PREAD, conn, bytearray(8))])
    assert await io_getevents(context) == [(conn, 0)]


async def test_the_first_bad_request_ends_a_submission(world: "World") -> None:
    _, conn = await world.pair()
    context = await io_setup(8)
    with world.fails(EBADF):
        await io_submit(context, [poll_for(999), poll_for(conn, POLLOUT)])
    assert await io_submit(context, [poll_for(conn, POLLOUT), poll_for(999), poll_for(conn)]) == 1
    assert await io_getevents(context, 0) == [(conn, POLLOUT)]
    with world.fails(EINVAL):
        await io_submit(context, [Iocb(99, conn, bytearray(1))])
    assert await io_submit(context, []) == 0


async def test_bad_contexts_and_counts(world: "World") -> None:
    for nr_events, number in ((0, EINVAL), (1 << 20, EAGAIN), (1 << 26, EINVAL)):
        with world.fails(number):
            await io_setup(nr_events)
    context = await io_setup(1)
    for min_nr, nr in ((2, 1), (-1, 1)):
        with world.fails(EINVAL):
            await io_getevents(context, min_nr, nr)
    await io_destroy(context)
    with world.fails(EINVAL):
        await io_destroy(context)
    with world.fails(EINVAL):
        await io_getevents(context, 0)
    with world.fails(EINVAL):
        await io_submit(context, [])


async def test_a_full_context_takes_no_more(world: "World") -> None:
    _, conn = await world.pair()
    context = await io_setup(1)
    taken = 0
    with world.fails(EAGAIN):
        while taken < 10_000:
            taken += await io_submit(context, [poll_for(conn)])
    assert taken >= 1
    await io_destroy(context)


async def test_a_poll_under_way_keeps_a_closed_socket_open(world: "World") -> None:
    """It holds the file: the peer sees no end of file until the poll is done."""
    client, conn = await world.pair()
    await world.nonblocking(client)
    context = await io_setup(8)
    await io_submit(context, [poll_for(conn)])
    await close(conn)
    await nanosleep(5 * MS)
    with world.fails(EAGAIN):
        await read(client)
    await io_destroy(context)
    for _ in range(200):
        with suppress(BlockingIOError):
            assert await read(client) == b""
            break
        await nanosleep(MS)
    else:
        raise AssertionError("io_destroy did not let go of the socket")


async def test_a_context_belongs_to_its_process(world: "World") -> None:
    client, conn = await world.pair()
    context = await io_setup(8)

    async def child() -> None:
        with world.fails(EINVAL):
            await io_submit(context, [poll_for(conn)])
        await write(client, b"ok")

    await fork(child)
    await wait()
    assert await read(conn) == b"ok"
