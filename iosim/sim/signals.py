"""Signals that sockets raise (O_ASYNC), and the queue they wait in. No clock here.

*Models*: which events of a socket raise a signal and with which band (sk_wake_async in net/core/sock.c and net/ipv4);
send_sigio (fs/fcntl.c); the pending signals of a process: standard ones once, real-time ones in a queue that
RLIMIT_SIGPENDING bounds for all processes of the user, lower numbers first (kernel/signal.c).
*Does not model*: handlers, a mask of each thread's own, F_SETOWN_EX, SIGURG, poll(2) as a request for POLL_OUT.
*Differs from Linux*: of several threads in sigwaitinfo the first to sleep is woken, not the first of the process.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from iosim.sim.files import STATE_CHANGE, File, Watcher
from iosim.syscalls import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, SIGIO, SIGRTMIN, SigInfo

LAST_SIGNAL: Final = 64
BAND_IN: Final = EPOLLIN | 0x0040
BAND_OUT: Final = EPOLLOUT | 0x0100 | 0x0200
BAND_ERR: Final = EPOLLERR
BAND_HUP: Final = EPOLLHUP | EPOLLERR
PLAIN: Final = SigInfo(SIGIO, 0, 0)


def mask_of(signals: tuple[int, ...]) -> int:
    """A set of signals: bit n is signal n."""
    mask = 0
    for signo in signals:
        mask |= 1 << signo
    return mask


class User:
    """Whom RLIMIT_SIGPENDING counts for (struct ucounts)."""

    __slots__ = ("queued",)

    def __init__(self) -> None:
        self.queued = 0
        """Signals of this user's processes that have been queued and not taken."""


class Signals:
    """The pending signals of one process, what it blocks, and its limit."""

    __slots__ = ("_queues", "arrivals", "blocked", "limit", "pending", "user")

    def __init__(self, watcher: Watcher, user: User, limit: int, blocked: int = 0) -> None:
        self.user = user
        self.limit = limit
        self.blocked = blocked
        self.pending = 0
        """The set of signals that wait."""
        self.arrivals = File(watcher)
        """Its wait queue holds the threads that sleep in sigwaitinfo(2); a signal is its own poll event."""
        self._queues: dict[int, deque[SigInfo]] = {}

    def of_child(self) -> "Signals":
        """What fork(2) hands on: mask and limit, and nothing that is pending."""
        return Signals(self.arrivals.watcher, self.user, self.limit, self.blocked)

    def send(self, signo: int, fd: int, band: int) -> None:
        """send_sigio_to_task: the chosen signal; a plain SIGIO if none was chosen or if the queue is full."""
        if not signo or not self._queue(SigInfo(signo, fd, band)):
            self._queue(PLAIN)

    def _queue(self, info: SigInfo) -> bool:
        """__send_signal_locked: False when the queue is full. A standard signal has a place beyond the limit, and is
        dropped without a word while one of its number is pending."""
        signo = info.signo
        bit = 1 << signo
        if signo < SIGRTMIN:
            if self.pending & bit:
                return True
        elif self.user.queued >= self.limit:
            return False
        self.user.queued += 1
        self.pending |= bit
        queue = self._queues.get(signo)
        if queue is None:
            queue = self._queues[signo] = deque()
        queue.append(info)
        self.arrivals.notify(bit)
        return True

    def take(self, wanted: int) -> SigInfo | None:
        """dequeue_signal: the oldest of the lowest number in this set."""
        ready = self.pending & wanted
        if not ready:
            return None
        bit = ready & -ready
        queue = self._queues[bit.bit_length() - 1]
        info = queue.popleft()
        if not queue:
            self.pending ^= bit
        self.user.queued -= 1
        return info

    def flush(self) -> None:
        """The process has ended."""
        self.user.queued -= sum(len(queue) for queue in self._queues.values())
        self._queues.clear()
        self.pending = 0


Raise = Callable[["Fasync", int], None]
"""Send this descriptor's signal with that band to its owner."""


class Fasync:
    """Who is told of a file's events, and how (fown_struct and fasync_struct). It stands in the file's wait queue, so
    that a file without one pays nothing; it is inert until O_ASYNC is set."""

    __slots__ = ("armed", "exclusive", "fd", "misses_room", "owner", "raises", "signo")

    def __init__(self, raises: Raise) -> None:
        self.raises = raises
        self.exclusive = False
        self.armed = False
        """O_ASYNC."""
        self.owner = 0
        self.signo = 0
        self.fd = -1
        self.misses_room = False
        """SOCKWQ_ASYNC_NOSPACE: a write has found no room, so room is news."""

    def notify(self, events: int) -> bool:
        """sock_wake_async for each of the ways in which a socket wakes who waits for it."""
        if self.armed:
            if events == EPOLLIN:
                self.raises(self, BAND_IN)
            elif events & STATE_CHANGE:
                if not events & EPOLLOUT:  # a FIN: once by tcp_fin, once by the segment that brought it
                    self.raises(self, BAND_HUP if events & EPOLLHUP else BAND_IN)
                    self.raises(self, BAND_IN)
            elif events & EPOLLERR:
                self.raises(self, BAND_ERR)
            elif events == EPOLLOUT and self.misses_room:
                self.misses_room = False
                self.raises(self, BAND_OUT)
        return False

    def found_full(self) -> None:
        """A write has found no room."""
        self.misses_room = self.armed

    def moved_to(self, file: File) -> None:  # noqa: ARG002
        """The socket becomes another kind of file: if a connection, then one with room, which is told in any case."""
        self.misses_room = True


def fasync_of(file: File) -> Fasync | None:
    """Whom the file tells of its events by a signal, or None."""
    for waiter in file.waiters:
        if isinstance(waiter, Fasync):
            return waiter
    return None
