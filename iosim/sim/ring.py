"""io_uring(7) as io_uring/*.c does it: the two queues, operations, their internal polls, task work. No clock here.

*Models*: an operation tried when it is submitted; on EAGAIN an internal poll in its file's wait queue (exclusive for
accept); a wake-up that queues task work; multishot operations whose poll stays armed; provided buffers; links; the
reference that an operation holds to its file, so that close(2) alone ends neither.
*Does not model*: a full completion queue (it holds what comes), worker threads, registered files and buffers, polling a
ring's own descriptor.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from iosim.sim.files import STATE_CHANGE, File, Watcher
from iosim.sim.sockets import Stream
from iosim.syscalls import (
    EPOLLERR,
    EPOLLHUP,
    EPOLLIN,
    EPOLLOUT,
    EPOLLRDHUP,
    IORING_CQE_F_SOCK_NONEMPTY,
    IORING_OP_ACCEPT,
    IORING_OP_POLL_ADD,
    IORING_OP_SEND,
    IOSQE_IO_LINK,
    Cqe,
    Sqe,
)

UNASKED: Final = EPOLLERR | EPOLLHUP | EPOLLRDHUP | STATE_CHANGE
TASK_WORK_AT_ONCE: Final = 20
"""IO_LOCAL_TW_DEFAULT_MAX (Linux >= 6.13): so many pieces in one io_uring_enter, unless it waits for more."""


class Operation:
    """struct io_kiocb: one submission on its way to its completion."""

    __slots__ = (
        "armed", "cancelled", "data", "done", "exclusive", "file", "flags", "following", "queued", "ring", "sqe",
        "wanted",
    )  # fmt: skip

    def __init__(self, ring: "Uring", sqe: Sqe) -> None:
        self.ring = ring
        self.sqe = sqe
        self.file: File | None = None
        """Held until the operation completes."""
        self.following: Operation | None = None
        """Linked: starts when this one has succeeded."""
        self.done = 0
        """Bytes sent so far."""
        self.data = b""
        self.flags = 0
        """Of its completion, as the data."""
        self.armed = False
        self.queued = False
        self.cancelled = False
        self.exclusive = sqe.opcode == IORING_OP_ACCEPT
        if sqe.opcode == IORING_OP_POLL_ADD:
            self.wanted = sqe.argument | UNASKED
        else:
            self.wanted = (EPOLLOUT if sqe.opcode == IORING_OP_SEND else EPOLLIN) | UNASKED

    def notify(self, events: int) -> bool:
        """io_poll_wake: leave the wait queue, unless multishot, and become task work."""
        if not events & self.wanted:
            return False
        if not self.queued:
            if not self.sqe.multishot:
                self.disarm()
            self.ring.add_task_work(self)
        return self.exclusive

    def moved_to(self, file: File) -> None:
        self.file = file

    def disarm(self) -> None:
        """Out of the file's wait queue."""
        if self.armed:
            assert self.file is not None
            self.armed = False
            self.file.remove_waiter(self)


class Uring(File):
    """One ring (struct io_ring_ctx). It is also the memory that the program shares with it."""

    __slots__ = (
        "asleep", "budget", "buffer_bytes", "buffers", "cold", "completions", "deadline_set", "entries", "idle_ns",
        "operations", "poked", "polled", "published", "rested", "spinning", "spun", "submitter", "task_work", "thread",
        "wait_for", "waiting",
    )  # fmt: skip

    def __init__(self, watcher: Watcher, entries: int, submitter: Any, poked: Callable[["Uring"], None] | None) -> None:
        super().__init__(watcher)
        self.entries = entries
        self.submitter = submitter
        """The thread that made the ring."""
        self.published: deque[Sqe] = deque()
        """The submission queue, as far as the kernel may see it."""
        self.completions: deque[Cqe] = deque()
        self.operations: dict[Operation, None] = {}
        """Those that wait for their file, in the order in which they began to."""
        self.task_work: deque[Operation] = deque()
        self.buffers: deque[int] = deque()
        self.buffer_bytes = 0
        """0: none were provided."""
        # io_uring_enter under way
        self.wait_for = 0
        """How many completions the sleeper in it waits for."""
        self.waiting = False
        """All is submitted."""
        self.rested = False
        """It has slept since the last look."""
        self.deadline_set = False
        self.budget = 0
        """Pieces of task work that it may still do."""
        self.cold = False
        """The next operation is the first since whoever does it entered the kernel or slept."""
        # IORING_SETUP_SQPOLL
        self.poked = poked
        self.polled = poked is not None
        self.thread: Any = None
        """The kernel's thread that polls the submission queue."""
        self.idle_ns = 0
        self.spinning = False
        self.spun = True
        """It has polled in vain for ``idle_ns``; a new one sleeps at once if it finds nothing, as Linux has it."""
        self.asleep = False
        """IORING_SQ_NEED_WAKEUP."""

    def mask(self) -> int:
        return EPOLLIN if self.completions else 0

    # --- the shared memory (RingMemory of the vocabulary)

    def publish(self, submissions: list[Sqe]) -> bool:
        """Move the tail of the submission queue; does the polling thread sleep? What has no room waits."""
        room = self.entries - len(self.published)
        fresh = submissions[:room]
        del submissions[:room]
        if fresh:
            self.published.extend(fresh)
            if self.poked is not None and not self.asleep:
                self.poked(self)
        return self.asleep

    def reap(self, most: int) -> list[Cqe]:
        completions = self.completions
        return [completions.popleft() for _ in range(min(len(completions), most))]

    def give_back(self, number: int) -> None:
        self.buffers.append(number)

    # --- the kernel's side

    def next_operation(self) -> Operation:
        """Take one submission, with all that are linked behind it."""
        first = last = Operation(self, self.published.popleft())
        while last.sqe.flags & IOSQE_IO_LINK and self.published:
            last.following = Operation(self, self.published.popleft())
            last = last.following
        return first

    def add_task_work(self, operation: Operation) -> None:
        """io_req_task_work_add: wake whoever does it, once there is enough of it."""
        operation.queued = True
        self.task_work.append(operation)
        if self.poked is not None:
            self.poked(self)
        elif self.waiters and len(self.completions) + len(self.task_work) >= self.wait_for:
            self.notify(EPOLLIN)

    def post(self, cqe: Cqe) -> None:
        """One completion more; who sleeps until there is one looks again."""
        self.completions.append(cqe)
        if self.polled and self.waiters:
            self.notify(EPOLLIN)


def nonempty(stream: Stream) -> int:
    """The flag of a completion that left something to receive, be it the end of file."""
    return IORING_CQE_F_SOCK_NONEMPTY if stream.unread or stream.ended else 0
