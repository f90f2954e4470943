"""eventfd and futex.

*Models*: futex(2) FUTEX_WAIT and FUTEX_WAKE of private words: the comparison, a wait queue per word, first in, first
out. *Does not model*: priorities, requeueing, priority inheritance, robust lists.
"""

import errno
import sys
from typing import Final

from iosim.sim.eventfd import MOST, EventFd
from iosim.sim.files import Blocked, File, fail
from iosim.sim.ring_calls import RingCalls
from iosim.sim.thread import Thread
from iosim.sim.work import EVENTFD_CREATE, EVENTFD_READ, EVENTFD_WRITE, FUTEX_CALL, FUTEX_WAIT, FUTEX_WAKE, WAKE
from iosim.syscalls import EFD_NONBLOCK, EFD_SEMAPHORE, EPOLLIN, EPOLLOUT, Word

COUNTER_BYTES: Final = 8
WOKEN: Final = object()
"""The state of a thread whose futex_wait was ended by a futex_wake."""


class SyncCalls(RingCalls):
    """eventfd(2), futex(2)."""

    def eventfd(self, initval: int = 0, flags: int = 0) -> int:
        self.work = (EVENTFD_CREATE, 1)
        if flags & ~(EFD_NONBLOCK | EFD_SEMAPHORE):
            raise fail(errno.EINVAL)
        self.ledger.handing_over = True
        return self.thread.table.install(EventFd(self.readable, initval & 0xFFFFFFFF, flags))

    def read_other(self, file: File, count: int) -> bytes | Blocked:
        if type(file) is not EventFd:
            return super().read_other(file, count)
        self.work = (EVENTFD_READ, 1)
        if count < COUNTER_BYTES:
            raise fail(errno.EINVAL)
        if not file.count:
            return Blocked(file, EPOLLIN)
        woken = self.scheduler.wakeups
        taken = file.take()
        self.pay_wakeups(woken)
        return taken.to_bytes(COUNTER_BYTES, sys.byteorder)

    def write_other(self, file: File, data: bytes) -> int | Blocked:
        if type(file) is not EventFd:
            return super().write_other(file, data)
        self.work = (EVENTFD_WRITE, 1)
        value = int.from_bytes(data, sys.byteorder)
        if len(data) != COUNTER_BYTES or value > MOST:  # Linux of 2024 on; before, further bytes were left alone
            raise fail(errno.EINVAL)
        if value > MOST - file.count:
            return Blocked(file, EPOLLOUT)
        woken = self.scheduler.wakeups
        file.add(value)
        self.pay_wakeups(woken)
        return COUNTER_BYTES

    def futex_wait(self, word: Word, expected: int, timeout_ns: int = -1) -> Blocked | None:
        thread = self.thread
        if thread.resumed:
            if thread.state is not WOKEN:  # a wake-up that comes before the time-out is seen is not lost
                raise fail(errno.ETIMEDOUT)
            return None
        self.work = (FUTEX_CALL, 1, FUTEX_WAIT, 1)
        if word.value != expected & 0xFFFFFFFF:
            raise fail(errno.EAGAIN)
        if word.kernel_state is None:
            word.kernel_state = File(self.readable)  # its wait queue is all that is used of it
        if timeout_ns >= 0:
            self.wake_after(thread, timeout_ns)
        return Blocked(word.kernel_state, EPOLLIN, exclusive=True)

    def futex_wake(self, word: Word, count: int = 1) -> int:
        self.ledger.handing_over = True
        asleep: File | None = word.kernel_state
        sleepers = asleep.waiters[: max(1, count)] if asleep is not None else []  # Linux takes 0 for 1
        self.work = (FUTEX_CALL, 1, FUTEX_WAKE, 1)
        if sleepers:
            self.work += (WAKE, len(sleepers))
        for sleeper in sleepers:
            assert isinstance(sleeper, Thread)
            sleeper.state = WOKEN
            sleeper.notify(EPOLLIN)
        return len(sleepers)
