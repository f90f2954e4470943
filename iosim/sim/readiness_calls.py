"""The readiness calls: select, poll, and the three of epoll."""

import errno

from iosim.sim.core import KernelCore
from iosim.sim.epoll import Epoll
from iosim.sim.files import Blocked, File, fail
from iosim.sim.polling import Array, PollArray, SelectArray, Sleeper
from iosim.sim.work import (
    DESCRIPTOR,
    EPOLL_ADD,
    EPOLL_DEL,
    EPOLL_EVENT,
    EPOLL_MOD,
    EPOLL_RECHECK,
    EPOLL_WAIT,
    EVENT,
    NO_WORK,
    POLL,
    POLL_COPY,
    POLL_SCAN,
    POLLFD,
    REGISTER,
    SELECT,
    SELECT_CALL,
    SELECT_SCAN,
    SELECT_WORD,
    UNREGISTER,
    WAKE,
    Work,
)
from iosim.syscalls import EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLIN, EPOLLOUT, FdSet, PollFds


class ReadinessCalls(KernelCore):
    """Which descriptors are ready?"""

    def select(self, readers: FdSet, writers: FdSet, timeout_ms: int = -1) -> tuple[list[int], list[int]] | Blocked:
        array = SelectArray(readers, writers) if self.thread.state is None else self.thread.state.array
        scanned = (SELECT_SCAN, array.count, SELECT_WORD, array.words)
        once = (SELECT_CALL, 1, DESCRIPTOR, array.count)
        found = self._sleepy_scan(array, timeout_ms, once, scanned, (SELECT, 1))
        if isinstance(found, Blocked):
            return found
        return [fd for fd, events in found if events & EPOLLIN], [fd for fd, events in found if events & EPOLLOUT]

    def poll(self, fds: PollFds, timeout_ms: int = -1) -> list[tuple[int, int]] | Blocked:
        array = PollArray.of(fds)
        count = len(fds)
        once = (POLL, 1, POLL_COPY, count, POLLFD, count)
        return self._sleepy_scan(array, timeout_ms, once, (POLL_SCAN, count), NO_WORK)

    def _sleepy_scan(
        self, array: Array, timeout_ms: int, once: Work, scanned: Work, answered: Work
    ) -> list[tuple[int, int]] | Blocked:
        """do_select, do_poll: scan; if nothing is ready, register with every file, sleep, scan again, unregister.
        The work is ``once`` on the way in, ``scanned`` in every pass, and ``answered`` on the way out."""
        thread = self.thread
        table = thread.table
        thread.ready_from, thread.ready_to = self.clock.now, -1
        self.readable.start([process.table for process in self.processes.values()])
        scan = array.scan(table, self.readable)
        sleeper: Sleeper | None = thread.state
        self.work = scanned if sleeper else (*once, *scanned)
        registered = sleeper.registered if sleeper else scan.before_first_ready if timeout_ms else 0
        if sleeper is None and registered:
            self.work += (REGISTER, registered)
        if scan.readable or not timeout_ms or thread.timed_out:
            self.work += answered
            if registered:
                self.work += (UNREGISTER, registered)
            if sleeper is not None:
                self.readable.sleepers.remove(sleeper)
            if scan.readable:
                self.work += (EVENT, len(scan.readable))
            return scan.readable
        if sleeper is None:
            thread.state = Sleeper(thread, table, array, registered)
            self.readable.sleepers.insert(0, thread.state)
            self.wake_after_ms(thread, timeout_ms)
        return Blocked(None)

    def epoll_create(self) -> int:
        self.work = (EPOLL_DEL, 1)
        table = self.thread.table
        fd = table.install(Epoll(self.readable))
        table.epolls[fd] = None
        return fd

    def epoll_ctl(self, epoll: int, operation: int, fd: int, events: int = 0) -> None:
        table = self.thread.table
        interest, file = table.get(epoll), table.get(fd)
        if not isinstance(interest, Epoll) or file is interest:
            raise fail(errno.EINVAL)
        if operation == EPOLL_CTL_ADD:
            self.work = (EPOLL_ADD, 1)
            if type(file) is File:  # a terminal, a file of a disk: nothing that one waits for
                raise fail(errno.EPERM)
            interest.add(fd, file, events)
        elif operation == EPOLL_CTL_MOD:
            self.work = (EPOLL_MOD, 1)
            interest.modify(fd, events)
        elif operation == EPOLL_CTL_DEL:
            self.work = (EPOLL_DEL, 1)
            interest.delete(fd)
        else:
            raise fail(errno.EINVAL)

    def epoll_wait(self, epoll: int, maxevents: int = 512, timeout_ms: int = -1) -> list[tuple[int, int]] | Blocked:
        thread = self.thread
        file = thread.table.get(epoll)
        if type(file) is not Epoll or maxevents <= 0:
            raise fail(errno.EINVAL)
        thread.ready_from, thread.ready_to = self.clock.now, -1
        called = 0 if thread.resumed else 1
        if file.ready:
            events, rechecked = file.harvest(maxevents)
            if events:
                found = len(events)
                self.work = (
                    EPOLL_WAIT, called, EPOLL_RECHECK, rechecked, EPOLL_EVENT, found, EVENT, found,
                )  # fmt: skip
                if file.waiters and file.ready:  # ep_done_scan: what is left, or back, is for the next sleeper too
                    file.notify(EPOLLIN)
                    self.work += (WAKE, 1)
                return events
            self.work = (EPOLL_WAIT, called, EPOLL_RECHECK, rechecked)
        else:
            self.work = (EPOLL_WAIT, called)
        if not timeout_ms or thread.timed_out:
            return []
        if called and timeout_ms > 0:
            self.wake_after_ms(thread, timeout_ms)
        return file.sleep
