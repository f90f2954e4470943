"""POSIX AIO as glibc does it (sysdeps/pthread/aio_misc.c): user threads that read and write. It knows no clock.

*Models*: at most 20 helper threads; one at a time per descriptor, whose requests are done in order; a list of the
requests under way, sorted by descriptor, which every call walks from its head; pread before read; helpers that end
after a second without work; a thread that finds more work than its own wakes or starts another.
*Does not model*: priorities, sigevents, lio_listio, contention for the library's lock.
*Differs from glibc*: a forked child begins with no helpers (glibc's believes that it has its parent's).
"""

from bisect import bisect_right, insort
from collections import deque
from collections.abc import Generator
from errno import EINPROGRESS, ESPIPE
from typing import Any, Final

from iosim.sim.files import File, Watcher
from iosim.syscalls import Aiocb, Call

THREADS: Final = 20
IDLE_NS: Final = 1_000_000_000
PREAD: Final = "glibc:pread"
READ: Final = "glibc:read"
PWRITE: Final = "glibc:pwrite"
WRITE: Final = "glibc:write"
NEXT: Final = "glibc:next"
HELPER_CALLS: Final = (PREAD, READ, PWRITE, WRITE, NEXT)
"""What a helper thread calls. No program can: they stand in no census but the library's."""


class Suspender:
    """A thread in aio_suspend: the futex it sleeps on, and the requests that know of it."""

    def __init__(self, watcher: Watcher, requests: "list[AioRequest]") -> None:
        self.futex = File(watcher)
        self.requests = requests
        self.woken = False
        for request in requests:
            request.waiting.append(self)

    def leave(self) -> None:
        """The second pass of aio_suspend: no request shall know of it any more."""
        for request in self.requests:
            if request.error == EINPROGRESS and self in request.waiting:
                request.waiting.remove(self)


class AioRequest:
    """One read or write (struct requestlist, and what glibc keeps in the aiocb)."""

    __slots__ = ("buffer", "error", "fd", "result", "waiting", "whole", "writes")

    def __init__(self, aiocb: Aiocb, writes: bool) -> None:
        self.fd = aiocb.fd
        self.buffer = aiocb.buffer
        self.writes = writes
        self.error = EINPROGRESS
        self.result = -1
        self.waiting: list[Suspender] = []
        self.whole = 0
        """Requests of clients that it completed."""


class Library:
    """The library in one process."""

    def __init__(self, watcher: Watcher) -> None:
        self.most_threads = THREADS
        self.used = False
        self.threads = 0
        self.idle = 0
        """Threads that wait for work, or were told of some and do not run yet."""
        self.work = File(watcher)
        """The condition variable that idle threads wait on."""
        self.run_list: deque[AioRequest] = deque()
        """Requests that no thread has, of descriptors that no thread has."""
        self._queues: dict[int, deque[AioRequest]] = {}
        self._descriptors: list[int] = []

    def walk_to(self, fd: int) -> int:
        """How many descriptors' requests are passed on the way to this one's, its own included."""
        return bisect_right(self._descriptors, fd)

    def enqueue(self, request: AioRequest) -> bool:
        """Queue it. True if a thread of its own shall be started for it; else who waits for work may be told."""
        self.used = True
        queue = self._queues.get(request.fd)
        if queue is not None:
            queue.append(request)
            return False
        self._queues[request.fd] = deque((request,))
        insort(self._descriptors, request.fd)
        if self.threads < self.most_threads and not self.idle:
            return True
        self.run_list.append(request)
        return False

    def finish(self, request: AioRequest, result: int) -> None:
        """It is done; the next one of its descriptor may run."""
        request.error, request.result = (-result, -1) if result < 0 else (0, result)
        queue = self._queues[request.fd]
        done = queue.popleft()
        assert done is request, "requests of one descriptor are done in order"
        if queue:
            self.run_list.append(queue[0])
        else:
            del self._queues[request.fd]
            self._descriptors.remove(request.fd)


def helper(request: AioRequest | None) -> Generator[Call, Any, None]:
    """handle_fildes_io, the program of a helper thread: do this request, or look for one, and go on until there is
    nothing to do. A socket has no offset, so that each pread or pwrite there is in vain."""
    while True:
        result = 0
        if request is not None:
            result = yield (PWRITE if request.writes else PREAD), (request,)
            if result == -ESPIPE:
                result = yield (WRITE if request.writes else READ), (request,)
        request = yield NEXT, (request, result)
        if request is None:
            return
