"""POSIX AIO: what a program sees of it, in both worlds; glibc's 20 threads, and who waits for one."""

from errno import EAGAIN, EBADF, ECONNRESET, EINPROGRESS, EINVAL, EPIPE
from typing import TYPE_CHECKING

import pytest

from iosim.syscalls import (
    Aiocb,
    aio_error,
    aio_read,
    aio_return,
    aio_suspend,
    aio_write,
    clone,
    close,
    nanosleep,
    read,
    shutdown,
    write,
)

if TYPE_CHECKING:
    from tests.conformance.conftest import World

pytestmark = pytest.mark.own_process
"""glibc's helper threads outlive a test, and may still be busy with what it left."""
MS = 1_000_000
HELPERS = 20


def reading(fd: int, count: int = 64) -> Aiocb:
    return Aiocb(fd, bytearray(count))


async def started(fd: int, count: int = 64) -> Aiocb:
    request = reading(fd, count)
    await aio_read(request)
    return request


async def result(request: Aiocb) -> bytes:
    """Wait for a read, and take what it read."""
    await aio_suspend([request])
    assert await aio_error(request) == 0
    return bytes(request.buffer[: await aio_return(request)])


async def test_a_read_that_finds_data(world: "World") -> None:
    client, conn = await world.pair()
    await write(client, b"hello")
    request = await started(conn)
    await aio_suspend([request])
    assert await aio_error(request) == 0
    assert await aio_return(request) == 5
    assert request.buffer[:5] == b"hello"


async def test_a_read_waits_for_data_and_the_program_does_not(world: "World") -> None:
    client, conn = await world.pair()
    request = await started(conn)
    assert await aio_error(request) == EINPROGRESS
    await nanosleep(5 * MS)
    assert await aio_error(request) == EINPROGRESS
    await write(client, b"late")
    assert await result(request) == b"late"


async def test_suspend_times_out(world: "World") -> None:
    _, conn = await world.pair()
    request = await started(conn)
    for timeout_ms in (0, 1, 10):
        with world.fails(EAGAIN):
            await aio_suspend([request], timeout_ms)
    assert await aio_error(request) == EINPROGRESS


async def test_suspend_returns_at_once_if_one_is_done_or_none_is_named(world: "World") -> None:
    client, conn = await world.pair()
    other, idle = await world.pair()
    await write(client, b"x")
    done, waiting = await started(conn), await started(idle)
    assert await result(done) == b"x"
    await aio_suspend([waiting, done])
    await aio_suspend([])
    assert await aio_error(waiting) == EINPROGRESS
    await write(other, b"y")


async def test_a_request_that_was_never_made_counts_as_done(world: "World") -> None:
    _, conn = await world.pair()
    request = reading(conn)
    assert await aio_error(request) == 0
    await aio_suspend([request])


async def test_suspend_wakes_for_any_of_several(world: "World") -> None:
    pairs = [await world.pair() for _ in range(3)]
    requests = [await started(conn) for _, conn in pairs]

    async def writer() -> None:
        await nanosleep(10 * MS)
        await write(pairs[1][0], b"me")

    await clone(writer)
    await aio_suspend(requests)
    assert [await aio_error(request) for request in requests] == [EINPROGRESS, 0, EINPROGRESS]


async def test_two_threads_suspended_on_one_request_both_wake(world: "World") -> None:
    client, conn = await world.pair()
    request = await started(conn)
    woken = []

    async def sleeper(number: int) -> None:
        await aio_suspend([request])
        woken.append(number)

    for number in range(2):
        await clone(sleeper, number)
    await nanosleep(20 * MS)
    assert woken == []
    await write(client, b"x")
    await aio_suspend([request])
    for _ in range(200):
        if len(woken) < 2:
            await nanosleep(5 * MS)
    assert sorted(woken) == [0, 1]


async def test_requests_of_one_descriptor_are_done_in_order(world: "World") -> None:
    client, conn = await world.pair()
    requests = [await started(conn, 2) for _ in range(4)]
    await write(client, b"aabbccdd")
    assert [await result(request) for request in requests] == [b"aa", b"bb", b"cc", b"dd"]


async def test_a_write_waits_behind_a_read_of_its_descriptor(world: "World") -> None:
    """One thread per descriptor at a time: full duplex it is not."""
    client, conn = await world.pair()
    reader = await started(conn)
    writer = Aiocb(conn, bytearray(b"answer"))
    await aio_write(writer)
    with world.fails(EAGAIN):
        await aio_suspend([writer], 30)
    await write(client, b"question")
    assert await result(reader) == b"question"
    await aio_suspend([writer])
    assert await aio_return(writer) == 6
    assert await read(client) == b"answer"


async def test_a_write_larger_than_the_buffers_is_done_when_all_is_taken(world: "World") -> None:
    client, conn = await world.pair()
    size = 8_000_000
    writer = Aiocb(conn, bytearray(size))
    await aio_write(writer)
    with world.fails(EAGAIN):
        await aio_suspend([writer], 30)
    await world.read_exactly(client, size)
    await aio_suspend([writer])
    assert await aio_return(writer) == size


async def test_end_of_file_reset_and_errors(world: "World") -> None:
    client, conn = await world.pair()
    await shutdown(client)
    assert await result(await started(conn)) == b""
    gone = await started(999)
    await aio_suspend([gone])
    assert await aio_error(gone) == EBADF
    assert await aio_return(gone) == -1
    client, conn = await world.pair()
    await write(conn, b"unread")
    request = await started(conn)
    await close(client)
    await aio_suspend([request])
    assert await aio_error(request) == ECONNRESET
    assert await aio_return(request) == -1
    writer = Aiocb(conn, bytearray(b"x"))
    await aio_write(writer)
    await aio_suspend([writer])
    assert await aio_error(writer) == EPIPE


async def test_a_nonblocking_socket_is_read_in_vain(world: "World") -> None:
    _, conn = await world.pair()
    await world.nonblocking(conn)
    request = await started(conn)
    await aio_suspend([request])
    assert await aio_error(request) == EAGAIN


async def test_a_request_may_be_used_again_but_not_while_it_is_under_way(world: "World") -> None:
    client, conn = await world.pair()
    request = await started(conn)
    with world.fails(EINVAL):
        await aio_read(request)
    for text in (b"one", b"two", b"three"):
        await write(client, text)
        assert await result(request) == text
        await aio_read(request)
    assert await aio_error(request) == EINPROGRESS


async def test_twenty_idle_sockets_stall_the_next_one(world: "World") -> None:
    """glibc has 20 threads, and a read of an idle socket holds one; the 21st socket has its data and nobody to read
    it."""
    pairs = [await world.pair() for _ in range(HELPERS + 1)]
    *idle, (client, conn) = pairs
    held = [await started(conn) for _, conn in idle]
    await write(client, b"served?")
    stalled = await started(conn)
    with world.fails(EAGAIN):
        await aio_suspend([stalled], 100)
    assert await aio_error(stalled) == EINPROGRESS
    await write(idle[7][0], b"I go")
    assert await result(held[7]) == b"I go"
    assert await result(stalled) == b"served?"


async def test_nineteen_do_not(world: "World") -> None:
    pairs = [await world.pair() for _ in range(HELPERS)]
    *idle, (client, conn) = pairs
    for _, other in idle:
        await started(other)
    await write(client, b"served")
    assert await result(await started(conn)) == b"served"


async def test_the_stalled_are_served_in_the_order_they_asked(world: "World") -> None:
    """By one thread, which is free again after each: so they are done one after the other."""
    pairs = [await world.pair() for _ in range(HELPERS + 3)]
    held = [await started(conn) for _, conn in pairs[:HELPERS]]
    stalled = [await started(conn) for _, conn in reversed(pairs[HELPERS:])]
    await write(pairs[0][0], b"go")
    assert await result(held[0]) == b"go"
    for request, (client, _) in zip(stalled, reversed(pairs[HELPERS:]), strict=True):
        assert [await aio_error(other) for other in stalled[stalled.index(request) :]].count(0) == 0
        await write(client, b"x")
        assert await result(request) == b"x"
