"""select(2) and poll(2) as fs/select.c does them. No clock here.

*Models*: all descriptors polled in every pass; the first pass adds a wait-queue entry to each file up to and
including the first ready one; a second pass after the wake-up, without registration; the removal of the entries before
the call returns (poll_freewait); bitmaps tested word by word.

Discussion: the simulated kernel scans n descriptors; the simulator must not, or a million connections could not be
simulated. So the work is *counted* (n, and the rank of the first ready descriptor) while the ready ones are *found*
through an index of the files that have something to read. What a program sees, and what it pays, is that of the full
scan.
"""

import errno
from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple, Protocol

from iosim.sim import files
from iosim.sim.files import File, Table, fail
from iosim.syscalls import (
    EPOLLERR,
    EPOLLHUP,
    EPOLLIN,
    EPOLLOUT,
    EPOLLRDHUP,
    POLLNVAL,
    FdSet,
    PollFds,
    bits_set,
)

if TYPE_CHECKING:
    from iosim.sim.thread import Thread

WORD_BITS = 64
SELECT_IN = EPOLLIN | EPOLLHUP | EPOLLERR
SELECT_OUT = EPOLLOUT | EPOLLERR


class Scan(NamedTuple):
    """One pass: what it found, and how much it looked at."""

    readable: list[tuple[int, int]]
    """(fd, events), in array order."""
    descriptors: int
    before_first_ready: int
    """Descriptors up to and including the first ready one; all of them if none is."""


class ReadableFiles:
    """The files that have something to read, and the sleepers in select and poll that may want to know.

    Kept only once a program has called select or poll: others do not pay for it.
    """

    def __init__(self) -> None:
        self.files: dict[File, None] = {}
        self.sleepers: list[files.Sleeper] = []
        self.listening = False

    def became_readable(self, file: File) -> None:
        if self.listening:
            self.files[file] = None

    def became_unreadable(self, file: File) -> None:
        if self.listening:
            self.files.pop(file, None)

    def start(self, tables: list[Table]) -> None:
        """From now on, know what can be read."""
        if not self.listening:
            self.listening = True
            for table in tables:
                for file in table.files:
                    if file is not None and file.mask() & ~EPOLLOUT:
                        self.files[file] = None


class Array(Protocol):
    """What select and poll are asked about, in one form."""

    def scan(self, table: Table, readable: ReadableFiles) -> Scan:
        """One pass over all descriptors. Raises EBADF where the call does."""
        ...

    def wants(self, table: Table, file: File, events: int) -> bool:
        """Would these events of this file end the sleep?"""
        ...


class Sleeper:
    """A thread asleep in select or poll: it stands, in effect, in the wait queue of each of its files."""

    exclusive = False

    def __init__(self, thread: "Thread", table: Table, array: Array, registered: int) -> None:
        self.thread = thread
        self.table = table
        self.array = array
        self.registered = registered
        """Wait-queue entries, to be removed when the call returns."""

    def notify(self, file: File, events: int) -> None:
        """pollwake."""
        if self.array.wants(self.table, file, events):
            self.thread.wake()


class SelectArray:
    """The two bitmaps of a select call."""

    def __init__(self, readers: FdSet, writers: FdSet) -> None:
        self.readers = readers.bits
        self.writers = writers.bits
        self.bits = self.readers | self.writers
        self.count = self.bits.bit_count()
        self.words = -(-self.bits.bit_length() // WORD_BITS)

    def scan(self, table: Table, readable: ReadableFiles) -> Scan:
        open_files, bits = table.files, self.bits
        if bits.bit_length() > len(open_files) or bits & table.holes():
            raise fail(errno.EBADF)
        asked = self.writers
        for file in readable.files:
            fd = file.fd
            if fd >= 0 and self.readers >> fd & 1 and open_files[fd] is file:
                asked |= 1 << fd
        for fd in table.epolls:
            asked |= bits & (1 << fd)
        found = []
        for fd in bits_set(asked):
            file_asked = open_files[fd]
            assert file_asked is not None
            mask = file_asked.mask()
            events = 0
            if self.readers >> fd & 1 and mask & SELECT_IN:
                events |= EPOLLIN
            if self.writers >> fd & 1 and mask & SELECT_OUT:
                events |= EPOLLOUT
            if events:
                found.append((fd, events))
        before = (bits & ((2 << found[0][0]) - 1)).bit_count() if found else self.count
        return Scan(found, self.count, before)

    def wants(self, table: Table, file: File, events: int) -> bool:
        fd = file.fd
        if not table.holds(file):
            return False
        reads = self.readers >> fd & 1 and events & SELECT_IN
        return bool(reads or (self.writers >> fd & 1 and events & SELECT_OUT))


class PollArray:
    """What the kernel derives from a program's pollfd array; kept with the array and mended as it changes."""

    def __init__(self, fds: PollFds) -> None:
        self.fds = fds
        self.numbers: dict[int, int] = {}
        """Descriptor → a number that ascends in array order."""
        self.order: list[int] = []
        """The numbers in use, ascending: where one stands here is its descriptor's place in the array."""
        self.writers: set[int] = set()
        self._added = 0
        self._unseen: list[int] = []
        self._closed_seen = 0
        self._invalid: set[int] = set()

    @classmethod
    def of(cls, fds: PollFds) -> "PollArray":
        """The array's state, brought up to date."""
        array = fds.kernel_state
        if array is None:
            array = fds.kernel_state = cls(fds)
            fds.changed[:] = list(fds)
        if fds.changed:
            array._mend()
        return array  # type: ignore[no-any-return]

    def _mend(self) -> None:
        """Follow the program's changes: new entries stand at the end, those behind a removed one move up."""
        for fd in self.fds.removed:
            if fd in self.numbers:
                self._forget(fd)
        for fd in self.fds.changed:
            events = self.fds.get(fd)
            if events is None:
                continue
            if fd not in self.numbers:
                self._added += 1
                self.numbers[fd] = self._added
                self.order.append(self._added)
                self._unseen.append(fd)
            if events & EPOLLOUT:
                self.writers.add(fd)
            else:
                self.writers.discard(fd)
        self.fds.changed.clear()
        self.fds.removed.clear()

    def _forget(self, fd: int) -> None:
        del self.order[bisect_left(self.order, self.numbers.pop(fd))]
        self.writers.discard(fd)
        self._invalid.discard(fd)

    def scan(self, table: Table, readable: ReadableFiles) -> Scan:
        open_files, numbers = table.files, self.numbers
        if self._closed_seen != len(table.closed):
            self._unseen += [fd for fd in table.closed[self._closed_seen :] if fd in numbers]
            self._closed_seen = len(table.closed)
        if self._unseen:
            self._invalid |= {
                fd for fd in self._unseen if fd >= len(open_files) or (fd >= 0 and open_files[fd] is None)
            }
            self._unseen.clear()
        asked = {fd for file in readable.files if (fd := file.fd) in numbers and table.holds(file)}
        asked.update(self.writers, self._invalid, (fd for fd in table.epolls if fd in numbers))
        found: list[tuple[int, int]] = []
        for fd in sorted(asked, key=numbers.__getitem__) if len(asked) > 1 else asked:
            file = open_files[fd] if fd < len(open_files) else None
            if file is None:
                found.append((fd, POLLNVAL))
            elif events := file.mask() & (self.fds[fd] | EPOLLERR | EPOLLHUP):
                found.append((fd, events))
        count = len(numbers)
        return Scan(found, count, bisect_left(self.order, numbers[found[0][0]]) + 1 if found else count)

    def wants(self, table: Table, file: File, events: int) -> bool:
        wanted = self.fds.get(file.fd)
        return (
            wanted is not None
            and table.holds(file)
            and bool(events & (wanted | EPOLLERR | EPOLLHUP | (EPOLLRDHUP & wanted)))
        )
