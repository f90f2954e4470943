"""The core of the simulated kernel: how a call is entered, how it sleeps, how it times out.

A handler never waits: it returns a value, raises OSError, or returns ``Blocked``. ``enter`` is the one place that turns
"blocked" into a sleeping thread or, under O_NONBLOCK, into EAGAIN. A handler reports ``work``, never time.
"""

import errno
from collections.abc import Callable
from typing import Any

from iosim.costs import Costs
from iosim.machine import Machine
from iosim.sim.alarm import Alarm
from iosim.sim.clock import Clock
from iosim.sim.cpu import Cpu, ThreadExit
from iosim.sim.files import CONTINUE, Blocked, File, Table, fail
from iosim.sim.interpreted import InterpretedCpu
from iosim.sim.polling import ReadableFiles
from iosim.sim.scheduler import Scheduler
from iosim.sim.signals import Signals, User
from iosim.sim.thread import Code, Process, Thread
from iosim.sim.work import ERROR, NO_WORK, SLEEP, WAKE, Account, Priced, Rates, Work
from iosim.syscalls import O_NONBLOCK, VOCABULARY, Call

MILLISECOND_NS = 1_000_000
Tracer = Callable[[int, Thread, Call], None]


class KernelCore:
    """What every handler stands on: processes, CPUs, the clock, and the call under way."""

    def __init__(self, clock: Clock, costs: Costs, machine: Machine) -> None:
        self.clock = clock
        self.machine = machine
        self.rates = Rates(costs)
        self.scheduler = Scheduler(clock, machine.slice_ns, self.rates)
        self.interpreted = costs.runtime != "c"
        kind = InterpretedCpu if self.interpreted else Cpu
        for _ in range(machine.cpus):
            self.scheduler.add(kind(clock, self.scheduler, self.rates, self))
        self.handlers: dict[str, Callable[..., Any]] = {name: getattr(self, name) for name in VOCABULARY}
        self.census: dict[str, int] = dict.fromkeys(VOCABULARY, 0)
        self.tracer: Tracer | None = None
        self.readable = ReadableFiles()
        self.processes: dict[int, Process] = {}
        self.user = User()
        self.next_id = 1
        self.voluntary_switches = 0
        self.involuntary_switches = 0
        self.peak_threads = 0
        # the call under way
        self.thread: Thread
        self.work: Work = ()

    def depart(self, thread: Thread) -> None:  # noqa: ARG002
        """The call's work is done: what it sends leaves now."""
        raise AssertionError("only the whole kernel sends")

    def thread_leaves(self, thread: Thread) -> None:  # noqa: ARG002
        """The thread has ended, or must go on on another CPU."""
        raise AssertionError("only the whole kernel ends threads")

    def enter(self, thread: Thread, call: Call, account: Account) -> Priced:
        """Run the call's handler, settle what the thread does next, and return the bill."""
        self.thread = thread
        self.work = NO_WORK
        answered = True
        try:
            thread.result = result = self.handlers[call[0]](*call[1])
        except AssertionError:
            raise  # our own bug
        except (Exception, ThreadExit) as error:  # OSError, or what a call with senseless arguments raises anywhere
            self.work += (ERROR, 1)
            thread.error = error
        else:
            if type(result) is Blocked:
                answered = self._block(thread, call, result)
        if not thread.resumed:
            bill = account.calls.get(self.work) or account.price_call(self.work)
        else:  # it was entered long ago
            bill = account.price(self.work)
            if answered:
                thread.finish_call()
        if self.tracer is not None and answered:
            self.tracer(self.clock.now + bill.ns, thread, call)
        return bill

    def _block(self, thread: Thread, call: Call, blocked: Blocked) -> bool:
        """The call cannot be answered yet. Under O_NONBLOCK the answer is EAGAIN (and True is returned), else the
        thread sleeps in it."""
        if blocked is CONTINUE:
            thread.call = call
            thread.notified = True
            return False
        if blocked.file is None or not blocked.file.flags & O_NONBLOCK:
            thread.call = call
            thread.wait_on(blocked)
            self.work += (SLEEP, 1)
            return False
        thread.error = fail(errno.EAGAIN)
        thread.state = None
        self.work += (ERROR, 1)
        return True

    def pay_wakeups(self, before: int) -> None:
        """Whom the call woke since the scheduler had counted ``before`` is woken at its cost."""
        if woken := self.scheduler.wakeups - before:
            self.work += (WAKE, woken)

    # --- threads

    def start_process(
        self, code: Code, table: Table | None = None, parent: Process | None = None, starter: Thread | None = None
    ) -> Process:
        """A process whose first thread runs this code."""
        signals = parent.signals.of_child() if parent else Signals(self.readable, self.user, self.machine.sigpending)
        process = Process(self._new_id(), table or self.new_table(), signals, parent)
        self.processes[process.pid] = process
        self.start_thread(process, code, starter)
        return process

    def new_table(self) -> Table:
        """Descriptors 0, 1 and 2, as every process has them."""
        standard_streams: list[File | None] = [File(self.readable) for _ in range(3)]
        return Table(self.readable, self.machine.nofile, standard_streams)

    def start_thread(
        self, process: Process, code: Code, starter: Thread | None = None, census: dict[str, int] | None = None
    ) -> Thread:
        """One thread more in this process, runnable at once where whoever starts it may run. One of a library counts
        its calls in a census of its own."""
        tid = self._new_id() if process.threads else process.pid
        thread = Thread(tid, process, code, self.scheduler, self.census if census is None else census)
        thread.affinity = None if starter is None else starter.affinity
        process.threads[thread] = None
        self.peak_threads = max(self.peak_threads, sum(len(p.threads) for p in self.processes.values()))
        self.scheduler.make_runnable(thread)
        return thread

    def all_asleep(self) -> bool:
        """Does no thread run, or wait for a CPU?"""
        return all(thread.asleep for process in self.processes.values() for thread in process.threads)

    def close_programs(self) -> None:
        """The simulation is over: no program goes on, not even one that never came to run."""
        for process in self.processes.values():
            for thread in process.threads:
                thread.code.close()

    def _new_id(self) -> int:
        self.next_id += 1
        return self.next_id

    # --- time

    def wake_after(self, thread: Thread, duration_ns: int) -> None:
        """End the sleep of the call under way at that time, if it still lasts."""
        self.clock.call_at(self.clock.now + duration_ns, self._time_out, (thread, thread.sleeps))

    def wake_after_ms(self, thread: Thread, timeout_ms: int) -> None:
        """The same for a time-out argument; negative means none."""
        if timeout_ms > 0:
            self.wake_after(thread, timeout_ms * MILLISECOND_NS)

    def _time_out(self, alarm: Alarm) -> None:
        thread, sleeps = alarm.value
        if thread.sleeps == sleeps and thread.call is not None:
            thread.timed_out = True
            thread.leave_queue()
            thread.wake()
