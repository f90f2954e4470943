"""A CPU whose threads may share an interpreter: they run user mode one at a time (``iosim.sim.interpreter``).

Discussion: a process with one thread has no lock here, and runs as on any CPU. With more, a call is two bursts: its
user part with the lock, its kernel part without. They stay one burst where nobody could see the difference: nobody
waits for the lock, and no other thread can run before the burst is over.
"""

from iosim.sim.alarm import Alarm
from iosim.sim.cpu import LEAVES, NEVER, Cpu, ThreadExit, _throw
from iosim.sim.interpreter import KERNEL, NOT_WAITING, QUEUED, USER, YIELDED, Turn
from iosim.sim.thread import Thread
from iosim.sim.work import LOCK_WAIT, LOCK_WAKE, THREAD_EXIT, Priced


class InterpretedCpu(Cpu):
    """A CPU under a runtime with an interpreter lock."""

    def run(self) -> None:
        while True:
            thread = self.thread
            assert thread is not None
            turn = thread.turn
            if not (self._run_thread() if turn is None else self._run_in_turn(thread, turn)):
                return

    def _run_in_turn(self, thread: Thread, turn: Turn) -> bool:
        """What ``_run_thread`` does, for a thread that shares its interpreter."""
        clock = self.clock
        while True:  # here every bill is paid, but for what a preempted thread owes and the parts that ``turn`` keeps
            if thread.departing is not None and thread.owed is None and turn.kernel_part is None:
                if thread.departing is LEAVES:
                    thread.departing = None
                    self.kernel.thread_leaves(thread)
                    return self._leave()
                self.kernel.depart(thread)
            if self.queue and clock.now >= self.slice_end:
                self.kernel.involuntary_switches += 1
                return self._put_back(thread)
            bill = self._next_bill(thread, turn)
            if bill is None:
                self.kernel.voluntary_switches += 1
                thread.asleep = True
                return self._leave()
            end = clock.now + bill.ns
            if clock.horizon <= end or self.softirqs or (self.queue and end > self.slice_end):
                self._start_burst(bill)
                return False
            clock.now = end
            self.account.pay(bill)

    def _next_bill(self, thread: Thread, turn: Turn) -> Priced | None:
        """What the thread does next; None when it sleeps."""
        if thread.owed is not None:
            owed, thread.owed = thread.owed, None
            if turn.phase != USER or not turn.lock.asked:
                return owed
            turn.user_part = owed
            return self._let_go(thread, turn)
        if turn.phase == USER:  # its user part is paid
            if turn.kernel_part is None and not turn.lock.asked:
                return self._trap(thread, turn)
            return self._let_go(thread, turn)
        waits = turn.phase == QUEUED or turn.phase == YIELDED
        if waits or thread.call is not None:
            if not thread.notified:
                return None
            thread.notified = False
        if not waits and thread.call is not None:
            return self._go_on(thread, turn)
        if turn.phase == YIELDED and turn.user_part is None and turn.kernel_part is not None:
            return self._enter_kernel(thread, turn)
        if not turn.lock.is_free_for(thread):
            return self._queue_up(thread, turn)
        return self._take(thread, turn)

    def _trap(self, thread: Thread, turn: Turn) -> Priced:
        """Holding the lock, run the program up to its next call: the user part, and the whole where that is the
        same."""
        kernel, account = self.kernel, self.account
        while True:
            holds_on = False
            try:
                call = thread.code.send(thread.result) if thread.error is None else _throw(thread)
            except (StopIteration, ThreadExit):
                thread.departing = LEAVES
                thread.ended = True
                bill = account.price((THREAD_EXIT, 1))
                break
            try:
                thread.census[call[0]] += 1
            except (TypeError, LookupError):
                thread.error = TypeError(
                    f"the program awaited {call!r}: only the calls of iosim.syscalls can be awaited"
                )
                continue
            holds_on = call[0] == "compute"  # no call in truth
            bill = kernel.enter(thread, call, account)
            break
        if self._alone(turn, bill):
            turn.lock.holder = None
            turn.phase = KERNEL
            return bill
        if holds_on:
            return bill
        user_part, turn.kernel_part = bill.halves()
        return user_part

    def _alone(self, turn: Turn, bill: Priced) -> bool:
        """Will no other thread of the interpreter run before this is paid?"""
        end = self.clock.now + bill.ns
        if turn.lock.contended or end > self.slice_end:
            return False
        return len(self.scheduler.cpus) == 1 or self.clock.horizon > end

    def _go_on(self, thread: Thread, turn: Turn) -> Priced:
        """The call under way runs on after a sleep; what it leaves to do in user mode needs the lock."""
        thread.resumed = True
        assert thread.call is not None
        user_part, kernel_part = self.kernel.enter(thread, thread.call, self.account).halves()
        if user_part.ns:
            turn.user_part = user_part
        return kernel_part

    def _take(self, thread: Thread, turn: Turn) -> Priced:
        """The lock is free: into user mode."""
        yielded = turn.lock.take(thread)
        self._end_wait(thread, turn)
        turn.phase = USER
        if turn.user_part is not None:
            bill, turn.user_part = turn.user_part, None
        else:
            bill = self._trap(thread, turn)
        return bill if yielded is None else self._wake(yielded).joined(bill)

    def _let_go(self, thread: Thread, turn: Turn) -> Priced:
        """Out of user mode; if it was asked to, only to come back when another thread had the lock."""
        lock = turn.lock
        asked, woken = lock.asked, lock.release()
        if woken is None:
            return self._enter_kernel(thread, turn) if turn.user_part is None else self._take(thread, turn)
        wake = self._wake(woken)
        if not asked:
            return wake.joined(self._enter_kernel(thread, turn))
        lock.asked = False
        lock.yielded = thread
        turn.phase = YIELDED
        self._begin_wait(thread, turn)
        return wake.joined(self.account.price((LOCK_WAIT, 1)))

    def _enter_kernel(self, thread: Thread, turn: Turn) -> Priced:
        self._end_wait(thread, turn)
        turn.phase = KERNEL
        assert turn.kernel_part is not None
        bill, turn.kernel_part = turn.kernel_part, None
        return bill

    def _queue_up(self, thread: Thread, turn: Turn) -> Priced:
        """The lock is another thread's: sleep until it is free, or for an interval; after a whole one, ask for it."""
        lock = turn.lock
        self._begin_wait(thread, turn)
        holder = lock.holder
        if turn.timed_out and turn.seen == lock.switches and holder is not None:
            lock.asked = True
            if holder.cpu is not None and holder.cpu.thread is holder:
                self.clock.call_at(self.clock.now, holder.cpu.interrupt_user_mode, holder)
        turn.phase = QUEUED
        turn.timed_out = False
        turn.seen = lock.switches
        turn.ticket += 1
        lock.waiters[thread] = None
        self.clock.call_at(self.clock.now + self.rates.switch_interval_ns, self._interval_over, (thread, turn.ticket))
        return self.account.price((LOCK_WAIT, 1))

    @staticmethod
    def _interval_over(alarm: Alarm) -> None:
        thread, ticket = alarm.value
        turn = thread.turn
        if turn is not None and turn.ticket == ticket and thread in turn.lock.waiters:
            del turn.lock.waiters[thread]
            turn.timed_out = True
            thread.wake()

    def interrupt_user_mode(self, alarm: Alarm) -> None:
        """Somebody asked for the lock that this thread holds: end its burst here."""
        thread, bill = self.thread, self.bill
        if thread is not alarm.value or bill is None or self.slice_end == NEVER:  # NEVER: it is just being switched to
            return
        assert thread is not None
        if thread.turn is None or thread.turn.phase != USER:
            return
        paid, thread.owed = bill.split(self._burst_so_far())
        self.account.pay(paid)
        self.bill = None
        self.run()

    def _wake(self, thread: Thread) -> Priced:
        thread.wake()
        return self.account.price((LOCK_WAKE, 1))

    def _begin_wait(self, thread: Thread, turn: Turn) -> None:
        if turn.since == NOT_WAITING:
            turn.since = self.clock.now
            turn.waited_before = thread.wait_ns

    @staticmethod
    def _end_wait(thread: Thread, turn: Turn) -> None:
        """All of it counts as waiting, also what was spent on falling asleep and waking up."""
        if turn.since != NOT_WAITING:
            thread.wait_ns = turn.waited_before + thread.scheduler.clock.now - turn.since
            turn.since = NOT_WAITING
