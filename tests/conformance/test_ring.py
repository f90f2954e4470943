"""io_uring: submissions and completions, internal polls, the polling thread, multishot, links."""

from errno import ECANCELED, EEXIST, EINVAL, ENOBUFS, EPIPE
from typing import TYPE_CHECKING

import pytest

from iosim.syscalls import (
    IORING_CQE_F_BUFFER,
    IORING_CQE_F_MORE,
    IORING_CQE_F_SOCK_NONEMPTY,
    IORING_SETUP_DEFER_TASKRUN,
    IORING_SETUP_SINGLE_ISSUER,
    IORING_SETUP_SQPOLL,
    IOSQE_CQE_SKIP_SUCCESS,
    IOSQE_IO_LINK,
    Cqe,
    clone,
    close,
    io_uring_enter,
    io_uring_register,
    nanosleep,
    read,
    shutdown,
    write,
)

if TYPE_CHECKING:
    from tests.conformance.conftest import World

MILLISECOND_NS = 1_000_000
DEFERRED = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN
CHAINED = IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS
both_kinds = pytest.mark.parametrize("flags", [DEFERRED, IORING_SETUP_SQPOLL], ids=["deferred", "sqpoll"])


@both_kinds
async def test_submit_and_wait_is_one_call(world: "World", flags: int) -> None:
    ring = await world.ring(flags)
    for name in ("a", "b", "c"):
        ring.prep_nop(name)
    assert await world.completions(ring, 3) == [("a", 0), ("b", 0), ("c", 0)]
    assert await io_uring_enter(ring) == []
    assert await io_uring_enter(ring, 1, 5) == []


async def test_completions_stay_until_they_are_reaped(world: "World") -> None:
    ring = await world.ring()
    for number in range(5):
        ring.prep_nop(number)
    assert ring.reap() == []  # prepared, not submitted
    assert len(await io_uring_enter(ring, 5)) == 5
    assert ring.reap() == []


@both_kinds
async def test_recv_is_tried_at_once_and_else_waits(world: "World", flags: int) -> None:
    client, conn = await world.pair()
    ring = await world.ring(flags)
    await write(client, b"abcdef")
    ring.prep_recv(conn, "first", 3)
    assert await io_uring_enter(ring, 1) == [Cqe("first", 3, IORING_CQE_F_SOCK_NONEMPTY, b"abc")]
    ring.prep_recv(conn, "second")
    assert await io_uring_enter(ring, 1) == [Cqe("second", 3, 0, b"def")]
    ring.prep_recv(conn, "third")
    assert await world.completes_nothing(ring)
    await write(client, b"g")
    assert await io_uring_enter(ring, 1) == [Cqe("third", 1, 0, b"g")]
    ring.prep_recv(conn, "end")
    await shutdown(client)
    assert await io_uring_enter(ring, 1) == [Cqe("end", 0, IORING_CQE_F_SOCK_NONEMPTY)]


@both_kinds
async def test_waiting_operations_complete_in_the_order_of_arrivals(world: "World", flags: int) -> None:
    pairs = [await world.pair() for _ in range(3)]
    ring = await world.ring(flags)
    for number, (_, conn) in enumerate(pairs):
        ring.prep_recv(conn, number)
    assert await world.completes_nothing(ring)
    for number in (2, 0, 1):
        await write(pairs[number][0], bytes(number + 1))
    assert await world.completions(ring, 3) == [(2, 3), (0, 1), (1, 2)]


async def test_deferred_task_work_waits_for_enter(world: "World") -> None:
    client, conn = await world.pair()
    ring = await world.ring()
    ring.prep_recv(conn, "recv")
    await io_uring_enter(ring)
    await write(client, b"x")
    await nanosleep(20 * MILLISECOND_NS)
    assert ring.reap() == []
    assert await world.completions(ring) == [("recv", 1)]


async def test_the_polling_thread_completes_without_a_call(world: "World") -> None:
    client, conn = await world.pair()
    ring = await world.ring(IORING_SETUP_SQPOLL)
    ring.prep_recv(conn, "recv")
    await io_uring_enter(ring)  # a new thread may sleep already
    await nanosleep(20 * MILLISECOND_NS)
    assert ring.reap() == []
    await write(client, b"x")
    for _ in range(100):
        if found := ring.reap():
            break
        await nanosleep(MILLISECOND_NS)
    assert found == [Cqe("recv", 1, 0, b"x")]


async def test_an_idle_polling_thread_sleeps_and_must_be_woken(world: "World") -> None:
    ring = await world.ring(IORING_SETUP_SQPOLL, idle_ms=1)
    for _ in range(1000):
        await nanosleep(5 * MILLISECOND_NS)
        if ring.submit():
            break
    ring.prep_nop("late")
    assert ring.submit()
    await nanosleep(20 * MILLISECOND_NS)
    assert ring.reap() == []
    assert await world.completions(ring) == [("late", 0)]


async def test_task_work_wakes_a_sleeping_polling_thread(world: "World") -> None:
    client, conn = await world.pair()
    ring = await world.ring(IORING_SETUP_SQPOLL, idle_ms=1)
    ring.prep_recv(conn, "recv")
    for _ in range(1000):
        await nanosleep(5 * MILLISECOND_NS)
        if ring.submit():
            break
    await write(client, b"x")
    assert await world.completions(ring) == [("recv", 1)]


@both_kinds
async def test_accept(world: "World", flags: int) -> None:
    listener, address = await world.listener()
    ring = await world.ring(flags)
    ring.prep_accept(listener, "one")
    assert await world.completes_nothing(ring)
    clients = [await world.client(address) for _ in range(3)]
    [(name, conn)] = await world.completions(ring)
    assert name == "one"
    await write(clients[0], b"hello")
    assert await read(conn) == b"hello"
    assert await world.completes_nothing(ring)  # one submission, one connection


async def test_multishot_accept_goes_on(world: "World") -> None:
    listener, address = await world.listener()
    ring = await world.ring()
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
    ring = await world.ring(flags)
    size = 8 << 20

    async def reader() -> None:
        await nanosleep(30 * MILLISECOND_NS)
        assert await world.read_exactly(client, size + 4) == bytes(size) + b"tail"

    await clone(reader)
    ring.prep_send(conn, bytes(size), "big")
    assert await io_uring_enter(ring) == []
    assert await world.completions(ring) == [("big", size)]
    ring.prep_send(conn, b"tail", "tail")
    ring.prep_send(conn, b"", "empty")
    assert await world.completions(ring, 2) == [("tail", 4), ("empty", 0)]


async def test_a_send_to_a_peer_that_is_gone(world: "World") -> None:
    client, conn = await world.pair()
    ring = await world.ring()
    await write(conn, b"unread")
    await close(client)  # a reset
    for name in ("first", "second"):
        ring.prep_send(conn, b"x", name)
    (_, first), (_, second) = await world.completions(ring, 2)
    assert -first in (EPIPE, 104)
    assert -second == EPIPE


# --- provided buffers


async def test_multishot_recv_fills_provided_buffers(world: "World") -> None:
    client, conn = await world.pair()
    ring = await world.ring()
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
    ring = await world.ring()
    ring.prep_recv(conn, "none", multishot=True)
    assert await world.completions(ring) == [("none", -ENOBUFS)]
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


async def test_errors_of_register(world: "World") -> None:
    ring = await world.ring()
    for buffers, size in ((0, 4), (3, 4), (1 << 16, 4), (4, 0)):
        with world.fails(EINVAL):
            await io_uring_register(ring, buffers, size)


# --- links


@both_kinds
async def test_a_silent_send_and_the_recv_linked_to_it(world: "World", flags: int) -> None:
    client, conn = await world.pair()
    ring = await world.ring(flags)
    ring.prep_send(conn, b"question", "send", flags=CHAINED)
    ring.prep_recv(conn, "recv")
    assert await world.completes_nothing(ring)
    assert await read(client) == b"question"
    await write(client, b"answer")
    assert await io_uring_enter(ring, 1) == [Cqe("recv", 6, 0, b"answer")]
    with pytest.raises(ValueError, match="IOSQE_IO_LINK"):
        ring.prep_send(conn, b"x", "send", flags=IOSQE_CQE_SKIP_SUCCESS)


async def test_what_is_linked_waits_for_what_is_before_it(world: "World") -> None:
    client, conn = await world.pair()
    ring = await world.ring()
    ring.prep_recv(conn, "recv", flags=IOSQE_IO_LINK)
    ring.prep_nop("linked")
    ring.prep_nop("free")
    assert await world.completions(ring) == [("free", 0)]
    await write(client, b"x")
    assert await world.completions(ring, 2) == [("recv", 1), ("linked", 0)]


async def test_a_failure_cancels_the_chain(world: "World") -> None:
    _client, conn = await world.pair()
    ring = await world.ring()
    await shutdown(conn)
    ring.prep_send(conn, b"x", "send", flags=IOSQE_IO_LINK)
    ring.prep_nop("second", flags=IOSQE_IO_LINK)
    ring.prep_nop("third")
    ring.prep_nop("free")
    assert sorted(await world.completions(ring, 4)) == [
        ("free", 0),
        ("second", -ECANCELED),
        ("send", -EPIPE),
        ("third", -ECANCELED),
    ]
    ring.prep_send(conn, b"x", "send", flags=CHAINED)
    ring.prep_recv(conn, "recv")
    assert await world.completions(ring) == [("send", -EPIPE)]
    assert await world.completes_nothing(ring)  # the rest of a silent chain is silent
