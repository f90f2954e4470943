"""Linux AIO, the calls: io_setup(2), io_submit(2), io_getevents(2), io_destroy(2)."""

from collections.abc import Sequence
from errno import EAGAIN, EINVAL

from iosim.costs import Costs
from iosim.machine import Machine
from iosim.sim.aio import AIO_MAX_NR, MOST_EVENTS, Context, Sleeper, ring_size
from iosim.sim.clock import Clock
from iosim.sim.files import Blocked, fail
from iosim.sim.signal_calls import SignalCalls
from iosim.sim.thread import Thread
from iosim.sim.work import (
    AIO_HANDED,
    EVENT,
    IO_EVENT,
    IO_GETEVENTS,
    IO_POLL,
    IO_SETUP,
    IO_SUBMIT,
    NO_WORK,
    Work,
)
from iosim.syscalls import EPOLLIN, IOCB_CMD_POLL, IOCB_CMD_PREAD, IOCB_CMD_PWRITE, O_NONBLOCK, Iocb


class LinuxAioCalls(SignalCalls):
    """Asynchronous I/O of the kernel."""

    def __init__(self, clock: Clock, costs: Costs, machine: Machine) -> None:
        super().__init__(clock, costs, machine)
        self.contexts: dict[tuple[int, int], Context] = {}
        """By process and number."""

    def thread_leaves(self, thread: Thread) -> None:
        super().thread_leaves(thread)
        pid = thread.process.pid
        if self.contexts and pid not in self.processes:
            for key in [key for key in self.contexts if key[0] == pid]:
                self.contexts.pop(key).destroy()

    def read_into(self, fd: int, buffer: bytearray) -> int | Blocked:
        """A read on behalf of another call, into a buffer of the program: as read(2) of C."""
        data = self.read(fd, len(buffer))
        if isinstance(data, Blocked):
            return data
        buffer[: len(data)] = data
        return len(data)

    def _context(self, number: int) -> Context:
        context = self.contexts.get((self.thread.process.pid, number))
        if context is None:
            raise fail(EINVAL)
        return context

    def io_setup(self, nr_events: int) -> int:
        if not 0 < 2 * nr_events <= MOST_EVENTS:
            raise fail(EINVAL)
        if nr_events > AIO_MAX_NR:
            raise fail(EAGAIN)
        self.work = (IO_SETUP, 1)
        number = self._new_id()
        room = ring_size(nr_events, self.machine.cpus)
        self.contexts[self.thread.process.pid, number] = Context(self.readable, room, self.release)
        return number

    def io_destroy(self, context: int) -> None:
        self._context(context).destroy()
        del self.contexts[self.thread.process.pid, context]
        self.work = (IO_SETUP, 1)

    def io_submit(self, context: int, iocbs: Sequence[Iocb]) -> int | Blocked:
        """While the call sleeps in a transfer, ``thread.state`` is how many requests were begun before that one, and
        what its write had done."""
        thread = self.thread
        into = self._context(context)
        begun: int = 0
        begun, thread.state = thread.state or (0, None)
        work: Work = NO_WORK if thread.resumed else (IO_SUBMIT, 1, AIO_HANDED, len(iocbs))
        polls = 0
        try:
            while begun < len(iocbs):
                iocb = iocbs[begun]
                if not into.has_room():
                    raise fail(EAGAIN)
                file = thread.table.get(iocb.fd)
                if iocb.opcode == IOCB_CMD_POLL:
                    into.poll(iocb.fd, file, iocb.events)
                    polls += 1
                else:
                    self.work = NO_WORK
                    blocked = self._transfer(into, iocb)
                    work += self.work
                    if blocked is not None:
                        thread.state = (begun, thread.state)
                        self.work = (*work, IO_POLL, polls)
                        return blocked
                    thread.state = None
                begun += 1
        except OSError:
            if not begun:
                raise
        self.work = (*work, IO_POLL, polls)
        return begun

    def _transfer(self, into: Context, iocb: Iocb) -> Blocked | None:
        """IOCB_CMD_PREAD and PWRITE of a socket: an ordinary read or write, whose outcome is an event."""
        answer: int | Blocked
        if iocb.opcode not in (IOCB_CMD_PREAD, IOCB_CMD_PWRITE):
            raise fail(EINVAL)
        try:
            if iocb.opcode == IOCB_CMD_PREAD:
                answer = self.read_into(iocb.fd, iocb.buffer)
            else:
                answer = self.write(iocb.fd, bytes(iocb.buffer))
        except OSError as error:
            answer = -(error.errno or 0)
        answer = would_block(answer)
        if isinstance(answer, Blocked):
            return answer
        into.complete(iocb.fd, answer)
        return None

    def io_getevents(
        self, context: int, min_nr: int = 1, nr: int = 512, timeout_ms: int = -1
    ) -> list[tuple[int, int]] | Blocked:
        thread = self.thread
        ring = self._context(context)
        if not 0 <= min_nr <= nr:
            raise fail(EINVAL)
        thread.ready_from, thread.ready_to = self.clock.now, -1
        sleeper: Sleeper | None = thread.state
        done = ring.done
        self.work = NO_WORK if thread.resumed else (IO_GETEVENTS, 1)
        if len(done) < min_nr and timeout_ms and not thread.timed_out:
            if sleeper is None:
                thread.state = sleeper = Sleeper(ring, min_nr)
                ring.sleepers.append(sleeper)
                self.wake_after_ms(thread, timeout_ms)
            return Blocked(sleeper.queue, EPOLLIN)
        if sleeper is not None:
            ring.sleepers.remove(sleeper)
        found = min(nr, len(done))
        if found:
            self.work += (IO_EVENT, found, EVENT, found)
        return [done.popleft() for _ in range(found)]


def would_block(answer: int | Blocked) -> int | Blocked:
    """What a read or write inside another call comes to: under O_NONBLOCK it does not sleep there, but fails."""
    if isinstance(answer, Blocked) and answer.file is not None and answer.file.flags & O_NONBLOCK:
        return -EAGAIN
    return answer
