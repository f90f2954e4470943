"""Threads and processes: clone, fork, wait, exit, and what they share."""

from errno import EAGAIN, ECHILD
from typing import TYPE_CHECKING

import pytest

from iosim.syscalls import (
    F_GETFL,
    F_SETFL,
    O_NONBLOCK,
    accept4,
    clone,
    close,
    exit,
    fcntl,
    fork,
    nanosleep,
    read,
    wait,
    write,
)

if TYPE_CHECKING:
    from tests.conformance.conftest import World

MILLISECOND_NS = 1_000_000


async def test_threads_share_descriptors(world: "World") -> None:
    client, conn = await world.pair()

    async def worker(fd: int, text: bytes) -> None:
        await write(fd, text)
        await close(fd)

    thread = await clone(worker, client, b"from a thread")
    assert thread > 0
    assert await world.read_exactly(conn, 13) == b"from a thread"
    assert await read(conn) == b""


async def test_each_thread_has_its_own_id(world: "World") -> None:
    client, conn = await world.pair()

    async def sleeper() -> None:
        await nanosleep(5 * MILLISECOND_NS)
        await write(client, b"x")

    threads = [await clone(sleeper) for _ in range(3)]
    assert len(set(threads)) == 3
    await world.read_exactly(conn, 3)


async def test_a_thread_that_blocks_stops_no_other(world: "World") -> None:
    (one, sleepy), (two, brisk) = await world.pair(), await world.pair()

    async def echo(fd: int) -> None:
        await write(fd, await read(fd))

    await clone(echo, sleepy)
    await clone(echo, brisk)
    await write(two, b"brisk")
    assert await read(two) == b"brisk"
    await write(one, b"sleepy")
    assert await read(one) == b"sleepy"


@pytest.mark.usefixtures("world")
async def test_wait_returns_the_child_that_ended() -> None:
    async def child() -> None:
        await nanosleep(MILLISECOND_NS)

    children = [await fork(child), await fork(child)]
    assert sorted([await wait(), await wait()]) == sorted(children)


async def test_wait_without_a_child(world: "World") -> None:
    with world.fails(ECHILD):
        await wait()


async def test_wait_sleeps_until_a_child_ends(world: "World") -> None:
    client, conn = await world.pair()

    async def patient() -> None:
        await read(conn, 1)

    async def hasty() -> None:
        await nanosleep(MILLISECOND_NS)

    slow, fast = await fork(patient), await fork(hasty)
    assert await wait() == fast
    await write(client, b"x")
    assert await wait() == slow


async def test_exit_ends_a_child(world: "World") -> None:
    client, conn = await world.pair()

    async def child() -> None:
        await write(client, b"before")
        await exit(3)
        await write(client, b"after")

    pid = await fork(child)
    assert await wait() == pid
    await close(client)
    assert await read(conn) == b"before"
    assert await read(conn) == b""


async def test_a_file_ends_with_its_last_descriptor(world: "World") -> None:
    client, conn = await world.pair()

    async def child() -> None:
        await close(conn)
        assert await read(client) == b"go"  # the child's copy is as good as the parent's
        await write(client, b"x")

    await world.nonblocking(conn)
    pid = await fork(child)
    await close(client)
    with world.fails(EAGAIN):  # the child holds the other end open
        await read(conn)
    await write(conn, b"go")
    assert await wait() == pid
    assert await read(conn) == b"x"
    assert await read(conn) == b""


async def test_a_close_in_the_child_leaves_the_parent_s_descriptor(world: "World") -> None:
    client, conn = await world.pair()

    async def child() -> None:
        await close(client)

    await fork(child)
    await wait()
    assert await write(client, b"still here") == 10
    assert await read(conn) == b"still here"


async def test_o_nonblock_belongs_to_the_file(world: "World") -> None:
    listener, _ = await world.listener()

    async def child() -> None:
        await fcntl(listener, F_SETFL, O_NONBLOCK)

    await fork(child)
    await wait()
    assert await fcntl(listener, F_GETFL) & O_NONBLOCK
    with world.fails(EAGAIN):
        await accept4(listener)


async def test_workers_share_a_listener(world: "World") -> None:
    listener, address = await world.listener()

    async def worker() -> None:
        conn = await accept4(listener)
        await write(conn, await read(conn))

    workers = [await fork(worker) for _ in range(3)]
    clients = [await world.client(address) for _ in range(3)]
    for number, client in enumerate(clients):
        await write(client, b"%d" % number)
    for number, client in enumerate(clients):
        assert await read(client) == b"%d" % number
        assert await read(client) == b""  # the end of a process closes its descriptors
    assert sorted([await wait() for _ in workers]) == sorted(workers)


async def test_sleeping_processes_are_served_in_the_order_they_went_to_sleep(world: "World") -> None:
    listener, address = await world.listener()

    async def worker(number: int) -> None:
        await write(await accept4(listener), b"%d" % number)

    for number in range(3):
        await fork(worker, number)
        await world.until_asleep()
    answers = [await read(await world.client(address)) for _ in range(3)]
    assert answers == [b"0", b"1", b"2"]
    for _ in range(3):
        await wait()


async def test_a_child_of_a_child(world: "World") -> None:
    client, conn = await world.pair()

    async def child() -> None:
        await fork(grandchild)
        await wait()
        await write(client, b"child")

    async def grandchild() -> None:
        await write(client, b"grandchild ")

    pid = await fork(child)
    assert await wait() == pid
    assert await read(conn) == b"grandchild child"
    with world.fails(ECHILD):
        await wait()
