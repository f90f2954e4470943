"""io_uring(7), at the level of a C program with liburing.

Preparing an operation and reaping completions are no system calls: both queues lie in memory that program and kernel
share. So ``Ring`` has plain methods for them, and only ``io_uring_enter`` traps.
"""

import errno
import os
from types import coroutine
from typing import Any, Final, NamedTuple, Protocol

from iosim.syscalls.trap import Trap

__all__ = [
    "IORING_CQE_F_BUFFER",
    "IORING_CQE_F_MORE",
    "IORING_CQE_F_SOCK_NONEMPTY",
    "IORING_OP_ACCEPT",
    "IORING_OP_ASYNC_CANCEL",
    "IORING_OP_CLOSE",
    "IORING_OP_NOP",
    "IORING_OP_POLL_ADD",
    "IORING_OP_RECV",
    "IORING_OP_SEND",
    "IORING_SETUP_DEFER_TASKRUN",
    "IORING_SETUP_SINGLE_ISSUER",
    "IORING_SETUP_SQPOLL",
    "IOSQE_CQE_SKIP_SUCCESS",
    "IOSQE_IO_LINK",
    "Cqe",
    "Ring",
    "RingMemory",
    "Sqe",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
]

CALLS: tuple[str, ...] = (
    "io_uring_setup", "io_uring_register", "io_uring_enter",
)  # fmt: skip

IORING_SETUP_SQPOLL: Final = 1 << 1
IORING_SETUP_SINGLE_ISSUER: Final = 1 << 12
IORING_SETUP_DEFER_TASKRUN: Final = 1 << 13
IORING_OP_NOP: Final = 0
IORING_OP_POLL_ADD: Final = 6
IORING_OP_ACCEPT: Final = 13
IORING_OP_ASYNC_CANCEL: Final = 14
IORING_OP_CLOSE: Final = 19
IORING_OP_SEND: Final = 26
IORING_OP_RECV: Final = 27
IOSQE_IO_LINK: Final = 1 << 2
IOSQE_CQE_SKIP_SUCCESS: Final = 1 << 6
IORING_CQE_F_BUFFER: Final = 1 << 0
IORING_CQE_F_MORE: Final = 1 << 1
IORING_CQE_F_SOCK_NONEMPTY: Final = 1 << 2
MOST_REAPED: Final = 512
"""Completions that a program takes at a time: what io_uring_peek_batch_cqe(3) is given room for."""


class Sqe(NamedTuple):
    """struct io_uring_sqe: one operation to be done."""

    opcode: int
    fd: int
    user_data: Any
    """What the completion gives back: 64 bits in C, so a pointer; here any object."""
    flags: int = 0
    """IOSQE_…"""
    argument: int = 0
    """Bytes to receive; events to poll for."""
    data: bytes = b""
    """Bytes to send."""
    multishot: bool = False


class Cqe(NamedTuple):
    """struct io_uring_cqe: one completion."""

    user_data: Any
    res: int
    """What the system call would have returned, or -errno."""
    flags: int
    """IORING_CQE_F_MORE: a multishot operation goes on. IORING_CQE_F_BUFFER: a provided buffer was used, and its number
    is in the upper 16 bits. IORING_CQE_F_SOCK_NONEMPTY: there was more to receive."""
    data: bytes = b""
    """What was received: the program's buffer."""


class RingMemory(Protocol):
    """What a kernel shares with the program besides the submission queue."""

    def publish(self, submissions: list[Sqe]) -> bool:
        """Hand them to the kernel's polling thread; does it sleep?"""
        ...

    def reap(self, most: int) -> list[Cqe]: ...

    def give_back(self, number: int) -> None:
        """A provided buffer may be filled again."""
        ...


class Ring:
    """struct io_uring, io_uring_queue_init(3): made by ``io_uring_setup``, closed with ``close(ring.fd)``.

    Each ``prep_…`` fills the next free entry of the submission queue, as io_uring_prep_accept(3) and its like do.
    Errors: EBUSY when the queue is full (io_uring_get_sqe(3) gives NULL then): enter first.
    """

    __slots__ = ("entries", "fd", "memory", "submissions")

    def __init__(self, fd: int, entries: int, memory: RingMemory) -> None:
        self.fd = fd
        self.entries = entries
        self.memory = memory
        self.submissions: list[Sqe] = []
        """Prepared, not yet handed to the kernel."""

    def prep(self, sqe: Sqe) -> None:
        """io_uring_get_sqe(3), filled in."""
        if len(self.submissions) == self.entries:
            raise OSError(errno.EBUSY, f"{os.strerror(errno.EBUSY)}: {self.entries} operations wait to be submitted")
        self.submissions.append(sqe)

    def prep_nop(self, user_data: Any, *, flags: int = 0) -> None:
        """Completes with 0."""
        self.prep(Sqe(IORING_OP_NOP, -1, user_data, flags))

    def prep_accept(self, fd: int, user_data: Any, *, multishot: bool = False, flags: int = 0) -> None:
        """accept4(2): completes with the new descriptor. Multishot: once per connection, until it is cancelled."""
        self.prep(Sqe(IORING_OP_ACCEPT, fd, user_data, flags, multishot=multishot))

    def prep_recv(
        self, fd: int, user_data: Any, count: int = 65536, *, multishot: bool = False, flags: int = 0
    ) -> None:
        """recv(2) of up to ``count`` bytes. Multishot: once per arrival, into provided buffers (see
        ``io_uring_register``), until end of file, an error, or -ENOBUFS: no buffer is left."""
        self.prep(Sqe(IORING_OP_RECV, fd, user_data, flags, count, multishot=multishot))

    def prep_send(self, fd: int, data: bytes, user_data: Any, *, flags: int = 0) -> None:
        """send(2) with MSG_WAITALL: completes when all bytes are taken.

        A send whose success is not told (IOSQE_CQE_SKIP_SUCCESS) must be linked to an operation that will be, or the
        program would not know when it may use the bytes' memory again: ValueError.
        """
        if flags & IOSQE_CQE_SKIP_SUCCESS and not flags & IOSQE_IO_LINK:
            raise ValueError(
                "a send with IOSQE_CQE_SKIP_SUCCESS and without IOSQE_IO_LINK: nothing tells when it is done"
            )
        self.prep(Sqe(IORING_OP_SEND, fd, user_data, flags, data=data))

    def prep_poll(self, fd: int, events: int, user_data: Any, *, multishot: bool = False, flags: int = 0) -> None:
        """poll(2) of one descriptor: completes with the events that hold. Multishot: at each wake-up."""
        self.prep(Sqe(IORING_OP_POLL_ADD, fd, user_data, flags, events, multishot=multishot))

    def prep_close(self, fd: int, user_data: Any, *, flags: int = 0) -> None:
        """close(2)."""
        self.prep(Sqe(IORING_OP_CLOSE, fd, user_data, flags))

    def prep_cancel(self, fd: int, user_data: Any, *, flags: int = 0) -> None:
        """io_uring_prep_cancel_fd(3) with IORING_ASYNC_CANCEL_ALL: end every operation that waits for this descriptor
        (each completes with -ECANCELED); completes with their number."""
        self.prep(Sqe(IORING_OP_ASYNC_CANCEL, fd, user_data, flags))

    def submit(self) -> bool:
        """io_uring_submit(3) with IORING_SETUP_SQPOLL: hand what is prepared to the kernel's thread, which polls the
        queue. True when that thread sleeps: then ``io_uring_enter`` must wake it."""
        return self.memory.publish(self.submissions)

    def reap(self, most: int = MOST_REAPED) -> list[Cqe]:
        """io_uring_peek_batch_cqe(3): the completions that are there, oldest first, at most so many."""
        return self.memory.reap(most)

    def give_back(self, cqe: Cqe) -> None:
        """io_uring_buf_ring_add(3): the completion's provided buffer may be filled again."""
        self.memory.give_back(cqe.flags >> 16)


@coroutine
def io_uring_setup(entries: int, flags: int, sq_thread_idle_ms: int = 0) -> Trap[Ring]:
    """io_uring_setup(2) and the mappings that io_uring_queue_init(3) makes.

    ``entries`` is rounded up to a power of two. ``flags``: IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN
    (only the thread that made the ring enters it, and completions are made only while it is inside), or
    IORING_SETUP_SQPOLL (a kernel thread submits; it polls for ``sq_thread_idle_ms``, 0 means 1000, after its last work,
    then sleeps).
    IORING_SETUP_SUBMIT_ALL is implied. Errors: EINVAL, EMFILE; ENOSYS or EPERM where the host forbids it.
    """
    return (yield "io_uring_setup", (entries, flags, sq_thread_idle_ms))


@coroutine
def io_uring_register(ring: Ring, buffers: int, buffer_bytes: int) -> Trap[None]:
    """io_uring_register(2) with IORING_REGISTER_PBUF_RING: provide so many buffers (a power of two) of that size for
    multishot recv. Errors: EINVAL, EEXIST (there are some already)."""
    return (yield "io_uring_register", (ring, buffers, buffer_bytes))


@coroutine
def io_uring_enter(ring: Ring, min_complete: int = 0, timeout_ms: int = -1) -> Trap[list[Cqe]]:
    """io_uring_enter(2) as io_uring_submit_and_wait_timeout(3) makes it: submit what is prepared, wait until
    ``min_complete`` completions are there or the time is over, and reap: up to 512, oldest first.

    It wakes the kernel's thread if that sleeps. Errors: EEXIST (another thread than the single issuer).
    """
    return (yield "io_uring_enter", (ring, min_complete, timeout_ms))
