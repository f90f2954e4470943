"""Which CPU a thread runs on.

*Models*: a woken thread goes to the CPU it ran on if that is idle, else to the longest idle one, else it waits at its
own; a CPU that runs out of threads takes the one that has waited longest at the longest queue. A thread with an
affinity runs on those CPUs only.
"""

from typing import TYPE_CHECKING

from iosim.sim.alarm import Alarm
from iosim.sim.clock import Clock
from iosim.sim.work import Rates

if TYPE_CHECKING:
    from iosim.sim.cpu import Cpu
    from iosim.sim.thread import Thread


class Scheduler:
    """The CPUs, and who is idle."""

    def __init__(self, clock: Clock, slice_ns: int, rates: Rates) -> None:
        self.clock = clock
        self.slice_ns = slice_ns
        self.rates = rates
        self.cpus: list[Cpu] = []
        self.idle: dict[Cpu, None] = {}
        self.wakeups = 0
        self.holding = False
        """An actor acts: what it wakes runs when it has finished (``release``)."""
        self.pinned = False
        """Some thread has an affinity."""
        self.held: list[tuple[Cpu, Thread]] = []

    def add(self, cpu: "Cpu") -> None:
        self.cpus.append(cpu)
        self.idle[cpu] = None

    def make_runnable(self, thread: "Thread") -> None:
        """A thread wants to run: on an idle CPU after its idle-exit, or in the queue of a busy one."""
        self.wakeups += 1
        now = self.clock.now
        thread.queued_at = now
        cpu, idle = thread.cpu, self.idle
        if thread.affinity is not None:
            cpu = self._allowed(thread, thread.affinity)
        elif idle:
            if cpu is None or cpu not in idle:
                cpu = next(iter(idle))
        elif cpu is None:
            cpu = min(self.cpus, key=lambda cpu: len(cpu.queue))
        if cpu not in idle:
            cpu.enqueue(thread)
            return
        del idle[cpu]
        thread.wake_from = now
        assert cpu.idle_from is not None
        thread.queued_at = now + self.rates.idle_exit_ns(now - cpu.idle_from)
        if self.holding:
            self.held.append((cpu, thread))
        else:
            self.clock.call_at(thread.queued_at, self._awake, (cpu, thread))

    def _allowed(self, thread: "Thread", allowed: "dict[Cpu, None]") -> "Cpu":
        """The choice of a thread with an affinity."""
        idle = [cpu for cpu in self.idle if cpu in allowed]
        if thread.cpu is not None and thread.cpu in (idle or allowed):
            return thread.cpu
        return idle[0] if idle else min(allowed, key=lambda cpu: len(cpu.queue))

    def release(self) -> None:
        """Let the CPUs that were woken meanwhile begin; a single one without an event where that is the same."""
        self.holding = False
        if not (held := self.held):
            return
        self.held = []
        cpu, thread = held[0]
        if len(held) == 1 and self.clock.pass_time(thread.queued_at):
            if cpu.switch_to(thread):
                cpu.run()
            return
        for cpu, thread in held:
            self.clock.call_at(thread.queued_at, self._awake, (cpu, thread))

    def steal(self, thief: "Cpu") -> "Thread | None":
        """The thread that has waited longest at the longest queue, for a CPU that has none."""
        if len(self.cpus) == 1:
            return None
        longest = max(self.cpus, key=lambda cpu: len(cpu.queue))
        if not self.pinned or not longest.queue:
            return longest.queue.popleft() if longest.queue else None
        for cpu in sorted(self.cpus, key=lambda cpu: -len(cpu.queue)):
            for thread in cpu.queue:
                if thread.affinity is None or thief in thread.affinity:
                    cpu.queue.remove(thread)
                    return thread
        return None

    @staticmethod
    def _awake(alarm: Alarm) -> None:
        cpu, thread = alarm.value
        if cpu.switch_to(thread):
            cpu.run()
