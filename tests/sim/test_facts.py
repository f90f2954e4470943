"""The facts of Linux that the simulated kernel must show, exactly: herds, orders, queues.

What these programs see on Linux itself is tested in tests/conformance; here is what only a simulation can count.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from iosim.load import SECOND_NS, Load
from iosim.machine import Machine
from iosim.run import run
from iosim.sim.world import execute
from iosim.syscalls import (
    EPOLL_CTL_ADD,
    EPOLLEXCLUSIVE,
    EPOLLIN,
    POLLIN,
    SOCK_NONBLOCK,
    Address,
    FdSet,
    PollFds,
    accept4,
    bind,
    clone,
    connect,
    epoll_create,
    epoll_ctl,
    epoll_wait,
    fork,
    getsockname,
    listen,
    nanosleep,
    poll,
    read,
    select,
    socket,
    write,
)

MS = 1_000_000
Worker = Callable[[int], Any]


async def listening(backlog: int = 128, flags: int = 0) -> tuple[int, Address]:
    fd = await socket(flags)
    await bind(fd, ("127.0.0.1", 0))
    await listen(fd, backlog)
    return fd, await getsockname(fd)


async def connected(address: Address) -> int:
    fd = await socket()
    await connect(fd, address)
    return fd


async def accept_or_not(listener: int) -> None:
    with suppress(BlockingIOError):  # a late riser finds nothing
        await accept4(listener)


# --- the herd


async def by_select(listener: int) -> None:
    readers = FdSet()
    readers.add(listener)
    while True:
        await select(readers, FdSet())
        await accept_or_not(listener)


async def by_poll(listener: int) -> None:
    while True:
        await poll(PollFds({listener: POLLIN}))
        await accept_or_not(listener)


async def by_epoll(listener: int, flags: int = 0) -> None:
    epoll = await epoll_create()
    await epoll_ctl(epoll, EPOLL_CTL_ADD, listener, EPOLLIN | flags)
    while True:
        await epoll_wait(epoll)
        await accept_or_not(listener)


async def by_exclusive_epoll(listener: int) -> None:
    await by_epoll(listener, EPOLLEXCLUSIVE)


async def by_accept(listener: int) -> None:
    while True:
        await accept4(listener)


def wakeups(start: Callable[..., Awaitable[int]], worker: Worker, workers: int, connections: int) -> int:
    """Threads woken in all while ``connections`` come one after the other, each when all workers sleep."""

    async def program() -> None:
        listener, address = await listening(flags=0 if worker is by_accept else SOCK_NONBLOCK)
        for _ in range(workers):
            await start(worker, listener)
        for _ in range(6):
            await nanosleep(10 * MS)
        for _ in range(connections):
            await connected(address)
            await nanosleep(10 * MS)

    return execute(program(), machine=Machine(cpus=2)).scheduler.wakeups


@pytest.mark.parametrize("workers", [1, 4, 16, 64])
@pytest.mark.parametrize("start", [clone, fork])
@pytest.mark.parametrize(
    ("worker", "herd"),
    [(by_select, "all"), (by_poll, "all"), (by_epoll, "all"), (by_exclusive_epoll, "one"), (by_accept, "one")],
)
def test_threads_woken_per_connection(
    worker: Worker, herd: str, start: Callable[..., Awaitable[int]], workers: int
) -> None:
    none, some = (wakeups(start, worker, workers, connections) for connections in (0, 5))
    sleeps_of_the_caller = 5
    assert some - none - sleeps_of_the_caller == 5 * (workers if herd == "all" else 1)


# --- who is served


def served_by(worker: Callable[[int, int, list[int]], Any], workers: int, connections: int) -> list[int]:
    """The workers that took the connections, in order; each is idle again before the next one comes."""
    order: list[int] = []

    async def program() -> None:
        listener, address = await listening()
        for number in range(workers):
            await clone(worker, listener, number, order)
            await nanosleep(MS)
        for _ in range(connections):
            await connected(address)
            await nanosleep(MS)

    execute(program())
    return order


def test_blocking_accept_serves_in_the_order_of_going_to_sleep() -> None:
    async def worker(listener: int, number: int, order: list[int]) -> None:
        while True:
            await accept4(listener)
            order.append(number)

    assert served_by(worker, 4, 10) == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]


def test_the_first_idle_exclusive_waiter_always_wins() -> None:
    async def worker(listener: int, number: int, order: list[int]) -> None:
        epoll = await epoll_create()
        await epoll_ctl(epoll, EPOLL_CTL_ADD, listener, EPOLLIN | EPOLLEXCLUSIVE)
        while True:
            await epoll_wait(epoll)
            await accept4(listener)
            order.append(number)

    assert served_by(worker, 3, 6) == [0] * 6


def test_a_busy_exclusive_waiter_is_passed_over() -> None:
    async def worker(listener: int, number: int, order: list[int]) -> None:
        epoll = await epoll_create()
        await epoll_ctl(epoll, EPOLL_CTL_ADD, listener, EPOLLIN | EPOLLEXCLUSIVE)
        while True:
            await epoll_wait(epoll)
            await accept4(listener)
            order.append(number)
            if number == 0:
                await nanosleep(SECOND_NS)

    assert served_by(worker, 3, 4) == [0, 1, 1, 1]


def test_maxevents_goes_round_the_ready_list() -> None:
    """A returned level goes to the tail: with room for one event at a time, every ready descriptor has its turn."""
    turns: list[int] = []

    async def program() -> None:
        listener, address = await listening()
        epoll = await epoll_create()
        conns = []
        for _ in range(3):
            client = await connected(address)
            conns.append(await accept4(listener))
            await epoll_ctl(epoll, EPOLL_CTL_ADD, conns[-1], EPOLLIN)
            await write(client, b"x")
        for _ in range(7):
            [(fd, _)] = await epoll_wait(epoll, 1)
            turns.append(conns.index(fd))

    execute(program())
    assert turns == [0, 1, 2, 0, 1, 2, 0]


# --- the accept queue


@pytest.mark.parametrize("backlog", [0, 1, 5, 64])
def test_listen_n_admits_n_and_one(backlog: int) -> None:
    """The next one finds the queue full: its connect returns after the retry that finds room."""
    done: list[int] = []

    async def caller(address: Address, number: int) -> None:
        await connected(address)
        done.append(number)

    async def program() -> None:
        _, address = await listening(backlog)
        for number in range(backlog + 2):
            await clone(caller, address, number)
            await nanosleep(MS)

    execute(program())
    assert done == list(range(backlog + 1))


@pytest.mark.parametrize(
    ("room_after_ms", "connected_after_s"), [(500, 1), (999, 1), (1500, 3), (2900, 3), (3100, 7), (6000, 7), (9000, 15)]
)
def test_a_dropped_syn_is_sent_again_after_1_3_7_seconds(room_after_ms: int, connected_after_s: int) -> None:
    async def program() -> None:
        listener, address = await listening(0)
        await connected(address)
        await clone(accept_late, listener)
        await connected(address)

    async def accept_late(listener: int) -> None:
        await nanosleep(room_after_ms * MS)
        await accept4(listener)

    kernel = execute(program())
    assert kernel.clock.now == pytest.approx(connected_after_s * SECOND_NS, abs=MS)


def test_a_load_that_overflows_the_accept_queue_says_so() -> None:
    """64 clients come at once to a queue of 4 + 1 and a server that is slow to start."""
    load = Load(clients=64, rate_per_s=1000, duration_ns=SECOND_NS // 10)
    roomy, tight = (run("epoll_loop", load, machine=Machine(somaxconn=somaxconn)) for somaxconn in (4096, 4))
    assert roomy.requests["dropped"] == 0
    assert not [warning for warning in roomy.warnings if "SYN" in warning]
    [warning] = [warning for warning in tight.warnings if "SYN" in warning]
    assert warning.endswith("SYNs were dropped by a full accept queue")
    assert tight.requests["dropped"] > 0  # they would have been connected a second later


# --- what wakes whom


def test_an_edge_wakes_once_a_level_again() -> None:
    told: dict[str, int] = {}

    async def program() -> None:
        listener, address = await listening()
        client = await connected(address)
        conn = await accept4(listener)
        await write(client, b"xy")
        for name, flags in (("level", EPOLLIN), ("edge", EPOLLIN | 1 << 31)):
            epoll = await epoll_create()
            await epoll_ctl(epoll, EPOLL_CTL_ADD, conn, flags)
            told[name] = 0
            while told[name] < 5 and await epoll_wait(epoll, 8, 0):
                told[name] += 1
        await read(conn, 1)

    execute(program())
    assert told == {"level": 5, "edge": 1}
