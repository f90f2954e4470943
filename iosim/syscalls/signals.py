"""Signals as a source of events."""

from types import coroutine
from typing import Final, NamedTuple

from iosim.syscalls.trap import Trap

__all__ = [
    "RLIMIT_SIGPENDING",
    "SIGIO",
    "SIGRTMIN",
    "SIG_BLOCK",
    "SIG_SETMASK",
    "SIG_UNBLOCK",
    "SigInfo",
    "setrlimit",
    "sigprocmask",
    "sigtimedwait",
    "sigwaitinfo",
]

CALLS: tuple[str, ...] = (
    "sigprocmask", "sigwaitinfo", "sigtimedwait", "setrlimit",
)  # fmt: skip

SIGIO: Final = 29
SIGRTMIN: Final = 34
"""The first real-time signal that glibc leaves to programs; such signals queue, others are pending once."""
SIG_BLOCK: Final = 0
SIG_UNBLOCK: Final = 1
SIG_SETMASK: Final = 2
RLIMIT_SIGPENDING: Final = 11


class SigInfo(NamedTuple):
    """siginfo_t, sigaction(2), as far as F_SETSIG fills it in; a plain SIGIO has 0 and 0."""

    signo: int
    fd: int
    """si_fd: the descriptor that O_ASYNC was set by. It may be closed by now, or be another file."""
    band: int
    """si_band: poll(2) events, POLLIN for what has arrived, POLLOUT for room to write, POLLERR, POLLHUP."""


@coroutine
def sigprocmask(how: int, signals: tuple[int, ...]) -> Trap[None]:
    """sigprocmask(2): SIG_BLOCK, SIG_UNBLOCK or SIG_SETMASK. A blocked signal stays pending until it is waited for; one
    that comes unblocked ends the process, for a program here has no handlers. Errors: EINVAL."""
    return (yield "sigprocmask", (how, signals))


@coroutine
def sigwaitinfo(signals: tuple[int, ...]) -> Trap[SigInfo]:
    """sigwaitinfo(2): take the next pending signal of these (which must be blocked); sleeps while there is none. Lower
    numbers come first, and signals of one number in the order they were queued."""
    return (yield "sigwaitinfo", (signals,))


@coroutine
def sigtimedwait(signals: tuple[int, ...], timeout_ms: int) -> Trap[SigInfo]:
    """sigtimedwait(2): as sigwaitinfo, for so long at most. Errors: EAGAIN (the time is over; at once for 0), EINVAL (a
    negative time)."""
    return (yield "sigtimedwait", (signals, timeout_ms))


@coroutine
def setrlimit(resource: int, limit: int) -> Trap[None]:
    """setrlimit(2), the soft limit of RLIMIT_SIGPENDING: so many signals may be queued for all processes of this user;
    a real-time signal beyond them is lost, and O_ASYNC sends a plain SIGIO instead. Errors: EINVAL (another resource, a
    negative limit)."""
    return (yield "setrlimit", (resource, limit))
