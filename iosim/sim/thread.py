"""Threads and processes: a coroutine, what it waits for, and what its latencies are made of."""

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from iosim.sim.files import Blocked, File, Table
from iosim.sim.interpreter import Interpreter, Turn
from iosim.sim.signals import Signals
from iosim.sim.work import Priced
from iosim.syscalls import EPOLLERR, EPOLLHUP, Call

if TYPE_CHECKING:
    from iosim.sim.cpu import Cpu
    from iosim.sim.scheduler import Scheduler

Code = Coroutine[Any, Any, None]


class Process:
    """An address space and a descriptor table."""

    def __init__(self, pid: int, table: Table, signals: Signals, parent: "Process | None" = None) -> None:
        self.pid = pid
        self.table = table
        self.signals = signals
        self.parent = parent
        self.threads: dict[Thread, None] = {}
        self.ended_children: list[int] = []
        self.children = 0
        self.interpreter: Interpreter | None = None
        """The lock that its threads share, if it has several and the runtime has one."""
        self.ended_by = 0
        """The signal that did."""
        self.exits = File(table.watcher)
        """Its wait queue holds the threads that sleep in wait(2)."""


class Thread:
    """One schedulable entity. ``call`` is the trap that it has not returned from yet."""

    __slots__ = (
        "affinity",
        "asleep",
        "call",
        "census",
        "code",
        "compute_ns",
        "cpu",
        "departing",
        "ended",
        "error",
        "exclusive",
        "notified",
        "owed",
        "process",
        "queued_at",
        "ran_at",
        "ready_from",
        "ready_to",
        "result",
        "resumed",
        "scheduler",
        "sleeps",
        "state",
        "table", "tid",
        "timed_out",
        "turn",
        "wait_ns",
        "waiting_for",
        "waiting_on",
        "wake_from",
    )  # fmt: skip

    def __init__(self, tid: int, process: Process, code: Code, scheduler: "Scheduler", census: dict[str, int]) -> None:
        self.tid = tid
        self.process = process
        self.table = process.table
        self.code = code
        self.scheduler = scheduler
        self.census = census
        """Where its calls are counted; by their names it is told which calls it may make."""
        self.cpu: Cpu | None = None
        self.affinity: dict[Cpu, None] | None = None
        """The CPUs that it may run on; None for all, which is quicker."""
        self.call: Call | None = None
        self.result: Any = None
        self.error: BaseException | None = None
        self.owed: Priced | None = None
        """What is left of a bill that a preemption cut short."""
        self.turn: Turn | None = None
        """Where it stands with the interpreter's lock of its process."""
        # sleeping
        self.asleep = False
        self.notified = False
        self.resumed = False
        """The handler of ``call`` runs again, after a sleep."""
        self.timed_out = False
        self.sleeps = 0
        self.exclusive = False
        self.waiting_on: File | None = None
        self.waiting_for = 0
        self.state: Any = None
        """What the handler of ``call`` keeps between its passes."""
        self.departing: Any = None
        """Bytes for a client that leave when the call has done its work."""
        self.ended = False
        """Its program has returned, or the process has exited."""
        # for the ledger: when it was woken, when it ran, its last readiness call, its time waiting for a CPU
        self.queued_at = 0
        self.wake_from = 0
        self.ran_at = 0
        self.ready_from = 0
        self.ready_to = 0
        self.wait_ns = 0
        self.compute_ns = 0

    def wait_on(self, blocked: Blocked) -> None:
        """Stand in the file's wait queue, once, until one of these events comes."""
        self.waiting_for = blocked.events
        self.exclusive = blocked.exclusive
        if self.waiting_on is None and blocked.file is not None:
            self.waiting_on = blocked.file
            blocked.file.add_waiter(self)

    def notify(self, events: int) -> bool:
        """autoremove_wake_function: leave the queue and run, or do not go to sleep at all."""
        if not events & (self.waiting_for | EPOLLERR | EPOLLHUP):
            return False
        if self.waiting_on is None:
            return False
        self.waiting_on.waiters.remove(self)
        self.waiting_on = None
        self.wake()
        return self.exclusive

    def moved_to(self, file: File) -> None:
        self.waiting_on = file

    def wake(self) -> None:
        """try_to_wake_up. A thread that is still on its way to sleep turns back."""
        self.notified = True
        if self.asleep:
            self.asleep = False
            self.scheduler.make_runnable(self)

    def leave_queue(self) -> None:
        if self.waiting_on is not None:
            self.waiting_on.remove_waiter(self)
            self.waiting_on = None

    def finish_call(self) -> None:
        """The call returns: nothing of its waiting is left."""
        self.call = None
        self.state = None
        self.resumed = self.timed_out = self.notified = False
        self.sleeps += 1  # a time-out that is still to come is not for the next call
        self.leave_queue()
