"""What one system call costs on this host, hot: many of one kind in a row, through ``iosim.real.driver``.

*Measures*: CPU time of this thread (CLOCK_THREAD_CPUTIME_ID: the scheduler's own nanoseconds). One round calls every
probe once; what the rounds mean is for ``iosim.fits`` to say. *Does not measure*: what a thread pays that slept in
between; that is ``iosim.pingpong``.

Many probes have a *twin*, timed in the same round: the same call on a file whose kernel work is next to nothing
(/dev/zero, /dev/null, a closed descriptor), so that the difference of the two is the kernel's work alone.
"""

import _socket
import _thread
import fcntl as _fcntl
import os
import statistics
import struct
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from iosim.real.driver import drive
from iosim.real.kernel import HOST, RealKernel
from iosim.syscalls import (
    EFD_SEMAPHORE,
    EPOLL_CTL_ADD,
    EPOLL_CTL_DEL,
    EPOLL_CTL_MOD,
    EPOLLIN,
    F_SETFL,
    F_SETOWN,
    F_SETSIG,
    FD_SETSIZE,
    O_ASYNC,
    POLLIN,
    SIG_BLOCK,
    SIGRTMIN,
    SOCK_NONBLOCK,
    FdSet,
    PollFds,
    SigInfo,
    Word,
    accept4,
    close,
    epoll_ctl,
    epoll_wait,
    eventfd,
    fcntl,
    fork,
    futex_wake,
    getpid,
    poll,
    read,
    select,
    sigtimedwait,
    socket,
    wait,
    write,
)

BATCH = 40
"""Calls of one probe: enough to hide the clock; their sockets stay in the cache."""
WARM = 8
"""Of them, the first, which are not timed."""
MESSAGE = bytes(64)
SIZES = (1024, 4096, 16384)
"""Messages from which the cost of a byte is fitted."""
READY = (1, 8, 32)
"""Ready descriptors from which the cost of an event is fitted."""
SELECTABLE = 900
"""select is asked about at most so many: their numbers stay below FD_SETSIZE."""
FEW_CALLS = 16
BARE_CALLS = 500
F_SETOWN_EX = 15
F_OWNER_TID = 0
"""fcntl(2); Python has no names for them."""

Rounds = dict[str, list[float]]
"""Probe → ns per call, one value a round."""

clock = time.thread_time_ns


class Bench:
    """Loopback connections, a kernel, and the probes, which write into ``rounds``.

    ``scanned``: how many descriptors select and poll are asked about; the last is the number of connections.
    """

    def __init__(self, scanned: Sequence[int]) -> None:
        self.kernel = RealKernel()
        self.scanned = tuple(scanned)
        self.rounds: Rounds = defaultdict(list)
        self.zero = os.open("/dev/zero", os.O_RDONLY)
        self.null = os.open("/dev/null", os.O_RDWR)
        self.closed = os.dup(self.null)  # a low number, which select can be asked about; closed below
        self.near: list[int] = []
        """The server's ends, non-blocking, with ascending descriptors."""
        self.far: list[int] = []
        self._listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
        self._listener.bind((HOST, 0))
        self._listener.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        self._listener.listen(BATCH + 1)
        for _ in range(self.scanned[-1]):
            # the far end's number is moved up, so that the near ends fill select's bitmap as a server's do
            self.far.append(self._peer())
            self.near.append(self.kernel.accept4(self._listener.fileno(), SOCK_NONBLOCK))
        os.close(self.closed)
        self.clock_ns = statistics.median(-clock() + clock() for _ in range(1000))

    def _peer(self) -> int:
        peer = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
        peer.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        peer.connect(self._listener.getsockname())
        number: int = _fcntl.fcntl(peer.fileno(), _fcntl.F_DUPFD_CLOEXEC, self.scanned[-1] + FD_SETSIZE)
        peer.close()
        return number

    def round(self) -> None:
        """Every probe once."""
        self._entry()
        self._messages()
        self._sizes()
        self._refusals()
        self._connections()
        self._signals()
        self._epoll()
        self._readiness()
        self._threads()
        self._hand_over()

    def time(
        self, probe: str, call: Callable[..., Awaitable[Any]], arguments: Sequence[tuple[Any, ...]], warm: int = WARM
    ) -> Any:
        """Time one call per entry of ``arguments`` and note the ns per call, ``warm`` calls later (the first calls of
        a kind find cold caches: x 1.5). Gives the last answer."""
        answer: Any = None
        spent = 0

        async def program() -> None:
            nonlocal answer, spent
            start = clock()
            for position, given in enumerate(arguments):
                if position == warm:
                    start = clock()
                try:  # noqa: SIM105  (suppress() would be a fifth of what is timed)
                    answer = await call(*given)
                except OSError:
                    pass  # some probes are about refusals
            spent = clock() - start

        drive(self.kernel, program())
        self.rounds[probe].append((spent - self.clock_ns) / (len(arguments) - warm))
        return answer

    # --- the probes --------------------------------------------------------------------------------------------

    def _entry(self) -> None:
        # both make one small int; the first asks the kernel for it
        for probe, function in (("getppid", os.getppid), ("no call", sys.getrecursionlimit)):
            start = clock()
            for _ in range(BARE_CALLS):
                function()
            self.rounds[probe].append((clock() - start - self.clock_ns) / BARE_CALLS)

    def _messages(self) -> None:
        """A request and a reply on each connection, in the order of a server.

        Linux lets acknowledgements ride on replies only where requests and replies take turns; after other probes it
        has to learn that anew, and reads cost 2 µs more meanwhile. Hence "settle", which no figure uses.
        """
        for label, count in (("settle", BATCH), ("few", BATCH), ("all", len(self.near))):
            for fd in self.far[:count]:
                os.write(fd, MESSAGE)
            self.time(f"read {label}", read, [(fd,) for fd in self.near[:count]])
            self.time(f"write {label}", write, [(fd, MESSAGE) for fd in self.near[:count]])
            for fd in self.far[:count]:
                os.read(fd, 4096)
        self.time("read twin", read, [(self.zero, 64)] * BATCH)
        self.time("read null", read, [(self.null,)] * BATCH)
        self.time("read null 64", read, [(self.null, 64)] * BATCH)
        self.time("write twin", write, [(self.null, MESSAGE)] * BATCH)

    def _sizes(self) -> None:
        near, far = self.near[:FEW_CALLS], self.far[:FEW_CALLS]
        for size in SIZES:
            data = bytes(size)
            for fd in far:
                os.write(fd, data)
            self.time(f"read {size}", read, [(fd,) for fd in near])
            self.time(f"write {size}", write, [(fd, data) for fd in near])
            for fd in far:
                os.read(fd, 65536)

    def _refusals(self) -> None:
        """Calls that fail: nothing to read, no room to write, no such descriptor."""
        self.time("read empty", read, [(fd,) for fd in self.near[:BATCH]])
        self.time("read closed", read, [(self.closed,)] * BATCH)
        full, peer, sent = self.near[0], self.far[0], 0
        with suppress(BlockingIOError):
            while True:
                sent += os.write(full, bytes(65536))
        self.time("write full", write, [(full, MESSAGE)] * BATCH)
        self.time("write closed", write, [(self.closed, MESSAGE)] * BATCH)
        while sent > 0:
            sent -= len(os.read(peer, 1 << 20))

    def _connections(self) -> None:
        filler = os.dup(self.null)  # takes the number of ``closed``, so that new ones follow one another
        peers = [self._peer() for _ in range(BATCH)]
        last = self.time("accept", accept4, [(self._listener.fileno(), SOCK_NONBLOCK)] * BATCH)
        self.time("close", close, [(fd,) for fd in range(last - BATCH + 1, last + 1)])  # the lowest free ones
        for peer in peers:
            os.close(peer)
        self.time("close twin", close, [(os.dup(self.null),) for _ in range(BATCH)])
        last = self.time("socket", socket, [(0,)] * BATCH)
        os.closerange(last - BATCH + 1, last + 1)
        os.close(filler)

    def _signals(self) -> None:
        """What a message costs its sender more when it raises a signal; what it costs to take one, to find none, to ask
        amiss."""
        near, far = self.near[:BATCH], self.far[:BATCH]
        self.kernel.sigprocmask(SIG_BLOCK, (SIGRTMIN,))
        self.time("signal owner", fcntl, [(fd, F_SETOWN, os.getpid()) for fd in far])
        self.time("signal twin", fcntl, [(fd, F_SETFL, 0) for fd in far])
        for fd in far:
            # this thread alone, not the process: a thread that blocks nothing would be ended by it, and all with it
            _fcntl.fcntl(fd, F_SETOWN_EX, struct.pack("ii", F_OWNER_TID, _thread.get_native_id()))
            _fcntl.fcntl(fd, F_SETSIG, SIGRTMIN)
        for probe in ("settle", "write unsignalled", "write signalled"):
            for one, other in zip(near, far, strict=True):  # in turns, as in ``_messages``
                os.write(other, MESSAGE)
                os.read(one, 4096)
            if probe == "write signalled":
                self.time("signal arm", fcntl, [(fd, F_SETFL, O_ASYNC) for fd in far])
            self.time(probe, write, [(fd, MESSAGE) for fd in near])
            for fd in far:
                os.read(fd, 4096)
        self.time("signal one", sigtimedwait, [((SIGRTMIN,), 0)] * BATCH)
        self.time("signal none", sigtimedwait, [((SIGRTMIN,), 0)] * BATCH)
        self.time("signal refused", sigtimedwait, [((SIGRTMIN,), -1)] * BATCH)
        for fd in far:
            _fcntl.fcntl(fd, F_SETFL, 0)
        self.time("getpid", getpid, [()] * BATCH)
        start = clock()
        for number in range(BARE_CALLS):
            SigInfo(SIGRTMIN, number, POLLIN)
        self.rounds["siginfo"].append((clock() - start - self.clock_ns) / BARE_CALLS)

    def _epoll(self) -> None:
        near, far = self.near[:BATCH], self.far[:BATCH]
        fd = self.kernel.epoll_create()
        self.time("epoll add", epoll_ctl, [(fd, EPOLL_CTL_ADD, each, EPOLLIN) for each in near])
        self.time("epoll mod", epoll_ctl, [(fd, EPOLL_CTL_MOD, each, EPOLLIN) for each in near])
        for ready in READY:
            for each in far[:ready]:
                os.write(each, MESSAGE)
            self.time(f"epoll {ready}", epoll_wait, [(fd, 512, 0)] * FEW_CALLS)
            for each in near[:ready]:
                os.read(each, 4096)
            self.time(f"epoll stale {ready}", epoll_wait, [(fd, 512, 0)], warm=0)
        self.time("epoll none", epoll_wait, [(fd, 512, 0)] * BATCH)
        self.time("epoll del", epoll_ctl, [(fd, EPOLL_CTL_DEL, each) for each in near])
        self.kernel.close(fd)
        # what Python pays to build one (descriptor, events) of the list
        numbers = list(range(1000, 1000 + BARE_CALLS))
        start = clock()
        list(zip(numbers, numbers, strict=False))
        self.rounds["tuple"].append((clock() - start - self.clock_ns) / BARE_CALLS)

    def _readiness(self) -> None:
        """select and poll over idle connections: a look (time-out 0); and a wait in poll that the last descriptor ends
        at once: on its way there the kernel puts a wait-queue entry on every other."""
        for count in self.scanned:
            fds, last = self.near[:count], self.far[count - 1]
            waits: list[tuple[str, Callable[..., Awaitable[Any]], tuple[Any, ...]]] = []
            waits.append(("poll", poll, (PollFds(dict.fromkeys(fds, POLLIN)),)))
            if count <= SELECTABLE:
                readers = FdSet()
                for fd in fds:
                    readers.add(fd)
                waits.append(("select", select, (readers, FdSet())))
            calls = 1 + max(2, BATCH * self.scanned[0] // count)
            for name, call, given in waits:
                self.time(f"{name} {count}", call, [(*given, 0)] * calls, warm=1)
            os.write(last, MESSAGE)
            self.time(f"poll wait {count}", poll, [waits[0][2]] * calls, warm=1)
            os.read(fds[-1], 4096)
        nowhere = FdSet()
        nowhere.add(self.closed)
        self.time("select closed", select, [(nowhere, FdSet(), 0)] * BATCH)

    def _threads(self) -> None:
        """A thread that ends at once, from its start to its end."""
        gate = _thread.allocate_lock()
        start = time.process_time_ns()
        for _ in range(FEW_CALLS):
            gate.acquire()
            _thread.start_new_thread(gate.release, ())
        gate.acquire()
        self.rounds["thread"].append((time.process_time_ns() - start) / FEW_CALLS)

    def _hand_over(self) -> None:
        """What threads tell each other with, where nobody sleeps."""
        counter = self.kernel.eventfd(0, EFD_SEMAPHORE)  # as a counter, the first read would take all
        self.time("eventfd write", write, [(counter, (1).to_bytes(8, sys.byteorder))] * BATCH)
        self.time("eventfd read", read, [(counter, 8)] * BATCH)
        self.kernel.close(counter)
        filler = os.dup(self.null)  # as in _connections
        last = self.time("eventfd", eventfd, [()] * BATCH)
        os.closerange(last - BATCH + 1, last + 1)
        os.close(filler)
        self.time("futex wake", futex_wake, [(Word(),)] * BATCH)


def fork_ns(times: int) -> list[float]:
    """What fork costs the parent, through the driver, with the descriptors that are open now."""
    taken: list[float] = []

    async def program() -> None:
        for _ in range(times):
            start = clock()
            await fork(_nothing)
            taken.append(clock() - start)
            await wait()

    drive(RealKernel(), program())
    return taken


async def _nothing() -> None:
    """A program that ends at once."""
