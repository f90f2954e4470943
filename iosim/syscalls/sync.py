"""What threads tell each other with: eventfd, futex."""

from ctypes import c_uint32
from types import coroutine
from typing import Any, Final

from iosim.syscalls.sockets import O_NONBLOCK
from iosim.syscalls.trap import Trap

__all__ = [
    "EFD_NONBLOCK",
    "EFD_SEMAPHORE",
    "Word",
    "eventfd",
    "futex_wait",
    "futex_wake",
]

CALLS: tuple[str, ...] = (
    "eventfd", "futex_wait", "futex_wake",
)  # fmt: skip

EFD_SEMAPHORE: Final = 1
EFD_NONBLOCK: Final = O_NONBLOCK


class Word(c_uint32):
    """The 32 bits that futex(2) works on; ``value`` is read and written as any memory, without a call.

    The threads of one process share it. (A forked child of a C program has a copy: no word is for two processes.)
    A kernel may keep its wait queue in ``kernel_state``.
    """

    kernel_state: Any = None


@coroutine
def eventfd(initval: int = 0, flags: int = 0) -> Trap[int]:
    """eventfd(2): a descriptor of a 64-bit counter. ``write`` adds 8 bytes in native order to it, ``read`` of 8 bytes
    or more takes it (with EFD_SEMAPHORE: takes 1) and sleeps while it is 0. ``flags`` may be EFD_NONBLOCK,
    EFD_SEMAPHORE. Errors: EINVAL, EMFILE."""
    return (yield "eventfd", (initval, flags))


@coroutine
def futex_wait(word: Word, expected: int, timeout_ns: int = -1) -> Trap[None]:
    """futex(2) FUTEX_WAIT, private: sleep until a ``futex_wake`` of this word, if it still has the ``expected`` value
    (-1: no time-out). Errors: EAGAIN (it has another value), ETIMEDOUT."""
    return (yield "futex_wait", (word, expected, timeout_ns))


@coroutine
def futex_wake(word: Word, count: int = 1) -> Trap[int]:
    """futex(2) FUTEX_WAKE, private: wake at most ``count`` of the threads that sleep on this word, those first that
    went to sleep first; how many they were."""
    return (yield "futex_wake", (word, count))
