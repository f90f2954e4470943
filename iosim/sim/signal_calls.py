"""Signals as a source of events: the calls. What a signal is and how it waits is in iosim.sim.signals."""

import errno

from iosim.sim.epoll import Epoll
from iosim.sim.files import Blocked, File, fail
from iosim.sim.process_calls import ProcessCalls
from iosim.sim.signals import LAST_SIGNAL, Fasync, fasync_of, mask_of
from iosim.sim.sockets import Stream
from iosim.sim.thread import Process
from iosim.sim.work import FCNTL, NO_WORK, SIGNAL_ARM, SIGNAL_CALL, SIGNAL_OWNER, SIGNAL_SEND, SIGNAL_TAKE, SIGNAL_WAIT
from iosim.syscalls import (
    F_GETFL,
    F_GETOWN,
    F_GETSIG,
    F_SETFL,
    F_SETOWN,
    F_SETSIG,
    O_ASYNC,
    RLIMIT_SIGPENDING,
    SIG_BLOCK,
    SIG_SETMASK,
    SIG_UNBLOCK,
    SigInfo,
)


class SignalCalls(ProcessCalls):
    """sigprocmask(2), sigwaitinfo(2), sigtimedwait(2), the queue's limit; fcntl(2) of the files that raise them."""

    signals_raised = 0
    fasyncs = 0
    """Files that raise signals, or may."""

    def sigprocmask(self, how: int, signals: tuple[int, ...]) -> None:
        pending, mask = self.thread.process.signals, mask_of(signals)
        self.work = (FCNTL, 1)
        if how == SIG_BLOCK:
            pending.blocked |= mask
        elif how == SIG_UNBLOCK:
            pending.blocked &= ~mask
        elif how == SIG_SETMASK:
            pending.blocked = mask
        else:
            raise fail(errno.EINVAL)
        self._deliver_signals(self.thread.process)

    def sigwaitinfo(self, signals: tuple[int, ...]) -> SigInfo | Blocked:
        return self._wait_for_signal(signals, -1)

    def sigtimedwait(self, signals: tuple[int, ...], timeout_ms: int) -> SigInfo | Blocked:
        if timeout_ms < 0:
            raise fail(errno.EINVAL)
        return self._wait_for_signal(signals, timeout_ms)

    def _wait_for_signal(self, signals: tuple[int, ...], timeout_ms: int) -> SigInfo | Blocked:
        """do_sigtimedwait. Negative: no time-out."""
        thread = self.thread
        pending = thread.process.signals
        thread.ready_from, thread.ready_to = self.clock.now, -1
        called = 0 if thread.resumed else 1
        wanted = mask_of(signals)
        info = pending.take(wanted)
        if info is not None:
            self.work = (SIGNAL_CALL, called, SIGNAL_WAIT, called, SIGNAL_TAKE, 1)
            return info
        self.work = (SIGNAL_CALL, called, SIGNAL_WAIT, called)
        if not timeout_ms or thread.timed_out:
            raise fail(errno.EAGAIN)
        if called:
            self.wake_after_ms(thread, timeout_ms)
        return Blocked(pending.arrivals, wanted, exclusive=True)

    def setrlimit(self, resource: int, limit: int) -> None:
        self.work = (FCNTL, 1)
        if resource != RLIMIT_SIGPENDING or limit < 0:
            raise fail(errno.EINVAL)
        self.thread.process.signals.limit = limit

    # --- who raises them

    def fcntl(self, fd: int, command: int, argument: int = 0) -> int:
        file = self.thread.table.get(fd)
        fasync = fasync_of(file)
        if command == F_GETFL:
            return super().fcntl(fd, command) | (O_ASYNC if fasync is not None and fasync.armed else 0)
        if command == F_SETFL:
            armed = self._arm(fd, file, fasync, argument & O_ASYNC)
            answer = super().fcntl(fd, command, argument)
            self.work += (SIGNAL_ARM, 1) if armed else NO_WORK
            return answer
        self.work = (FCNTL, 1)
        if command == F_GETOWN:
            return fasync.owner if fasync is not None else 0
        if command == F_GETSIG:
            return fasync.signo if fasync is not None else 0
        if command == F_SETOWN:
            if argument and argument not in self.processes:
                raise fail(errno.ESRCH)
            self._fasync(file, fasync).owner = argument
            self.work = (FCNTL, 1, SIGNAL_OWNER, 1)
        elif command == F_SETSIG:
            if not 0 <= argument <= LAST_SIGNAL:
                raise fail(errno.EINVAL)
            self._fasync(file, fasync).signo = argument
        else:
            return super().fcntl(fd, command, argument)
        return 0

    def _arm(self, fd: int, file: File, fasync: Fasync | None, wanted: int) -> bool:
        """fasync_helper. An epoll descriptor raises none. True when the file is armed by this."""
        if wanted and not isinstance(file, Epoll):
            fasync = self._fasync(file, fasync)
            if not fasync.armed:
                fasync.armed, fasync.fd, fasync.misses_room = True, fd, False
                return True
        elif fasync is not None:
            fasync.armed = False
        return False

    def _fasync(self, file: File, fasync: Fasync | None) -> Fasync:
        """The file's, or a new one."""
        if fasync is None:
            fasync = Fasync(self.raise_signal)
            self.fasyncs += 1
            file.add_waiter(fasync)
        return fasync

    def raise_signal(self, fasync: Fasync, band: int) -> None:
        """kill_fasync: to the owner, if it is there; one that does not block the signal is ended by it."""
        owner = self.processes.get(fasync.owner)
        if owner is not None:
            self.signals_raised += 1
            owner.signals.send(fasync.signo, fasync.fd, band)
            self._deliver_signals(owner)

    def _deliver_signals(self, process: Process) -> None:
        """get_signal: one that is not blocked ends the process, for there are no handlers."""
        info = process.signals.take(~process.signals.blocked)
        if info is not None:
            self.kill(process, info.signo)

    def release(self, file: File) -> None:
        fasync = fasync_of(file)
        if fasync is not None:
            file.remove_waiter(fasync)
            self.fasyncs -= 1
        super().release(file)

    def found_full(self, stream: Stream) -> None:
        fasync = fasync_of(stream)
        if fasync is not None:
            fasync.found_full()

    def _send(self, stream: Stream, data: bytes) -> None:
        raised = self.signals_raised
        super()._send(stream, data)
        if raised != self.signals_raised:
            self.work += (SIGNAL_SEND, self.signals_raised - raised)
