"""CPUs: a run queue of our own each, bursts of CPU time, time slices, context switches, interrupts.

*Models*: one thread at a time per CPU; a slice after which a waiting thread gets its turn; the cost of a switch
within and between processes; idle-exit; an idle CPU that takes the oldest thread waiting elsewhere; softirq work that
delays whatever runs.
*Does not model*: nice, EEVDF's lag and protected slice, caches.
*Differs from Linux*: a slice ends exactly, not at the next tick.
"""

from collections import deque
from typing import TYPE_CHECKING, Final

from iosim.sim.alarm import Alarm, Callback
from iosim.sim.clock import Clock
from iosim.sim.scheduler import Scheduler
from iosim.sim.work import COLD, PROCESS_SWITCH, SWITCH, THREAD_EXIT, Account, Priced, Rates, idle_level
from iosim.syscalls import Call

if TYPE_CHECKING:
    from iosim.sim.core import KernelCore
    from iosim.sim.thread import Process, Thread


NEVER: Final = 1 << 62
LEAVES: Final = object()
"""Departs with a thread's last bill, or its last on this CPU."""


class Cpu:
    """One CPU. At any time it runs a burst of a thread, or a softirq, or it is idle: every nanosecond is one of
    them."""

    def __init__(self, clock: Clock, scheduler: Scheduler, rates: Rates, kernel: "KernelCore") -> None:
        self.clock = clock
        self.scheduler = scheduler
        self.kernel = kernel
        self.rates = rates
        self.account = Account(rates)
        self.queue: deque[Thread] = deque()
        self.thread: Thread | None = None
        self.last_process: Process | None = None
        self.slice_end = 0
        # the burst under way
        self.bill: Priced | None = None
        self.burst_from = 0
        self.burst_end = 0
        self.serial = 0
        """Number of the burst: the event of an earlier one finds another number and does nothing."""
        # idleness and softirqs
        self.idle_from: int | None = 0
        self.idle_ns = 0
        self.softirqs: deque[Softirq] = deque()
        self.softirq_ns = 0
        """Time of the softirqs that are done."""
        self.softirq_base = 0
        """``softirq_ns`` when the burst or the idleness began."""

    # --- running

    def run(self) -> None:
        """Let threads run until none is left, or somebody else has to act first."""
        while self._run_thread():
            pass

    def _run_thread(self) -> bool:
        """Let the thread call until it sleeps, ends, is preempted, or somebody else has to act first. True when another
        thread has been switched to meanwhile."""
        thread, clock, kernel, account = self.thread, self.clock, self.kernel, self.account
        assert thread is not None
        send, census = thread.code.send, thread.census
        while True:  # here every bill is paid, but for what a preempted thread owes
            if thread.departing is not None and thread.owed is None:
                if thread.departing is LEAVES:
                    thread.departing = None
                    kernel.thread_leaves(thread)
                    return self._leave()
                kernel.depart(thread)
            if self.queue and clock.now >= self.slice_end:
                kernel.involuntary_switches += 1
                return self._put_back(thread)
            call = thread.call
            if thread.owed is not None:
                bill, thread.owed = thread.owed, None
            else:
                if call is None:
                    try:
                        call = send(thread.result) if thread.error is None else _throw(thread)
                    except (StopIteration, ThreadExit):
                        thread.departing = LEAVES
                        thread.ended = True
                        bill = account.price((THREAD_EXIT, 1))
                    else:
                        try:
                            census[call[0]] += 1
                        except (TypeError, LookupError):
                            thread.error = TypeError(
                                f"the program awaited {call!r}: only the calls of iosim.syscalls can be awaited"
                            )
                            continue
                        bill = kernel.enter(thread, call, account)
                elif thread.notified:
                    thread.notified = False
                    thread.resumed = True
                    bill = kernel.enter(thread, call, account)
                else:
                    kernel.voluntary_switches += 1
                    thread.asleep = True
                    return self._leave()
            end = clock.now + bill.ns
            if clock.horizon <= end or self.softirqs or (self.queue and end > self.slice_end):
                self._start_burst(bill)
                return False
            clock.now = end  # this is Clock.pass_time and Account.pay, inlined (tests/bench)
            if bill.kept:
                bill.count += 1
            else:
                account.pay(bill)

    def interrupt_user_mode(self, alarm: Alarm) -> None:  # noqa: ARG002
        """Somebody asks for the interpreter's lock."""
        raise AssertionError("only a CPU under an interpreter has threads that hold its lock")

    def switch_to(self, thread: "Thread") -> bool:
        """Switch to this thread. True when it runs already, False when an event will tell."""
        now = self.clock.now
        idle_ns = 0
        if self.idle_from is not None:
            idle_ns = self._idle_so_far()
            self.idle_ns += idle_ns
            self.idle_from = None
        else:
            thread.wake_from = now
        thread.wait_ns += now - thread.queued_at
        self.thread = thread
        thread.cpu = self
        other_process = self.last_process is not None and self.last_process is not thread.process
        self.last_process = thread.process
        work = (SWITCH, 1, PROCESS_SWITCH, 1) if other_process else (SWITCH, 1)
        bill = self.account.price((*work, COLD, idle_level(idle_ns)) if idle_ns else work)
        self.slice_end = NEVER  # a slice begins after the switch: however short, it gets something done
        if self.softirqs or not self.clock.pass_time(now + bill.ns):
            self._start_burst(bill)
            return False
        self.account.pay(bill)
        thread.ran_at = self.clock.now
        self.slice_end = self.clock.now + self.scheduler.slice_ns
        return True

    def enqueue(self, thread: "Thread") -> None:
        """A thread waits for this CPU, which is busy: at the end of the slice it gets its turn."""
        self.queue.append(thread)
        if self.bill is not None and self.burst_end > self.slice_end:
            self.clock.call_at(max(self.clock.now, self.slice_end), self._slice_over, self.serial)

    # --- bursts that need an event

    def _start_burst(self, bill: Priced) -> None:
        now = self.clock.now
        self.bill = bill
        self.burst_from = now
        self.burst_end = max(now, self.softirqs[-1].end if self.softirqs else 0) + bill.ns
        self.softirq_base = self._softirq_so_far()
        self.serial += 1
        self.clock.call_at(self.burst_end, self._burst_over, self.serial)
        if self.queue and self.burst_end > self.slice_end:
            self.clock.call_at(max(now, self.slice_end), self._slice_over, self.serial)

    def burst_of(self, thread: "Thread") -> int:
        """How much of its burst this thread has done; -1 if it is in none."""
        return self._burst_so_far() if self.thread is thread and self.bill is not None else -1

    def shorten(self, bill: Priced) -> None:
        """The burst under way ends earlier than it was to: with this bill."""
        assert self.bill is not None
        self.burst_end -= self.bill.ns - bill.ns
        self.bill = bill
        self.clock.call_at(max(self.clock.now, self.burst_end), self._burst_over, self.serial)

    def _burst_over(self, alarm: Alarm) -> None:
        if alarm.value != self.serial or self.bill is None:
            return
        if self.clock.now < self.burst_end:  # softirqs came in between
            self.clock.call_at(self.burst_end, self._burst_over, self.serial)
            return
        self.account.pay(self.bill)
        self.bill = None
        thread = self.thread
        assert thread is not None
        if self.slice_end == NEVER:  # that was the switch to it
            thread.ran_at = self.clock.now
            self.slice_end = self.clock.now + self.scheduler.slice_ns
        self.run()

    def _slice_over(self, alarm: Alarm) -> None:
        bill, thread = self.bill, self.thread
        if alarm.value != self.serial or bill is None or not self.queue:
            return
        assert thread is not None
        paid, thread.owed = bill.split(self._burst_so_far())
        self.account.pay(paid)
        self.bill = None
        self.kernel.involuntary_switches += 1
        if self._put_back(thread):
            self.run()

    def _put_back(self, thread: "Thread") -> bool:
        """The slice is over: to the end of the queue."""
        thread.queued_at = self.clock.now
        self.queue.append(thread)
        return self._leave()

    def _leave(self) -> bool:
        """The thread is off this CPU: switch to the next one (and say so), or be idle."""
        self.thread = None
        following = self.queue.popleft() if self.queue else self.scheduler.steal(self)
        if following is not None:
            return self.switch_to(following)
        self.idle_from = self.clock.now
        self.softirq_base = self._softirq_so_far()
        self.scheduler.idle[self] = None
        return False

    # --- softirqs

    def interrupt(self, bill: Priced, then: Callback, value: object) -> None:
        """Do softirq work before anything else on this CPU, then call ``then(event)`` with that value."""
        begin = max(self.clock.now, self.softirqs[-1].end if self.softirqs else 0)
        softirq = Softirq(begin, begin + bill.ns, bill)
        self.softirqs.append(softirq)
        if self.bill is not None:
            self.burst_end += bill.ns
        self.clock.call_at(softirq.end, self._softirq_over)
        self.clock.call_at(softirq.end, then, value)

    def _softirq_over(self, _alarm: Alarm) -> None:
        softirq = self.softirqs.popleft()
        self.account.pay(softirq.bill)
        self.softirq_ns += softirq.bill.ns

    # --- the books

    def books(self) -> tuple[list[int], list[int], int]:
        """(units by kind, ns by kind, idle ns) up to now; what is under way counts as far as it has come."""
        units, ns = self.account.totals()
        under_way = []
        if self.softirqs:
            under_way.append(self.softirqs[0].bill.split(self._softirq_so_far() - self.softirq_ns)[0])
        if self.bill is not None:
            under_way.append(self.bill.split(self._burst_so_far())[0])
        for bill in under_way:
            for part in bill.parts:
                units[part.kind] += part.units
                ns[part.kind] += part.ns
        idle_ns = self.idle_ns + (self._idle_so_far() if self.idle_from is not None else 0)
        assert sum(ns) + idle_ns == self.clock.now, "a CPU's time is more or less than its parts"
        return units, ns, idle_ns

    def _softirq_so_far(self) -> int:
        if not self.softirqs:
            return self.softirq_ns
        return self.softirq_ns + max(0, self.clock.now - self.softirqs[0].begin)

    def _burst_so_far(self) -> int:
        return self.clock.now - self.burst_from - (self._softirq_so_far() - self.softirq_base)

    def _idle_so_far(self) -> int:
        assert self.idle_from is not None
        return self.clock.now - self.idle_from - (self._softirq_so_far() - self.softirq_base)


class Softirq:
    """Protocol input on its way through a CPU."""

    __slots__ = ("begin", "bill", "end")

    def __init__(self, begin: int, end: int, bill: Priced) -> None:
        self.begin = begin
        self.end = end
        self.bill = bill


class ThreadExit(BaseException):
    """Thrown into a program whose process has called exit."""


def _throw(thread: "Thread") -> Call:
    """Hand the error of its call to the program."""
    error, thread.error = thread.error, None
    assert error is not None
    call: Call = thread.code.throw(error)
    return call
