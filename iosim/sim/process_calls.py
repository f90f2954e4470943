"""Threads, processes, time."""

import errno
from collections.abc import Iterable
from typing import Any, NoReturn

from iosim.sim.cpu import LEAVES, ThreadExit
from iosim.sim.files import Blocked, fail
from iosim.sim.interpreter import Interpreter, Turn
from iosim.sim.polling import Sleeper
from iosim.sim.socket_calls import SocketCalls
from iosim.sim.thread import Process, Thread
from iosim.sim.work import CLONE, COMPUTE, FCNTL, FORK, WAKE
from iosim.syscalls import EPOLLIN, Program


class ProcessCalls(SocketCalls):
    """clone(2), fork(2), wait(2), exit_group(2), nanosleep(2), and the program's own work."""

    def clone(self, program: Program, *args: Any) -> int:
        self.work = (CLONE, 1, WAKE, 1)
        thread = self.start_thread(self.thread.process, program(*args), self.thread)
        if self.interpreted:
            self._share_interpreter(thread)
        return thread.tid

    def _share_interpreter(self, thread: Thread) -> None:
        """It is not the only thread of its process that runs a program: they have a lock from now on."""
        process = thread.process
        if process.interpreter is None:
            process.interpreter = Interpreter()
            self.thread.turn = Turn(process.interpreter)
            # who clones stands in a loop that knows of no lock: an event now has it leave that before its next call
            self.clock.call_at(self.clock.now, lambda _alarm: None)
        thread.turn = Turn(process.interpreter)

    def fork(self, program: Program, *args: Any) -> int:
        parent = self.thread.process
        self.work = (FORK, 1, WAKE, 1)
        parent.children += 1
        return self.start_process(program(*args), parent.table.copy(), parent, self.thread).pid

    def wait(self) -> int | Blocked:
        process = self.thread.process
        if process.ended_children:
            process.children -= 1
            return process.ended_children.pop(0)
        if not process.children:
            raise fail(errno.ECHILD)
        return Blocked(process.exits, EPOLLIN)

    def exit(self, status: int = 0) -> NoReturn:  # noqa: ARG002  (nobody asks for it)
        process = self.thread.process
        for thread in tuple(process.threads):
            if thread is not self.thread:
                self._cancel(thread)
        raise ThreadExit

    def getpid(self) -> int:
        return self.thread.process.pid

    def nanosleep(self, duration_ns: int) -> Blocked | None:
        thread = self.thread
        if duration_ns < 0:
            raise fail(errno.EINVAL)
        if thread.timed_out or duration_ns == 0:
            return None
        if not thread.resumed:
            self.wake_after(thread, duration_ns)
        return Blocked(None)

    def compute(self, work_ns: int) -> None:
        if work_ns < 0:
            raise ValueError(f"compute needs 0 ns or more, came {work_ns}")
        self.work = (COMPUTE, work_ns)
        self.thread.compute_ns += work_ns

    def sched_setaffinity(self, cpus: Iterable[int]) -> None:
        thread, scheduler = self.thread, self.scheduler
        wanted = set(cpus)
        allowed = {cpu: None for number, cpu in enumerate(scheduler.cpus) if number in wanted}
        self.work = (FCNTL, 1)
        if not allowed:
            raise fail(errno.EINVAL)
        thread.affinity = allowed if len(allowed) < len(scheduler.cpus) else None
        if thread.affinity is not None:
            scheduler.pinned = True
        if thread.cpu not in allowed:
            thread.departing = LEAVES

    def sched_getaffinity(self) -> list[int]:
        allowed = self.thread.affinity
        self.work = (FCNTL, 1)
        return [number for number, cpu in enumerate(self.scheduler.cpus) if allowed is None or cpu in allowed]

    def thread_leaves(self, thread: Thread) -> None:
        """It goes on on another CPU; or it has ended, and with its first thread, or its last, a process ends."""
        if not thread.ended:
            self.scheduler.make_runnable(thread)
            return
        process = thread.process
        del process.threads[thread]
        if thread.tid != process.pid and process.threads:
            return
        for other in tuple(process.threads):
            self._cancel(other)
        if process.threads:
            return
        for fd, file in enumerate(process.table.files):
            if file is not None and process.table.remove(fd).references == 0:
                self.release(file)
        process.signals.flush()
        del self.processes[process.pid]
        if process.parent is not None:
            process.parent.ended_children.append(process.pid)
            process.parent.exits.notify(EPOLLIN)

    def kill(self, process: Process, signo: int) -> None:
        """A signal ends the process: whatever its threads do, their next step is their end."""
        process.ended_by = signo
        for thread in tuple(process.threads):
            self._cancel(thread)

    def _cancel(self, thread: Thread) -> None:
        """Whatever the thread does or waits for: its next step is its end."""
        if isinstance(thread.state, Sleeper):
            self.readable.sleepers.remove(thread.state)
        if thread.turn is not None:
            thread.turn.lock.forget(thread)
            thread.turn = None
        thread.finish_call()
        thread.error = ThreadExit()
        if thread.asleep:
            thread.wake()
            thread.notified = False
