"""io_uring: its three calls, what an operation does, and the kernel thread that polls a submission queue.

*Models*: submission one operation after the other, then task work, then the wait; each takes its time when it is done,
so that the first reply of a batch leaves before the last; with IORING_SETUP_SQPOLL a thread of the kernel that is
scheduled like any other, and burns its CPU until ``sq_thread_idle`` has passed.
*Differs from Linux*: rings without IORING_SETUP_DEFER_TASKRUN or SQPOLL are EINVAL.
"""

import errno

from iosim.costs import Costs
from iosim.machine import Machine
from iosim.sim.clock import Clock
from iosim.sim.files import CONTINUE, Blocked, File, fail
from iosim.sim.ring import TASK_WORK_AT_ONCE, Uring
from iosim.sim.ring_operations import RingOperations
from iosim.sim.thread import Thread
from iosim.sim.work import (
    EVENT,
    URING_CALL,
    URING_ENTER,
    URING_SETUP,
    URING_SQ_PASS,
    URING_SQE,
    WAKE,
    Part,
    Priced,
)
from iosim.syscalls import (
    EPOLLIN,
    IORING_SETUP_DEFER_TASKRUN,
    IORING_SETUP_SINGLE_ISSUER,
    IORING_SETUP_SQPOLL,
    Cqe,
    Ring,
)
from iosim.syscalls.ring import MOST_REAPED

MOST_ENTRIES = 32768
MOST_BUFFERS = 32768
SUPPORTED = (
    IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
    IORING_SETUP_SQPOLL,
    IORING_SETUP_SQPOLL | IORING_SETUP_SINGLE_ISSUER,
)
DEFAULT_IDLE_MS = 1000
MILLISECOND_NS = 1_000_000
SQ_THREAD = "iou-sqp"
"""The call that the kernel's thread never comes back from; it is none of the vocabulary, and not in the census."""


class RingCalls(RingOperations):
    """io_uring."""

    def __init__(self, clock: Clock, costs: Costs, machine: Machine) -> None:
        super().__init__(clock, costs, machine)
        self.handlers[SQ_THREAD] = self._sq_thread

    def io_uring_setup(self, entries: int, flags: int, sq_thread_idle_ms: int = 0) -> Ring:
        self.work = (URING_SETUP, 1)
        polled = bool(flags & IORING_SETUP_SQPOLL)
        if not 0 < entries <= MOST_ENTRIES or flags not in SUPPORTED:
            raise fail(errno.EINVAL)
        thread = self.thread
        entries = 1 << (entries - 1).bit_length()
        uring = Uring(self.readable, entries, thread, self._poke if polled else None)
        ring = Ring(thread.table.install(uring), entries, uring)
        if polled:
            uring.idle_ns = (sq_thread_idle_ms or DEFAULT_IDLE_MS) * MILLISECOND_NS
            uring.thread = self.start_thread(thread.process, _kernel_thread())
            uring.thread.call = (SQ_THREAD, (uring,))
            uring.thread.notified = True
        return ring

    def io_uring_register(self, ring: Ring, buffers: int, buffer_bytes: int) -> None:
        self.work = (URING_SETUP, 1)
        uring = self._uring(ring)
        if not 0 < buffers <= MOST_BUFFERS or buffers & (buffers - 1) or buffer_bytes <= 0:
            raise fail(errno.EINVAL)
        if uring.buffer_bytes:
            raise fail(errno.EEXIST)
        uring.buffer_bytes = buffer_bytes
        uring.buffers.extend(range(buffers))

    def io_uring_enter(self, ring: Ring, min_complete: int = 0, timeout_ms: int = -1) -> list[Cqe] | Blocked:
        thread = self.thread
        uring = self._uring(ring)
        if not thread.resumed:
            self._begin_enter(uring, ring, min_complete)
        elif uring.rested:
            uring.rested = False
            uring.cold = True
            thread.ready_from, thread.ready_to = self.clock.now, -1
        if not uring.polled:
            if uring.published:
                self._start(uring.next_operation())
                return CONTINUE
            if not uring.waiting:  # all is submitted, and from here on the call tells of what is new
                uring.waiting = True
                thread.ready_from, thread.ready_to = self.clock.now, -1
            if uring.task_work and (uring.budget > 0 or len(uring.completions) < min_complete):
                uring.budget -= 1
                self._run_task_work(uring)
                return CONTINUE
        if len(uring.completions) >= min_complete or thread.timed_out or not timeout_ms:
            cqes = uring.reap(MOST_REAPED)
            if cqes:
                self.work += (EVENT, len(cqes))
            return cqes
        if timeout_ms > 0 and not uring.deadline_set:
            uring.deadline_set = True
            self.wake_after_ms(thread, timeout_ms)
        uring.wait_for = min_complete
        uring.rested = True
        return Blocked(uring, EPOLLIN)

    def _begin_enter(self, uring: Uring, ring: Ring, min_complete: int) -> None:
        if not uring.polled and uring.submitter is not self.thread:
            raise fail(errno.EEXIST)
        self.work = (URING_CALL, 1, URING_ENTER, 1)
        if ring.submissions:
            self.work += (URING_SQE, len(ring.submissions))
        if uring.publish(ring.submissions):
            self.work += (WAKE, 1)
            self._wake(uring)
        uring.budget = max(TASK_WORK_AT_ONCE, min_complete)
        uring.waiting = uring.polled
        uring.rested = uring.deadline_set = False
        if not uring.polled:
            uring.cold = True

    def _uring(self, ring: Ring) -> Uring:
        uring = self.thread.table.get(ring.fd)
        if not isinstance(uring, Uring):
            raise fail(errno.EOPNOTSUPP)
        return uring

    def release(self, file: File) -> None:
        """The last descriptor of this file is gone; with a ring go its operations and its thread."""
        if isinstance(file, Uring):
            for operation in tuple(file.operations):
                self._let_go(operation)
            file.task_work.clear()
            file.published.clear()
            thread: Thread | None = file.thread
            if thread is not None and thread in thread.process.threads:
                self._cancel(thread)
        super().release(file)

    # --- the kernel's thread (io_sq_thread)

    def _sq_thread(self, uring: Uring) -> Blocked:
        """One thing at a time; with nothing to do, look again and again until ``idle_ns`` has passed, then sleep."""
        uring.spinning = False
        if uring.task_work:
            uring.spun = False
            self._run_task_work(uring)
            return CONTINUE
        if uring.published:
            uring.spun = False
            self._start(uring.next_operation())
            return CONTINUE
        pass_ps = self.rates.ps[URING_SQ_PASS]
        if not pass_ps:  # on a machine where looking takes no time it waits, and sees what comes at once
            uring.spinning = True
        elif not uring.spun:
            uring.spun = uring.spinning = True
            cpu = self.thread.cpu
            assert cpu is not None
            cpu.slice_end = self.clock.now  # who always runs has no claim left: whoever wakes takes its CPU (EEVDF)
            self.work = (URING_SQ_PASS, max(1, uring.idle_ns * 1000 // pass_ps))
            return CONTINUE
        else:
            uring.asleep = True
        return Blocked(None)

    def _poke(self, uring: Uring) -> None:
        """There is something to do."""
        if uring.spinning:
            self._stop_spinning(uring)
        elif uring.asleep:
            self._wake(uring)

    def _wake(self, uring: Uring) -> None:
        """IORING_ENTER_SQ_WAKEUP, or task work for a thread that sleeps."""
        uring.asleep = uring.spun = False
        uring.cold = True
        uring.thread.wake()

    def _stop_spinning(self, uring: Uring) -> None:
        """It sees what has come when the pass under way is over. One long burst that is cut short stands for all
        passes; an event for each would be thousands per millisecond."""
        thread: Thread = uring.thread
        uring.spinning = uring.spun = False
        cpu = thread.cpu
        elapsed_ns = cpu.burst_of(thread) if cpu is not None else -1
        if thread.owed is not None:  # preempted
            thread.owed = None
        elif cpu is not None and elapsed_ns >= 0:
            pass_ps = self.rates.ps[URING_SQ_PASS]
            passes = elapsed_ns * 1000 // pass_ps + 1
            bill = Priced((Part(URING_SQ_PASS, passes, (pass_ps * passes + 500) // 1000),))
            cpu.shorten(bill)
        else:
            thread.wake()

    def _cancel(self, thread: Thread) -> None:
        if thread.call is not None and thread.call[0] == SQ_THREAD:
            uring: Uring = thread.call[1][0]
            if uring.spinning:
                self._stop_spinning(uring)
        super()._cancel(thread)


async def _kernel_thread() -> None:
    """What a thread runs that never leaves the kernel."""
    raise AssertionError("a thread of the kernel came to user space")
