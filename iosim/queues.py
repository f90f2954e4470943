"""What threads hand work to each other with: a bounded queue, made of the futexes of the vocabulary; and glibc's two
functions for an eventfd.

Where nobody sleeps on the other side of a queue, nothing is called: then it costs no more than its memory.
"""

import sys
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from iosim.syscalls import Word, futex_wait, futex_wake, read, write


class Queue:
    """At most ``capacity`` items, first in, first out: ``put`` sleeps while it is full, ``get`` while it is empty.

    Discussion: as Dijkstra built it, of two semaphores: what can be taken, and the room that is left.
    """

    __slots__ = ("_items", "_room")

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"a queue needs room for 1 item or more, came {capacity}")
        self._items = _Tokens(())
        self._room = _Tokens(range(capacity))

    async def put(self, item: Any) -> None:
        """Add an item behind the others."""
        await self._room.take()
        await self._items.give(item)

    async def get(self) -> Any:
        """Take the oldest item."""
        item = await self._items.take()
        await self._room.give(None)
        return item


class _Tokens:
    """A semaphore whose count is a heap of tokens.

    Discussion: a C program counts with an atomic instruction. Python has none that a program may name, but the ends of
    a deque are as good: of two threads, only one gets a token. Whoever finds none notes the word *before* it looks,
    so that a token which comes between its look and its sleep has changed the word, and the sleep ends with EAGAIN.
    """

    __slots__ = ("_sleepers", "_tokens", "_word")

    def __init__(self, tokens: Iterable[Any]) -> None:
        self._tokens = deque(tokens)
        self._sleepers: deque[None] = deque()
        self._word = Word()

    async def take(self) -> Any:
        while True:
            seen = self._word.value
            if self._tokens:
                with suppress(IndexError):  # another thread was faster
                    return self._tokens.popleft()
            self._sleepers.append(None)
            with suppress(BlockingIOError):
                await futex_wait(self._word, seen)
            self._sleepers.pop()

    async def give(self, token: Any) -> None:
        self._tokens.append(token)
        self._word.value += 1  # it only has to change, and may wrap around; the interpreter's lock keeps += whole
        if self._sleepers:
            await futex_wake(self._word)


async def eventfd_read(fd: int) -> int:
    """eventfd_read(3): take the counter."""
    return int.from_bytes(await read(fd, 8), sys.byteorder)


async def eventfd_write(fd: int, value: int) -> None:
    """eventfd_write(3): add to the counter."""
    await write(fd, value.to_bytes(8, sys.byteorder))
