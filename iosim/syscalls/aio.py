"""Asynchronous I/O: POSIX AIO, which is a library of user threads (aio(7)), and Linux AIO, which is system calls."""

from collections.abc import Sequence
from types import coroutine
from typing import Any, Final

from iosim.syscalls.trap import Trap

__all__ = [
    "IOCB_CMD_POLL",
    "IOCB_CMD_PREAD",
    "IOCB_CMD_PWRITE",
    "Aiocb",
    "Iocb",
    "aio_error",
    "aio_init",
    "aio_read",
    "aio_return",
    "aio_suspend",
    "aio_write",
    "io_destroy",
    "io_getevents",
    "io_setup",
    "io_submit",
]

CALLS: tuple[str, ...] = (
    "aio_init", "aio_read", "aio_write", "aio_suspend", "aio_error", "aio_return",
    "io_setup", "io_destroy", "io_submit", "io_getevents",
)  # fmt: skip

IOCB_CMD_PREAD: Final = 0
IOCB_CMD_PWRITE: Final = 1
IOCB_CMD_POLL: Final = 5


class Aiocb:
    """struct aiocb, aio(7): a descriptor and a buffer to read into or to write from.

    It must be left alone from aio_read or aio_write until aio_error says something else than EINPROGRESS, and may be
    used again after that. The offset is 0 (sockets have none), and nobody is signalled (SIGEV_NONE).
    """

    __slots__ = ("buffer", "fd", "kernel_state")

    def __init__(self, fd: int, buffer: bytearray) -> None:
        self.fd = fd
        self.buffer = buffer
        self.kernel_state: Any = None
        """What a kernel keeps of its request; no concern of the program."""


class Iocb:
    """struct iocb, io_submit(2): ``opcode``, ``fd``, and the poll events wanted (IOCB_CMD_POLL) or a buffer
    (IOCB_CMD_PREAD, IOCB_CMD_PWRITE). Its ``aio_data``, which comes back with the event, is the descriptor."""

    __slots__ = ("buffer", "events", "fd", "opcode")

    def __init__(self, opcode: int, fd: int, what: int | bytearray) -> None:
        self.opcode = opcode
        self.fd = fd
        self.events = what if isinstance(what, int) else 0
        self.buffer = bytearray() if isinstance(what, int) else what


@coroutine
def aio_init(threads: int) -> Trap[None]:
    """aio_init(3), a GNU extension: at most so many helper threads (default: 20). It counts only before the process's
    first request; later it changes nothing."""
    return (yield "aio_init", (threads,))


@coroutine
def aio_read(request: Aiocb) -> Trap[None]:
    """aio_read(3): enqueue a read of up to ``len(buffer)`` bytes. A helper thread makes it, with pread(2) and, because
    a socket has no offset, with read(2) after that: it sleeps there. Errors: those of read come with aio_error, EBADF
    too; EINVAL (this request is under way; glibc does not look)."""
    return (yield "aio_read", (request,))


@coroutine
def aio_write(request: Aiocb) -> Trap[None]:
    """aio_write(3): enqueue a write of the buffer. Requests of one descriptor are done one after the other, in
    order."""
    return (yield "aio_write", (request,))


@coroutine
def aio_suspend(requests: Sequence[Aiocb], timeout_ms: int = -1) -> Trap[None]:
    """aio_suspend(3): sleep until one of these requests is done; not at all if one is, or the list is empty. It does
    not say which. Errors: EAGAIN (the time is over)."""
    return (yield "aio_suspend", (requests, timeout_ms))


@coroutine
def aio_error(request: Aiocb) -> Trap[int]:
    """aio_error(3): EINPROGRESS, 0 when the request is done, or the errno it failed with."""
    return (yield "aio_error", (request,))


@coroutine
def aio_return(request: Aiocb) -> Trap[int]:
    """aio_return(3), once a request is done: what its read or write returned; -1 if that failed."""
    return (yield "aio_return", (request,))


@coroutine
def io_setup(nr_events: int) -> Trap[int]:
    """io_setup(2): a context for at least ``nr_events`` requests at a time. Errors: EINVAL (fewer than 1), EAGAIN (more
    than /proc/sys/fs/aio-max-nr)."""
    return (yield "io_setup", (nr_events,))


@coroutine
def io_destroy(context: int) -> Trap[None]:
    """io_destroy(2): cancel its requests and free the context. Errors: EINVAL."""
    return (yield "io_destroy", (context,))


@coroutine
def io_submit(context: int, iocbs: Sequence[Iocb]) -> Trap[int]:
    """io_submit(2): begin these requests, in order; how many were begun. IOCB_CMD_POLL waits in the kernel for one
    event, once. IOCB_CMD_PREAD and PWRITE of a socket are done before this returns: they *sleep* in here. The first
    that cannot be begun ends it: it is the error if it is the first. Errors: EINVAL (no such context or opcode),
    EBADF, EAGAIN (the context is full)."""
    return (yield "io_submit", (context, iocbs))


@coroutine
def io_getevents(context: int, min_nr: int = 1, nr: int = 512, timeout_ms: int = -1) -> Trap[list[tuple[int, int]]]:
    """io_getevents(2): (aio_data, res) of at least ``min_nr`` and at most ``nr`` requests that are done, in the order
    in which they were; fewer at the time-out. ``res`` is what read or write returned, or -errno; of IOCB_CMD_POLL the
    poll events, which may hold more of them than were asked for. Errors: EINVAL."""
    return (yield "io_getevents", (context, min_nr, nr, timeout_ms))
