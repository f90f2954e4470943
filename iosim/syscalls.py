"""The vocabulary: one typed function per system call. It is all that a program knows of its kernel.

``await`` means *trap into the kernel*. Whether the thread sleeps there, or gets EAGAIN, or is answered at
once, is the kernel's business: the simulated one (``iosim.sim``) or this host's (``iosim.real``). Every call
raises ``OSError`` with the errno that its manual page names.

Discussion: each call is a generator of one yield that ``types.coroutine`` lets a program await, so that every call
has its own result type and a trap costs half of what an object with ``__await__`` does. A program is therefore an
ordinary coroutine, and a kernel drives it with ``send`` and ``throw``.
"""

from collections.abc import Callable, Coroutine, Generator, Iterator, Mapping
from types import coroutine
from typing import Any, Final, NoReturn, TypeVar

T = TypeVar("T")
Program = Callable[..., Coroutine[Any, Any, None]]
Address = tuple[str, int]

SOCK_NONBLOCK: Final = 0o4000
SHUT_WR: Final = 1
F_GETFL: Final = 3
F_SETFL: Final = 4
O_NONBLOCK: Final = 0o4000
POLLIN: Final = 0x0001
POLLOUT: Final = 0x0004
POLLERR: Final = 0x0008
POLLHUP: Final = 0x0010
POLLNVAL: Final = 0x0020
EPOLLIN: Final = 0x0001
EPOLLOUT: Final = 0x0004
EPOLLERR: Final = 0x0008
EPOLLHUP: Final = 0x0010
EPOLLRDHUP: Final = 0x2000
EPOLLET: Final = 0x80000000
EPOLLONESHOT: Final = 0x40000000
EPOLLEXCLUSIVE: Final = 0x10000000
EPOLL_CTL_ADD: Final = 1
EPOLL_CTL_DEL: Final = 2
EPOLL_CTL_MOD: Final = 3
FD_SETSIZE: Final = 1024


Call = tuple[str, tuple[Any, ...]]
"""What a kernel is handed at a trap: the call's name and its arguments."""
Trap = Generator[Call, T, T]
"""One trap: yields the call, is sent its result, returns it."""


# --- sockets and files -----------------------------------------------------------------------------------------


@coroutine
def socket(flags: int = 0) -> Trap[int]:
    """socket(2): a new IPv4 stream socket; ``flags`` may be SOCK_NONBLOCK. Errors: EMFILE."""
    return (yield "socket", (flags,))


@coroutine
def bind(fd: int, address: Address) -> Trap[None]:
    """bind(2): give the socket a local address; port 0 lets the kernel choose. Errors: EADDRINUSE, EINVAL."""
    return (yield "bind", (fd, address))


@coroutine
def listen(fd: int, backlog: int = 4096) -> Trap[None]:
    """listen(2): become a listener. The accept queue holds ``backlog`` + 1 connections, at most somaxconn + 1."""
    return (yield "listen", (fd, backlog))


@coroutine
def getsockname(fd: int) -> Trap[Address]:
    """getsockname(2): the socket's own (host, port)."""
    return (yield "getsockname", (fd,))


@coroutine
def connect(fd: int, address: Address) -> Trap[None]:
    """connect(2). Errors: ECONNREFUSED, EISCONN, EINPROGRESS and EALREADY under O_NONBLOCK."""
    return (yield "connect", (fd, address))


@coroutine
def accept4(fd: int, flags: int = 0) -> Trap[int]:
    """accept4(2): the oldest established connection of a listener; sleeps while there is none. Errors: EAGAIN,
    EMFILE, EINVAL. ``flags`` may be SOCK_NONBLOCK. The peer's address is not returned."""
    return (yield "accept4", (fd, flags))


@coroutine
def read(fd: int, count: int = 65536) -> Trap[bytes]:
    """read(2): 1 … ``count`` bytes, or b"" at end of file; sleeps while there is nothing. Errors: EAGAIN,
    ECONNRESET, EBADF, EINVAL (an epoll descriptor), ENOTCONN (a socket without a peer)."""
    return (yield "read", (fd, count))


@coroutine
def write(fd: int, data: bytes) -> Trap[int]:
    """write(2): how many bytes were taken. A blocking write sleeps until all of them are; under O_NONBLOCK it
    takes what fits the send buffer. Errors: EAGAIN, EPIPE, ECONNRESET, EBADF, ENOTCONN."""
    return (yield "write", (fd, data))


@coroutine
def close(fd: int) -> Trap[None]:
    """close(2): free the descriptor; the last one of a file ends the file. Errors: EBADF."""
    return (yield "close", (fd,))


@coroutine
def shutdown(fd: int, how: int = SHUT_WR) -> Trap[None]:
    """shutdown(2) with SHUT_WR: the peer reads end of file, our own reading goes on. Errors: ENOTCONN, EBADF."""
    return (yield "shutdown", (fd, how))


@coroutine
def fcntl(fd: int, command: int, argument: int = 0) -> Trap[int]:
    """fcntl(2) with F_GETFL (the flags; O_NONBLOCK is the one that counts here) or F_SETFL. Errors: EBADF, EINVAL."""
    return (yield "fcntl", (fd, command, argument))


# --- readiness -------------------------------------------------------------------------------------------------


class FdSet:
    """fd_set, select(2): a bitmap of FD_SETSIZE: Final = 1024 descriptors, and not one more.

    glibc ends a process that sets a bit beyond it; here, as in Python's ``select``, that is a ValueError.
    """

    __slots__ = ("bits",)

    def __init__(self) -> None:
        self.bits = 0

    def add(self, fd: int) -> None:
        """FD_SET."""
        if not 0 <= fd < FD_SETSIZE:
            raise ValueError(f"select(2) knows descriptors 0 to {FD_SETSIZE - 1}, came {fd}: use poll or epoll")
        self.bits |= 1 << fd

    def discard(self, fd: int) -> None:
        """FD_CLR."""
        self.bits &= ~(1 << fd)

    def __contains__(self, fd: int) -> bool:
        return bool(self.bits >> fd & 1)

    def __iter__(self) -> Iterator[int]:
        return bits_set(self.bits)

    def __len__(self) -> int:
        return self.bits.bit_count()


def bits_set(bits: int) -> Iterator[int]:
    """The positions of the set bits, ascending: what a program finds with FD_ISSET."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest


class PollFds(dict[int, int]):
    """struct pollfd[], poll(2): descriptor → wanted events, in array order (order of insertion).

    A program keeps one array and mends it; a kernel may therefore keep what it derives from it in ``kernel_state``,
    and ``changed`` lists the descriptors that were added, altered or removed since that kernel last looked;
    ``removed`` those that were removed, though they may have come back since.
    """

    __slots__ = ("changed", "kernel_state", "removed")

    def __init__(self, fds: Mapping[int, int] | None = None) -> None:
        super().__init__()
        self.changed: list[int] = []
        self.kernel_state: Any = None
        self.removed: list[int] = []
        for fd, events in (fds or {}).items():
            self[fd] = events

    def __setitem__(self, fd: int, events: int) -> None:
        self.changed.append(fd)
        super().__setitem__(fd, events)

    def __delitem__(self, fd: int) -> None:
        self.changed.append(fd)
        self.removed.append(fd)
        super().__delitem__(fd)


@coroutine
def select(readers: FdSet, writers: FdSet, timeout_ms: int = -1) -> Trap[tuple[list[int], list[int]]]:
    """select(2): the ready descriptors of either set, ascending; two empty lists at the time-out (-1: none).
    The sets of the caller are left as they are (a C program copies them before the call). Errors: EBADF."""
    return (yield "select", (readers, writers, timeout_ms))


@coroutine
def poll(fds: PollFds, timeout_ms: int = -1) -> Trap[list[tuple[int, int]]]:
    """poll(2): (fd, returned events) of every ready entry in array order; [] at the time-out. POLLERR, POLLHUP and
    POLLNVAL come unasked."""
    return (yield "poll", (fds, timeout_ms))


@coroutine
def epoll_create() -> Trap[int]:
    """epoll_create1(2): a descriptor with an empty interest list. Errors: EMFILE."""
    return (yield "epoll_create", ())


@coroutine
def epoll_ctl(epoll: int, operation: int, fd: int, events: int = 0) -> Trap[None]:
    """epoll_ctl(2): EPOLL_CTL_ADD, MOD or DEL. ``events`` may carry EPOLLET, EPOLLONESHOT, EPOLLEXCLUSIVE (ADD only).
    Errors: EEXIST, ENOENT, EBADF, EINVAL."""
    return (yield "epoll_ctl", (epoll, operation, fd, events))


@coroutine
def epoll_wait(epoll: int, maxevents: int = 512, timeout_ms: int = -1) -> Trap[list[tuple[int, int]]]:
    """epoll_wait(2): up to ``maxevents`` (fd, events) from the ready list; [] at the time-out. Errors: EBADF,
    EINVAL."""
    return (yield "epoll_wait", (epoll, maxevents, timeout_ms))


# --- threads, processes, time ----------------------------------------------------------------------------------


@coroutine
def clone(program: Program, *args: Any) -> Trap[int]:
    """clone(2) as pthread_create(3) uses it: run ``program(*args)`` in a thread of this process; its thread id."""
    return (yield "clone", (program, *args))


@coroutine
def fork(program: Program, *args: Any) -> Trap[int]:
    """fork(2) whose child runs ``program(*args)`` and exits: the child's process id. Descriptors are shared files."""
    return (yield "fork", (program, *args))


@coroutine
def wait() -> Trap[int]:
    """wait(2): sleep until a child has ended; its process id. Errors: ECHILD."""
    return (yield "wait", ())


@coroutine
def exit(status: int = 0) -> Trap[NoReturn]:
    """exit_group(2): end every thread of this process. A thread ends alone by returning."""
    yield "exit", (status,)
    raise AssertionError("a process came back from exit")


@coroutine
def nanosleep(duration_ns: int) -> Trap[None]:
    """nanosleep(2). Errors: EINVAL (a negative time)."""
    return (yield "nanosleep", (duration_ns,))


@coroutine
def compute(work_ns: int) -> Trap[None]:
    """Not a system call: the program's own work, ``work_ns`` of CPU time in user mode."""
    return (yield "compute", (work_ns,))


VOCABULARY: tuple[str, ...] = (
    "socket", "bind", "listen", "getsockname", "connect", "accept4", "read", "write", "close", "shutdown", "fcntl",
    "select", "poll", "epoll_create", "epoll_ctl", "epoll_wait",
    "clone", "fork", "wait", "exit", "nanosleep", "compute",
)  # fmt: skip
"""Every call, in census order; a kernel has one method of the same name and signature for each."""
