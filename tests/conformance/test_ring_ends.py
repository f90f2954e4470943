"""io_uring: poll, what a close does not end and a cancel does, limits and errors."""

import platform
from errno import EBADF, EBUSY, ECANCELED, EEXIST, EINVAL, ENOTCONN, ENOTSOCK, EPIPE
from typing import TYPE_CHECKING

import pytest

from iosim.syscalls import (
    EPOLLHUP,
    EPOLLIN,
    EPOLLRDHUP,
    IORING_SETUP_DEFER_TASKRUN,
    IORING_SETUP_SINGLE_ISSUER,
    IORING_SETUP_SQPOLL,
    IOSQE_CQE_SKIP_SUCCESS,
    IOSQE_IO_LINK,
    clone,
    close,
    epoll_create,
    io_uring_enter,
    io_uring_setup,
    nanosleep,
    read,
    shutdown,
    socket,
    write,
)

if TYPE_CHECKING:
    from tests.conformance.conftest import World

MILLISECOND_NS = 1_000_000
DEFERRED = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN
CHAINED = IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS
both_kinds = pytest.mark.parametrize("flags", [DEFERRED, IORING_SETUP_SQPOLL], ids=["deferred", "sqpoll"])


# --- poll, close, cancel


async def test_poll(world: "World") -> None:
    client, conn = await world.pair()
    ring = await world.ring()
    ring.prep_poll(conn, EPOLLIN, "once")
    ring.prep_poll(conn, EPOLLIN, "often", multishot=True)
    assert await world.completes_nothing(ring)
    await write(client, b"a")
    assert sorted(await world.completions(ring, 2)) == [("often", EPOLLIN), ("once", EPOLLIN)]
    await write(client, b"b")
    assert await world.completions(ring) == [("often", EPOLLIN)]
    await shutdown(client)
    assert await world.completions(ring) == [("often", EPOLLIN | EPOLLRDHUP)]
    ring.prep_poll(await socket(), EPOLLIN, "unconnected")
    assert await world.completions(ring) == [("unconnected", EPOLLHUP)]


@both_kinds
async def test_close_does_not_end_what_waits_for_the_file(world: "World", flags: int) -> None:
    client, conn = await world.pair()
    ring = await world.ring(flags)
    ring.prep_recv(conn, "recv")
    assert await world.completes_nothing(ring)
    ring.prep_close(conn, "close")
    assert await world.completions(ring) == [("close", 0)]
    with world.fails(EBADF):
        await read(conn)
    assert await world.ready(client) == 0  # no end of file: the operation holds the socket
    await write(client, b"x")
    assert await world.completions(ring) == [("recv", 1)]
    assert await world.ready(client, timeout_ms=1000)
    assert await read(client) == b""


@both_kinds
async def test_cancel_ends_all_that_waits_for_a_file(world: "World", flags: int) -> None:
    client, conn = await world.pair()
    listener, _ = await world.listener()
    ring = await world.ring(flags)
    ring.prep_recv(conn, "one")
    ring.prep_recv(conn, "two")
    ring.prep_accept(listener, "accept", multishot=True)
    assert await world.completes_nothing(ring)
    ring.prep_cancel(conn, "cancel")
    assert sorted(await world.completions(ring, 3)) == [("cancel", 2), ("one", -ECANCELED), ("two", -ECANCELED)]
    ring.prep_cancel(conn, "nothing left")
    assert await world.completions(ring) == [("nothing left", 0)]
    await close(conn)
    assert await world.ready(client, timeout_ms=1000)
    assert await read(client) == b""
    ring.prep_cancel(listener, "cancel")
    assert sorted(await world.completions(ring, 2)) == [("accept", -ECANCELED), ("cancel", 1)]


@both_kinds
async def test_closing_the_ring_ends_its_operations(world: "World", flags: int) -> None:
    client, conn = await world.pair()
    listener, address = await world.listener()
    ring = await world.ring(flags)
    ring.prep_recv(conn, "recv")
    ring.prep_accept(listener, "accept", multishot=True)
    assert await world.completes_nothing(ring)
    await close(ring.fd)
    await close(conn)
    await close(listener)
    assert await world.ready(client, timeout_ms=5000)  # Linux tidies up in a worker of its own
    assert await read(client) == b""
    refused = False
    for _ in range(1000):
        try:
            await world.client(address)
        except ConnectionRefusedError:
            refused = True
            break
        await nanosleep(5 * MILLISECOND_NS)
    assert refused
    with world.fails(EBADF):
        await io_uring_enter(ring)


# --- limits and errors


@both_kinds
async def test_results_that_are_errors(world: "World", flags: int) -> None:
    client, _conn = await world.pair()
    listener, _ = await world.listener()
    ring, epoll, fresh = await world.ring(flags), await epoll_create(), await socket()
    for fd, res in ((77, -EBADF), (epoll, -ENOTSOCK), (fresh, -ENOTCONN), (listener, -ENOTCONN)):
        ring.prep_recv(fd, fd)
        assert await world.completions(ring) == [(fd, res)]
    for fd, res in ((77, -EBADF), (epoll, -ENOTSOCK), (fresh, -EPIPE)):
        ring.prep_send(fd, b"x", fd)
        assert await world.completions(ring) == [(fd, res)]
    for fd, res in ((77, -EBADF), (epoll, -ENOTSOCK), (fresh, -EINVAL), (client, -EINVAL)):
        ring.prep_accept(fd, fd)
        assert await world.completions(ring) == [(fd, res)]
    for prepare in (ring.prep_close, ring.prep_cancel):
        prepare(77, "none")
        assert await world.completions(ring) == [("none", -EBADF)]
    ring.prep_close(ring.fd, "itself")
    assert await world.completions(ring) == [("itself", -EBADF)]


async def test_errors_of_setup(world: "World") -> None:
    ring = await world.ring(entries=5)
    assert ring.entries == 8
    for entries, flags in ((0, DEFERRED), (32769, DEFERRED), (8, IORING_SETUP_DEFER_TASKRUN)):
        with world.fails(EINVAL):
            await io_uring_setup(entries, flags)
    with world.fails(EINVAL):
        await io_uring_setup(8, DEFERRED | IORING_SETUP_SQPOLL)


async def test_a_full_submission_queue(world: "World") -> None:
    ring = await world.ring(entries=2)
    ring.prep_nop(0)
    ring.prep_nop(1)
    with world.fails(EBUSY):
        ring.prep_nop(2)
    assert await world.completions(ring, 2) == [(0, 0), (1, 0)]
    ring.prep_nop(2)
    assert await world.completions(ring) == [(2, 0)]


async def test_only_the_single_issuer_enters(world: "World") -> None:
    ring = await world.ring()

    async def other() -> None:
        with world.fails(EEXIST):
            await io_uring_enter(ring)

    await clone(other)
    await world.until_asleep()
    ring.prep_nop("mine")
    assert await world.completions(ring) == [("mine", 0)]


async def test_a_file_that_is_no_ring(world: "World") -> None:
    ring = await world.ring()
    await close(ring.fd)
    with world.fails(EBADF):
        await io_uring_enter(ring)


async def test_sixteen_ready_sockets_take_one_call(world: "World") -> None:
    """Submitting and waiting are one call, whatever the number: here one that receives from all, one that sends."""
    ring = await world.ring()
    pairs = [await world.pair() for _ in range(16)]
    for client, conn in pairs:
        ring.prep_recv(conn, conn)
        await write(client, b"question")
    assert [cqe.data for cqe in await io_uring_enter(ring, 16)] == [b"question"] * 16
    for _, conn in pairs:
        ring.prep_send(conn, b"answer", conn)
    assert [cqe.res for cqe in await io_uring_enter(ring, 16)] == [6] * 16
    assert [await read(client) for client, _ in pairs] == [b"answer"] * 16


@pytest.mark.parametrize("sleepers", [1, 4])
async def test_one_connection_wakes_one_armed_accept_the_first(world: "World", sleepers: int) -> None:
    """The internal poll of an accept is exclusive: no herd."""
    listener, address = await world.listener()
    awake: list[int] = []

    async def sleeper(number: int) -> None:
        ring = await world.ring()
        ring.prep_accept(listener, number)
        assert len(await io_uring_enter(ring, 1)) == 1
        awake.append(number)

    for number in range(sleepers):
        await clone(sleeper, number)
        await world.until_asleep()
    for number in range(sleepers):
        await world.client(address)
        await world.until_asleep()
        assert awake == list(range(number + 1))


async def test_twenty_pieces_of_task_work_at_once(world: "World") -> None:
    """More in one call only for a program that waits for more."""
    if world.name == "real" and tuple(map(int, platform.release().split(".")[:2])) < (6, 13):
        pytest.skip("Linux before 6.13 does all task work at once")
    ring = await world.ring()
    pairs = [await world.pair() for _ in range(30)]
    for wanted, batches in ((0, [20, 10]), (1, [20, 10]), (25, [25, 5])):
        for _, conn in pairs:
            ring.prep_recv(conn, conn)
        assert await io_uring_enter(ring) == []
        for client, _ in pairs:
            await write(client, b"x")
        assert [len(await io_uring_enter(ring, wanted)), len(await io_uring_enter(ring))] == batches
