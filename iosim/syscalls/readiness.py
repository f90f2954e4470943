"""Which descriptors are ready: select, poll, epoll."""

from collections.abc import Iterator, Mapping
from types import coroutine
from typing import Any, Final

from iosim.syscalls.trap import Trap

__all__ = [
    "EPOLLERR",
    "EPOLLET",
    "EPOLLEXCLUSIVE",
    "EPOLLHUP",
    "EPOLLIN",
    "EPOLLONESHOT",
    "EPOLLOUT",
    "EPOLLRDHUP",
    "EPOLL_CTL_ADD",
    "EPOLL_CTL_DEL",
    "EPOLL_CTL_MOD",
    "FD_SETSIZE",
    "POLLERR",
    "POLLHUP",
    "POLLIN",
    "POLLNVAL",
    "POLLOUT",
    "FdSet",
    "PollFds",
    "bits_set",
    "epoll_create",
    "epoll_ctl",
    "epoll_wait",
    "poll",
    "select",
]

CALLS: tuple[str, ...] = (
    "select", "poll", "epoll_create", "epoll_ctl", "epoll_wait",
)  # fmt: skip

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


class FdSet:
    """fd_set, select(2): a bitmap of FD_SETSIZE = 1024 descriptors, and not one more.

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
