"""Files, descriptor tables and wait queues. They know no clock.

*Models*: the lowest free descriptor, files shared by fork, one wait queue per file; exclusive sleepers are woken one
at a time and in the order they went to sleep, others all, the latest first (kernel/sched/wait.c).
*Does not model*: dup(2), close-on-exec.
"""

import errno
import heapq
import os
from typing import Final, NamedTuple, Protocol

from iosim.syscalls import O_NONBLOCK


def fail(number: int) -> OSError:
    """The error that a program sees, with its real errno and the matching subclass of OSError."""
    return OSError(number, os.strerror(number))


class Waiter(Protocol):
    """Whoever stands in a wait queue: a sleeping thread, an epoll registration."""

    exclusive: bool

    def notify(self, events: int) -> bool:
        """These poll events happened. True when the wake-up is used up (an exclusive waiter that took it)."""
        ...

    def moved_to(self, file: "File") -> None:
        """The file became one of another kind."""
        ...


class Watcher(Protocol):
    """The sleepers in select and poll, and who knows which files can be read (see iosim.sim.polling)."""

    sleepers: "list[Sleeper]"
    listening: bool
    """It wants to know what can be read."""

    def became_readable(self, file: "File") -> None: ...

    def became_unreadable(self, file: "File") -> None: ...


class Sleeper(Protocol):
    """A thread asleep in select or poll."""

    def notify(self, file: "File", events: int) -> None: ...


class File:
    """An open file description: what descriptors point at."""

    __slots__ = ("fd", "flags", "references", "waiters", "watcher")

    def __init__(self, watcher: Watcher, flags: int = 0) -> None:
        self.watcher = watcher
        self.flags = flags & O_NONBLOCK
        self.fd = -1
        self.references = 0
        self.waiters: list[Waiter] = []

    def mask(self) -> int:
        """The poll events that hold now."""
        return 0

    def add_waiter(self, waiter: Waiter) -> None:
        """add_wait_queue: exclusive waiters at the tail, others at the head."""
        if waiter.exclusive:
            self.waiters.append(waiter)
        else:
            self.waiters.insert(0, waiter)

    def remove_waiter(self, waiter: Waiter) -> None:
        if waiter in self.waiters:
            self.waiters.remove(waiter)

    def notify(self, events: int) -> None:
        """__wake_up_common: tell the waiters in order, up to and including the first exclusive one that takes it."""
        if self.watcher.sleepers:
            for sleeper in tuple(self.watcher.sleepers):
                sleeper.notify(self, events)
        waiters = self.waiters
        if len(waiters) == 1:
            waiters[0].notify(events)
            return
        for waiter in tuple(waiters):
            if waiter.notify(events):
                return


STATE_CHANGE: Final = 1 << 32
"""sk_state_change wakes without saying which events: epoll lists the item whatever it asked for, and looks later."""


class Blocked(NamedTuple):
    """A handler's answer: nothing to return yet; sleep until one of these events of the file (None: until a timer)."""

    file: File | None
    events: int = 0
    exclusive: bool = False


CONTINUE: Final = Blocked(None, -1)
"""A handler's answer: this much is done and paid for, call me again. So a call that does many things takes its time for
each of them, one after the other."""


class Table:
    """A process's descriptors."""

    __slots__ = ("_free", "closed", "epolls", "files", "limit", "watcher")

    def __init__(self, watcher: Watcher, limit: int, files: list[File | None]) -> None:
        self.watcher = watcher
        self.limit = limit
        self.closed: list[int] = []
        """Every descriptor that was ever closed: whoever remembers descriptors looks at what is new here."""
        self.epolls: dict[int, None] = {}
        """Descriptors whose readiness no file tells of (an epoll's follows from its ready list)."""
        self.files = files
        self._free = [fd for fd, file in enumerate(self.files) if file is None]

    def install(self, file: File) -> int:
        """The lowest free descriptor for this file. Raises EMFILE."""
        if self._free:
            fd = heapq.heappop(self._free)
            self.files[fd] = file
        else:
            fd = len(self.files)
            if fd >= self.limit:
                raise fail(errno.EMFILE)
            self.files.append(file)
        file.fd = fd
        file.references += 1
        return fd

    def check_room(self) -> None:
        """Raise EMFILE unless there is room for one descriptor more."""
        if not self._free and len(self.files) >= self.limit:
            raise fail(errno.EMFILE)

    def get(self, fd: int) -> File:
        """The file behind a descriptor. Raises EBADF."""
        try:
            file = self.files[fd] if fd >= 0 else None
        except IndexError:
            file = None
        if file is None:
            raise fail(errno.EBADF)
        return file

    def holds(self, file: File) -> bool:
        """Is this file open in this process (and not only in another)?"""
        return 0 <= file.fd < len(self.files) and self.files[file.fd] is file

    def remove(self, fd: int) -> File:
        """Free the descriptor; the file that it named. Raises EBADF."""
        file = self.get(fd)
        self.files[fd] = None
        heapq.heappush(self._free, fd)
        file.references -= 1
        self.closed.append(fd)
        self.epolls.pop(fd, None)
        return file

    def replace(self, fd: int, new: File) -> None:
        """A socket became a listener or a stream: same descriptor, same waiters, another kind of file."""
        old = self.get(fd)
        new.fd, new.references, new.waiters = fd, old.references, old.waiters
        self.files[fd] = new
        old.watcher.became_unreadable(old)
        for waiter in new.waiters:
            waiter.moved_to(new)

    def copy(self) -> "Table":
        """What fork(2) hands to the child: the same open files."""
        for file in self.files:
            if file is not None:
                file.references += 1
        child = Table(self.watcher, self.limit, list(self.files))
        child.epolls = dict(self.epolls)
        return child

    def holes(self) -> int:
        """A bitmap of the free descriptors below the highest one in use."""
        return sum(1 << fd for fd in self._free)
