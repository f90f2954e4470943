"""Linux AIO as fs/aio.c does it. It knows no clock.

*Models*: a context with room for so many requests; IOCB_CMD_POLL, which stands in its file's wait queue until one event
and holds the file open as long; a ring of what is done, in that order; sleepers that each wait for their min_nr.
*Does not model*: io_cancel, the price of a completion at whoever brings the event (as epoll's callback here), the
detour through a kernel thread of an event that names no poll bits.
*Differs from Linux*: a poll's result holds no bits that were not asked for (but POLLERR and POLLHUP).
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from iosim.sim.files import STATE_CHANGE, File, Watcher
from iosim.syscalls import EPOLLERR, EPOLLHUP, EPOLLIN

AIO_MAX_NR: Final = 65536
"""/proc/sys/fs/aio-max-nr."""
MOST_EVENTS: Final = 0x10000000 // 32
PAGE_BYTES: Final = 4096
EVENT_BYTES: Final = 32


def ring_size(nr_events: int, cpus: int) -> int:
    """aio_setup_ring: how many requests a context has room for, which is more than was asked for."""
    wanted = 2 * max(nr_events, 4 * cpus) + 2
    pages = -(-(EVENT_BYTES + EVENT_BYTES * wanted) // PAGE_BYTES)
    return (PAGE_BYTES * pages - EVENT_BYTES) // EVENT_BYTES - 1


class Sleeper:
    """A thread asleep in io_getevents: its wait queue, and how many events shall wake it."""

    def __init__(self, context: "Context", min_nr: int) -> None:
        self.queue = File(context.watcher)
        self.min_nr = min_nr


class Context:
    """struct kioctx: its requests under way, its ring of those that are done."""

    def __init__(self, watcher: Watcher, room: int, release: Callable[[File], None]) -> None:
        self.watcher = watcher
        self.room = room
        self.release = release
        """Ends a file whose last reference was a poll's."""
        self.polls: dict[Poll, None] = {}
        self.done: deque[tuple[int, int]] = deque()
        self.sleepers: list[Sleeper] = []

    def has_room(self) -> bool:
        """get_reqs_available: what is done and not reaped takes room too."""
        return len(self.polls) + len(self.done) < self.room

    def poll(self, fd: int, file: File, events: int) -> None:
        """IOCB_CMD_POLL: done at once if one of the events holds, else at the first that comes."""
        poll = Poll(self, fd, file, events | EPOLLERR | EPOLLHUP)
        if mask := file.mask() & poll.events:
            self.complete(fd, mask)
            return
        self.polls[poll] = None
        file.references += 1
        file.add_waiter(poll)

    def complete(self, fd: int, result: int) -> None:
        """aio_complete: into the ring; wake who waits for no more than that."""
        self.done.append((fd, result))
        for sleeper in self.sleepers:
            if len(self.done) >= sleeper.min_nr:
                sleeper.queue.notify(EPOLLIN)

    def drop(self, poll: "Poll") -> None:
        """The poll is over: its file may be too."""
        del self.polls[poll]
        file = poll.file
        file.remove_waiter(poll)
        file.references -= 1
        if file.references == 0:
            self.release(file)

    def destroy(self) -> None:
        """exit_aio, io_destroy: cancel what is under way."""
        for poll in tuple(self.polls):
            self.drop(poll)


class Poll:
    """One IOCB_CMD_POLL under way (struct poll_iocb)."""

    __slots__ = ("context", "events", "exclusive", "fd", "file")

    def __init__(self, context: Context, fd: int, file: File, events: int) -> None:
        self.context = context
        self.fd = fd
        self.file = file
        self.events = events
        self.exclusive = False

    def notify(self, events: int) -> bool:
        """aio_poll_wake: an event that was asked for is the result; one that names none has the file asked."""
        if mask := (self.file.mask() if events & STATE_CHANGE else events) & self.events:
            self.context.drop(self)
            self.context.complete(self.fd, mask)
        return False

    def moved_to(self, file: File) -> None:
        self.file = file
