"""eventfd and futex, and the queue that is made of them."""

import sys
from contextlib import suppress
from ctypes import addressof
from errno import EAGAIN, EINVAL, ETIMEDOUT
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from iosim.queues import Queue
from iosim.syscalls import (
    EFD_NONBLOCK,
    EFD_SEMAPHORE,
    EPOLLIN,
    EPOLLOUT,
    POLLIN,
    POLLOUT,
    FdSet,
    Word,
    clone,
    compute,
    epoll_wait,
    eventfd,
    fork,
    futex_wait,
    futex_wake,
    nanosleep,
    read,
    select,
    wait,
    write,
)

if TYPE_CHECKING:
    from tests.conformance.conftest import World

MS = 1_000_000
MOST = (1 << 64) - 2


def packed(value: int) -> bytes:
    return value.to_bytes(8, sys.byteorder)


async def add(fd: int, value: int) -> None:
    assert await write(fd, packed(value)) == 8


# --- eventfd


async def test_a_read_takes_what_writes_have_added(world: "World") -> None:  # noqa: ARG001
    fd = await eventfd(3)
    assert await read(fd, 8) == packed(3)
    await add(fd, 5)
    await add(fd, 6)
    assert await read(fd, 64) == packed(11)


async def test_a_semaphore_is_taken_one_by_one(world: "World") -> None:
    fd = await eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK)
    await add(fd, 1)
    for _ in range(3):
        assert await read(fd, 8) == packed(1)
    with world.fails(EAGAIN):
        await read(fd, 8)


async def test_an_empty_counter_and_a_full_one_are_eagain(world: "World") -> None:
    fd = await eventfd(0, EFD_NONBLOCK)
    with world.fails(EAGAIN):
        await read(fd, 8)
    await add(fd, MOST)
    with world.fails(EAGAIN):
        await add(fd, 1)
    await add(fd, 0)
    assert await read(fd, 8) == packed(MOST)


async def test_a_counter_is_eight_bytes(world: "World") -> None:
    fd = await eventfd(1)
    with world.fails(EINVAL):
        await read(fd, 7)
    with world.fails(EINVAL):
        await write(fd, bytes(7))
    with world.fails(EINVAL):
        await add(fd, MOST + 1)
    with world.fails(EINVAL):
        await eventfd(0, 2)
    assert await read(fd, 8) == packed(1)


async def test_a_read_sleeps_until_a_write(world: "World") -> None:
    fd, told = await eventfd(), []

    async def reader() -> None:
        told.append(await read(fd, 8))

    await clone(reader)
    await world.until_asleep()
    await add(fd, 0)
    await world.until_asleep()
    assert told == []
    await add(fd, 7)
    await world.until_asleep()
    assert told == [packed(7)]


async def test_a_write_sleeps_until_there_is_room(world: "World") -> None:
    fd = await eventfd()
    await add(fd, MOST)

    async def writer() -> None:
        await add(fd, 9)

    await clone(writer)
    await world.until_asleep()
    assert await read(fd, 8) == packed(MOST)
    assert await read(fd, 8) == packed(9)


@pytest.mark.parametrize(("flags", "taken"), [(0, [3]), (EFD_SEMAPHORE, [1, 1, 1])])
async def test_one_write_is_for_one_reader_or_for_so_many(world: "World", flags: int, taken: list[int]) -> None:
    fd = await eventfd(0, flags)
    told: list[bytes] = []

    async def reader() -> None:
        told.append(await read(fd, 8))

    for _ in range(3):
        await clone(reader)
    await world.until_asleep()
    await add(fd, 3)
    await world.until_asleep()
    assert told == [packed(value) for value in taken]
    for _ in range(3 - len(told)):
        await add(fd, 1)
        await world.until_asleep()


async def test_readiness_of_a_counter(world: "World") -> None:
    fd = await eventfd()
    epoll = await world.interest(fd, events=EPOLLIN | EPOLLOUT)
    assert await world.ready(fd, POLLIN | POLLOUT) == POLLOUT
    assert await world.now(epoll) == [(fd, EPOLLOUT)]
    await add(fd, 1)
    assert await world.ready(fd, POLLIN | POLLOUT) == POLLIN | POLLOUT
    readers = FdSet()
    readers.add(fd)
    assert await select(readers, FdSet(), 0) == ([fd], [])
    await add(fd, MOST - 1)
    assert await world.now(epoll) == [(fd, EPOLLIN)]
    assert await world.ready(fd, POLLIN | POLLOUT) == POLLIN
    await read(fd, 8)
    assert await world.now(epoll) == [(fd, EPOLLOUT)]
    assert await select(readers, FdSet(), 0) == ([], [])


async def test_a_write_wakes_who_waits_for_readiness(world: "World") -> None:
    fd, told = await eventfd(), []
    epoll = await world.interest(fd)

    async def by_epoll() -> None:
        told.append(await epoll_wait(epoll))

    async def by_poll() -> None:
        told.append([(fd, await world.ready(fd, POLLIN, -1))])

    await clone(by_epoll)
    await clone(by_poll)
    await world.until_asleep()
    await add(fd, 1)
    await world.until_asleep()
    assert told == [[(fd, EPOLLIN)]] * 2


async def test_a_child_shares_the_counter(world: "World") -> None:  # noqa: ARG001
    fd = await eventfd()

    async def child() -> None:
        await add(fd, 4)

    await fork(child)
    assert await read(fd, 8) == packed(4)
    await wait()


# --- futex


async def asleep_on(world: "World", word: Word, threads: int) -> None:
    """Until so many threads sleep on this word: Linux says in which call a thread is, with its arguments."""
    for _ in range(2000):
        await nanosleep(MS)
        if world.name == "sim" or sleeping_on(word) == threads:
            return
    raise AssertionError(f"{sleeping_on(word)} threads sleep on the word, expected {threads}")


def sleeping_on(word: Word) -> int:
    found = 0
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # it may have ended
            fields = (task / "syscall").read_text().split()
            found += len(fields) > 2 and fields[1] == hex(addressof(word))
    return found


async def test_a_word_that_has_changed_is_eagain(world: "World") -> None:
    word = Word(1)
    with world.fails(EAGAIN):
        await futex_wait(word, 0)
    with world.fails(EAGAIN):
        await futex_wait(word, 0, 0)


async def test_a_word_is_32_bits(world: "World") -> None:
    word = Word(0xFFFFFFFF)
    with world.fails(ETIMEDOUT):
        await futex_wait(word, 0xFFFFFFFF, 0)
    word.value += 1
    assert word.value == 0
    with world.fails(EAGAIN):
        await futex_wait(word, 0xFFFFFFFF)


@pytest.mark.parametrize("timeout_ns", [0, 1, 3 * MS])
async def test_a_sleep_on_a_word_ends_at_its_time_out(world: "World", timeout_ns: int) -> None:
    word = Word()
    with world.fails(ETIMEDOUT):
        await futex_wait(word, 0, timeout_ns)
    assert await futex_wake(word, 8) == 0  # nobody is left in the queue


async def test_nobody_sleeps_nobody_is_woken(world: "World") -> None:  # noqa: ARG001
    assert await futex_wake(Word(), 1) == 0


async def test_sleepers_wake_in_the_order_they_went_to_sleep(world: "World") -> None:
    word, awake = Word(), []

    async def sleeper(number: int) -> None:
        await futex_wait(word, 0)
        awake.append(number)

    for number in range(6):
        await clone(sleeper, number)
        await asleep_on(world, word, number + 1)
    history = []
    for count in (1, 2, 0, 8):
        history.append(await futex_wake(word, count))
        await asleep_on(world, word, 6 - sum(history))
        while len(awake) < sum(history):
            await nanosleep(MS)
        assert sorted(awake) == list(range(sum(history)))
    assert history == [1, 2, 1, 2]  # Linux takes 0 for 1


async def test_a_wake_up_is_for_its_word_only(world: "World") -> None:
    one, other, awake = Word(), Word(), []

    async def sleeper(word: Word, name: str) -> None:
        await futex_wait(word, 0)
        awake.append(name)

    await clone(sleeper, one, "one")
    await clone(sleeper, other, "other")
    await asleep_on(world, one, 1)
    await asleep_on(world, other, 1)
    assert await futex_wake(one, 8) == 1
    await asleep_on(world, one, 0)
    assert await futex_wake(one, 8) == 0
    assert await futex_wake(other, 8) == 1
    while len(awake) < 2:
        await nanosleep(MS)
    assert awake == ["one", "other"]


@pytest.mark.parametrize("late_ns", [-MS, -100_000, 0, 100_000, MS])
async def test_a_wake_up_that_counts_is_no_time_out(world: "World", late_ns: int) -> None:  # noqa: ARG001
    """However near to the time-out it comes: either it woke nobody, or the sleep ended by it."""
    word, ended = Word(), []

    async def sleeper() -> None:
        try:
            await futex_wait(word, 0, 5 * MS)
            ended.append(1)
        except TimeoutError:
            ended.append(0)

    for turn in range(10):
        await clone(sleeper)
        await nanosleep(5 * MS + late_ns)
        woken = await futex_wake(word)
        await compute(MS)  # on one CPU, the sleeper comes to run after its time-out
        while len(ended) == turn:
            await nanosleep(MS)
        assert ended[-1] == woken


# --- the queue


async def test_a_queue_gives_what_was_put_in_order(world: "World") -> None:  # noqa: ARG001
    queue, got = Queue(4), []

    async def consumer() -> None:
        while (item := await queue.get()) is not None:
            got.append(item)

    await clone(consumer)
    for item in range(100):
        await queue.put(item)
    await queue.put(None)
    while len(got) < 100:
        await nanosleep(MS)
    assert got == list(range(100))


@pytest.mark.parametrize("capacity", [1, 3])
async def test_a_queue_is_bounded(world: "World", capacity: int) -> None:  # noqa: ARG001
    """Several threads put; no more than ``capacity`` come through before somebody takes."""
    queue, through, each = Queue(capacity), [], 5

    async def producer(number: int) -> None:
        for turn in range(each):
            await queue.put((number, turn))
            through.append(number)

    for number in range(3):
        await clone(producer, number)
    got = []
    for taken in range(3 * each):
        while len(through) < min(taken + capacity, 3 * each):
            await nanosleep(MS)
        await nanosleep(MS)  # time enough for one more to come through, if it could
        assert len(through) == min(taken + capacity, 3 * each)
        got.append(await queue.get())
    for number in range(3):
        assert [turn for who, turn in got if who == number] == list(range(each))


async def test_nothing_is_lost_between_many(world: "World") -> None:  # noqa: ARG001
    queue, got, each = Queue(2), [], 300

    async def producer(number: int) -> None:
        for turn in range(each):
            await queue.put(number * each + turn)

    async def consumer(mine: list[int]) -> None:
        got.append(mine)
        while (item := await queue.get()) >= 0:
            mine.append(item)
        mine.append(-1)

    for number in range(4):
        await clone(producer, number)
    for _ in range(4):
        await clone(consumer, [])
    while sum(map(len, got)) < 4 * each:
        await nanosleep(MS)
    for _ in range(4):
        await queue.put(-1)
    while sum(map(len, got)) < 4 * each + 4:
        await nanosleep(MS)
    assert sorted(item for mine in got for item in mine if item >= 0) == list(range(4 * each))
    for mine in got:
        for number in range(4):
            of_one = [item for item in mine if item // each == number]
            assert of_one == sorted(of_one)
