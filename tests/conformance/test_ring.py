"""io_uring: submissions and completions, internal polls, multishot, links, what a close does not end, SQPOLL."""

import platform
from errno import EACCES, EBADF, EBUSY, ECANCELED, EEXIST, EINVAL, ENOBUFS, ENOSYS, ENOTCONN, ENOTSOCK, EPERM, EPIPE
from typing import TYPE_CHECKING, Any

import pytest

from iosim.syscalls import (
    EPOLLHUP,
    EPOLLIN,
    EPOLLRDHUP,
    IORING_CQE_F_BUFFER,
    IORING_CQE_F_MORE,
    IORING_CQE_F_SOCK_NONEMPTY,
    IORING_SETUP_DEFER_TASKRUN,
    IORING_SETUP_SINGLE_ISSUER,
    IORING_SETUP_SQPOLL,
    IOSQE_CQE_SKIP_SUCCESS,
    IOSQE_IO_LINK,
    Cqe,
    Ring,
    clone,
    close,
    epoll_create,
    io_uring_enter,
    io_uring_register,
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


async def new_ring(flags: int = DEFERRED, entries: int = 64, idle_ms: int = 50) -> Ring:
    """A ring; the test is skipped where the host forbids io_uring."""
    try:
        return await io_uring_setup(entries, flags, idle_ms)
    except OSError as error:
        if error.errno in (ENOSYS, EPERM, EACCES):
            pytest.skip(str(error))
        raise


async def done(ring: Ring, count: int = 1) -> list[tuple[Any, int]]:
    """(user_data, result) of the next so many completions."""
    found: list[Cqe] = []
    while len(found) < count:
        found += await io_uring_enter(ring, count - len(found))
    return [(cqe.user_data, cqe.res) for cqe in found]


async def nothing(ring: Ring) -> bool:
    """No completion comes, however long the kernel works on what it has."""
    return await io_uring_enter(ring, 1, 20) == []


@both_kinds
@pytest.mark.usefixtures("world")
async def test_submit_and_wait_is_one_call(flags: int) -> None:
    ring = await new_ring(flags)
    for name in ("a", "b", "c"):
        ring.prep_nop(name)
    assert await done(ring, 3) == [("a", 0), ("b", 0), ("c", 0)]
    assert await io_uring_enter(ring) == []
    assert await io_uring_enter(ring, 1, 5) == []


@pytest.mark.usefixtures("world")
async def test_completions_stay_until_they_are_reaped() -> None:
    ring = await new_ring()
    for number in range(5):
        ring.prep_nop(number)
    assert ring.reap() == []  # prepared, not submitted
    assert len(await io_uring_enter(ring, 5)) == 5
    assert ring.reap() == []


@both_kinds
async def test_recv_is_tried_at_once_and_else_waits(world: "World", flags: int) -> None:
    client, conn = await world.pair()
    ring = await new_ring(flags)
    await write(client, b"abcdef")
    ring.prep_recv(conn, "first", 3)
    assert await io_uring_enter(ring, 1) == [Cqe("first", 3, IORING_CQE_F_SOCK_NONEMPTY, b"abc")]
    ring.prep_recv(conn, "second")
    assert await io_uring_enter(ring, 1) == [Cqe("second", 3, 0, b"def")]
    ring.prep_recv(conn, "third")
    assert await nothing(ring)
    await write(client, b"g")
    assert await io_uring_enter(ring, 1) == [Cqe("third", 1, 0, b"g")]
    ring.prep_recv(conn, "end")
    await shutdown(client)
    assert await io_uring_enter(ring, 1) == [Cqe("end", 0, IORING_CQE_F_SOCK_NONEMPTY)]


@both_kinds
async def test_waiting_operations_complete_in_the_order_of_arrivals(world: "World", flags: int) -> None:
    pairs = [await world.pair() for _ in range(3)]
    ring = await new_ring(flags)
    for number, (_, conn) in enumerate(pairs):
        ring.prep_recv(conn, number)
    assert await nothing(ring)
    for number in (2, 0, 1):
        await write(pairs[number][0], bytes(number + 1))
    assert await done(ring, 3) == [(2, 3), (0, 1), (1, 2)]


async def test_deferred_task_work_waits_for_enter(world: "World") -> None:
    client, conn = await world.pair()
    ring = await new_ring()
    ring.prep_recv(conn, "recv")
    await io_uring_enter(ring)
    await write(client, b"x")
    await nanosleep(20 * MILLISECOND_NS)
    assert ring.reap() == []
    assert await done(ring) == [("recv", 1)]


async def test_the_polling_thread_completes_without_a_call(world: "World") -> None:
    client, conn = await world.pair()
    ring = await new_ring(IORING_SETUP_SQPOLL)
    ring.prep_recv(conn, "recv")
    assert not ring.submit()
    await nanosleep(20 * MILLISECOND_NS)
    assert ring.reap() == []
    await write(client, b"x")
    for _ in range(100):
        if found := ring.reap():
            break
        await nanosleep(MILLISECOND_NS)
    assert found == [Cqe("recv", 1, 0, b"x")]


@pytest.mark.usefixtures("world")
async def test_an_idle_polling_thread_sleeps_and_must_be_woken() -> None:
    ring = await new_ring(IORING_SETUP_SQPOLL, idle_ms=1)
    for _ in range(1000):
        await nanosleep(5 * MILLISECOND_NS)
        if ring.submit():
            break
    ring.prep_nop("late")
    assert ring.submit()
    await nanosleep(20 * MILLISECOND_NS)
    assert ring.reap() == []
    assert await done(ring) == [("late", 0)]


async def test_task_work_wakes_a_sleeping_polling_thread(world: "World") -> None:
    client, conn = await world.pair()
    ring = await new_ring(IORING_SETUP_SQPOLL, idle_ms=1)
    ring.prep_recv(conn, "recv")
    for _ in range(1000):
        await nanosleep(5 * MILLISECOND_NS)
        if ring.submit():
            break
    await write(client, b"x")
    assert await done(ring) == [("recv", 1)]


@both_kinds
async def test_accept(world: "World", flags: int) -> None:
    listener, address = await world.listener()
    ring = await new_ring(flags)
    ring.prep_accept(listener, "one")
    assert await nothing(ring)
    clients = [await world.client(address) for _ in range(3)]
    [(name, conn)] = await done(ring)
    assert name == "one"
    await write(clients[0], b"hello")
    assert await read(conn) == b"hello"
    assert await nothing(ring)  # one submission, one connection


async def test_multishot_accept_goes_on(world: "World") -> None:
    listener, address = await world.listener()
    ring = await new_ring()
    ring.prep_accept(listener, "all", multishot=True)
    await io_uring_enter(ring)
    conns = []
    for batch in (1, 3):
        clients = [await world.client(address) for _ in range(batch)]
        cqes = await io_uring_enter(ring, batch)
        assert [(cqe.user_data, cqe.flags & IORING_CQE_F_MORE) for cqe in cqes] == [("all", IORING_CQE_F_MORE)] * batch
        conns += [cqe.res for cqe in cqes]
    await write(clients[-1], b"hello")
    assert await read(conns[-1]) == b"hello"
    assert len(set(conns)) == 4


@both_kinds
async def test_send_completes_when_all_bytes_are_taken(world: "World", flags: int) -> None:
    client, conn = await world.pair()
    ring = await new_ring(flags)
    size = 8 << 20

    async def reader() -> None:
        await nanosleep(30 * MILLISECOND_NS)
        assert await world.read_exactly(client, size + 4) == bytes(size) + b"tail"

    await clone(reader)
    ring.prep_send(conn, bytes(size), "big")
    assert await io_uring_enter(ring) == []
    assert await done(ring) == [("big", size)]
    ring.prep_send(conn, b"tail", "tail")
    ring.prep_send(conn, b"", "empty")
    assert await done(ring, 2) == [("tail", 4), ("empty", 0)]


async def test_a_send_to_a_peer_that_is_gone(world: "World") -> None:
    client, conn = await world.pair()
    ring = await new_ring()
    await write(conn, b"unread")
    await close(client)  # a reset
    for name in ("first", "second"):
        ring.prep_send(conn, b"x", name)
    (_, first), (_, second) = await done(ring, 2)
    assert -first in (EPIPE, 104)
    assert -second == EPIPE


# --- provided buffers


async def test_multishot_recv_fills_provided_buffers(world: "World") -> None:
    client, conn = await world.pair()
    ring = await new_ring()
    await io_uring_register(ring, 4, 4)
    with world.fails(EEXIST):
        await io_uring_register(ring, 4, 4)
    ring.prep_recv(conn, "recv", multishot=True)
    assert await io_uring_enter(ring) == []
    more = IORING_CQE_F_BUFFER | IORING_CQE_F_MORE
    await write(client, b"abc")
    assert await io_uring_enter(ring, 1) == [Cqe("recv", 3, more, b"abc")]
    await write(client, b"123456")
    cqes = await io_uring_enter(ring, 2)
    assert cqes == [
        Cqe("recv", 4, more | IORING_CQE_F_SOCK_NONEMPTY | 1 << 16, b"1234"),
        Cqe("recv", 2, more | 2 << 16, b"56"),
    ]
    await write(client, b"x")
    await shutdown(client)
    assert await io_uring_enter(ring, 2) == [
        Cqe("recv", 1, more | IORING_CQE_F_SOCK_NONEMPTY | 3 << 16, b"x"),
        Cqe("recv", -ENOBUFS, 0),  # not even the end of file can be told without one
    ]
    ring.give_back(cqes[1])
    ring.prep_recv(conn, "again", multishot=True)
    assert await io_uring_enter(ring, 1) == [Cqe("again", 0, IORING_CQE_F_SOCK_NONEMPTY)]


async def test_multishot_recv_without_buffers_ends(world: "World") -> None:
    client, conn = await world.pair()
    ring = await new_ring()
    ring.prep_recv(conn, "none", multishot=True)
    assert await done(ring) == [("none", -ENOBUFS)]
    await io_uring_register(ring, 2, 4)
    ring.prep_recv(conn, "recv", multishot=True)
    await io_uring_enter(ring)
    await write(client, b"123456789")
    cqes = await io_uring_enter(ring, 3)
    assert [(cqe.res, cqe.flags & IORING_CQE_F_MORE) for cqe in cqes] == [
        (4, IORING_CQE_F_MORE),
        (4, IORING_CQE_F_MORE),
        (-ENOBUFS, 0),
    ]
    ring.give_back(cqes[1])
    ring.prep_recv(conn, "again", multishot=True)
    [cqe] = await io_uring_enter(ring, 1)
    assert (cqe.data, cqe.flags >> 16) == (b"9", 1)


@pytest.mark.usefixtures("world")
async def test_errors_of_register() -> None:
    ring = await new_ring()
    for buffers, size in ((0, 4), (3, 4), (1 << 16, 4), (4, 0)):
        with pytest.raises(OSError, match=r"\[Errno 22\]"):
            await io_uring_register(ring, buffers, size)


# --- links


@both_kinds
async def test_a_silent_send_and_the_recv_linked_to_it(world: "World", flags: int) -> None:
    client, conn = await world.pair()
    ring = await new_ring(flags)
    ring.prep_send(conn, b"question", "send", flags=CHAINED)
    ring.prep_recv(conn, "recv")
    assert await nothing(ring)
    assert await read(client) == b"question"
    await write(client, b"answer")
    assert await io_uring_enter(ring, 1) == [Cqe("recv", 6, 0, b"answer")]
    with pytest.raises(ValueError, match="IOSQE_IO_LINK"):
        ring.prep_send(conn, b"x", "send", flags=IOSQE_CQE_SKIP_SUCCESS)


async def test_what_is_linked_waits_for_what_is_before_it(world: "World") -> None:
    client, conn = await world.pair()
    ring = await new_ring()
    ring.prep_recv(conn, "recv", flags=IOSQE_IO_LINK)
    ring.prep_nop("linked")
    ring.prep_nop("free")
    assert await done(ring) == [("free", 0)]
    await write(client, b"x")
    assert await done(ring, 2) == [("recv", 1), ("linked", 0)]


async def test_a_failure_cancels_the_chain(world: "World") -> None:
    _client, conn = await world.pair()
    ring = await new_ring()
    await shutdown(conn)
    ring.prep_send(conn, b"x", "send", flags=IOSQE_IO_LINK)
    ring.prep_nop("second", flags=IOSQE_IO_LINK)
    ring.prep_nop("third")
    ring.prep_nop("free")
    assert sorted(await done(ring, 4)) == [("free", 0), ("second", -ECANCELED), ("send", -EPIPE), ("third", -ECANCELED)]
    ring.prep_send(conn, b"x", "send", flags=CHAINED)
    ring.prep_recv(conn, "recv")
    assert await done(ring) == [("send", -EPIPE)]
    assert await nothing(ring)  # the rest of a silent chain is silent


# --- poll, close, cancel


async def test_poll(world: "World") -> None:
    client, conn = await world.pair()
    ring = await new_ring()
    ring.prep_poll(conn, EPOLLIN, "once")
    ring.prep_poll(conn, EPOLLIN, "often", multishot=True)
    assert await nothing(ring)
    await write(client, b"a")
    assert sorted(await done(ring, 2)) == [("often", EPOLLIN), ("once", EPOLLIN)]
    await write(client, b"b")
    assert await done(ring) == [("often", EPOLLIN)]
    await shutdown(client)
    assert await done(ring) == [("often", EPOLLIN | EPOLLRDHUP)]
    ring.prep_poll(await socket(), EPOLLIN, "unconnected")
    assert await done(ring) == [("unconnected", EPOLLHUP)]


@both_kinds
async def test_close_does_not_end_what_waits_for_the_file(world: "World", flags: int) -> None:
    client, conn = await world.pair()
    ring = await new_ring(flags)
    ring.prep_recv(conn, "recv")
    assert await nothing(ring)
    ring.prep_close(conn, "close")
    assert await done(ring) == [("close", 0)]
    with world.fails(EBADF):
        await read(conn)
    assert await world.ready(client) == 0  # no end of file: the operation holds the socket
    await write(client, b"x")
    assert await done(ring) == [("recv", 1)]
    assert await world.ready(client, timeout_ms=1000)
    assert await read(client) == b""


@both_kinds
async def test_cancel_ends_all_that_waits_for_a_file(world: "World", flags: int) -> None:
    client, conn = await world.pair()
    listener, _ = await world.listener()
    ring = await new_ring(flags)
    ring.prep_recv(conn, "one")
    ring.prep_recv(conn, "two")
    ring.prep_accept(listener, "accept", multishot=True)
    assert await nothing(ring)
    ring.prep_cancel(conn, "cancel")
    assert sorted(await done(ring, 3)) == [("cancel", 2), ("one", -ECANCELED), ("two", -ECANCELED)]
    ring.prep_cancel(conn, "nothing left")
    assert await done(ring) == [("nothing left", 0)]
    await close(conn)
    assert await world.ready(client, timeout_ms=1000)
    assert await read(client) == b""
    ring.prep_cancel(listener, "cancel")
    assert sorted(await done(ring, 2)) == [("accept", -ECANCELED), ("cancel", 1)]


@both_kinds
async def test_closing_the_ring_ends_its_operations(world: "World", flags: int) -> None:
    client, conn = await world.pair()
    listener, address = await world.listener()
    ring = await new_ring(flags)
    ring.prep_recv(conn, "recv")
    ring.prep_accept(listener, "accept", multishot=True)
    assert await nothing(ring)
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
    ring, epoll, fresh = await new_ring(flags), await epoll_create(), await socket()
    for fd, res in ((77, -EBADF), (epoll, -ENOTSOCK), (fresh, -ENOTCONN), (listener, -ENOTCONN)):
        ring.prep_recv(fd, fd)
        assert await done(ring) == [(fd, res)]
    for fd, res in ((77, -EBADF), (epoll, -ENOTSOCK), (fresh, -EPIPE)):
        ring.prep_send(fd, b"x", fd)
        assert await done(ring) == [(fd, res)]
    for fd, res in ((77, -EBADF), (epoll, -ENOTSOCK), (fresh, -EINVAL), (client, -EINVAL)):
        ring.prep_accept(fd, fd)
        assert await done(ring) == [(fd, res)]
    for prepare in (ring.prep_close, ring.prep_cancel):
        prepare(77, "none")
        assert await done(ring) == [("none", -EBADF)]
    ring.prep_close(ring.fd, "itself")
    assert await done(ring) == [("itself", -EBADF)]


async def test_errors_of_setup(world: "World") -> None:
    ring = await new_ring(entries=5)
    assert ring.entries == 8
    for entries, flags in ((0, DEFERRED), (32769, DEFERRED), (8, IORING_SETUP_DEFER_TASKRUN)):
        with world.fails(EINVAL):
            await io_uring_setup(entries, flags)
    with world.fails(EINVAL):
        await io_uring_setup(8, DEFERRED | IORING_SETUP_SQPOLL)


async def test_a_full_submission_queue(world: "World") -> None:
    ring = await new_ring(entries=2)
    ring.prep_nop(0)
    ring.prep_nop(1)
    with world.fails(EBUSY):
        ring.prep_nop(2)
    assert await done(ring, 2) == [(0, 0), (1, 0)]
    ring.prep_nop(2)
    assert await done(ring) == [(2, 0)]


async def test_only_the_single_issuer_enters(world: "World") -> None:
    ring = await new_ring()

    async def other() -> None:
        with world.fails(EEXIST):
            await io_uring_enter(ring)

    await clone(other)
    await world.until_asleep()
    ring.prep_nop("mine")
    assert await done(ring) == [("mine", 0)]


async def test_a_file_that_is_no_ring(world: "World") -> None:
    ring = await new_ring()
    await close(ring.fd)
    with world.fails(EBADF):
        await io_uring_enter(ring)


async def test_twenty_pieces_of_task_work_at_once(world: "World") -> None:
    """More in one call only for a program that waits for more."""
    if world.name == "real" and tuple(map(int, platform.release().split(".")[:2])) < (6, 13):
        pytest.skip("Linux before 6.13 does all task work at once")
    ring = await new_ring()
    pairs = [await world.pair() for _ in range(30)]
    for wanted, batches in ((0, [20, 10]), (1, [20, 10]), (25, [25, 5])):
        for _, conn in pairs:
            ring.prep_recv(conn, conn)
        assert await io_uring_enter(ring) == []
        for client, _ in pairs:
            await write(client, b"x")
        assert [len(await io_uring_enter(ring, wanted)), len(await io_uring_enter(ring))] == batches
