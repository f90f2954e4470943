"""eventfd and futex, on this host.

Discussion: Python has no futex, so ctypes makes the raw call. It releases the interpreter's lock meanwhile: a thread
sleeps in the kernel as one of a C program does.
"""

import ctypes
import os
import platform
import time

from iosim.real.libc import libc, raise_errno
from iosim.real.ring_calls import RingCalls
from iosim.syscalls import Word

_syscall = libc["syscall"]
_SYS_FUTEX = 202 if platform.machine() == "x86_64" else 98
_PRIVATE = 128
_WAKE = 1 | _PRIVATE
_WAIT_UNTIL = 9 | _PRIVATE
"""FUTEX_WAIT_BITSET: as FUTEX_WAIT, but until a time of CLOCK_MONOTONIC, so that an interrupted sleep can go on."""
_ANY_BIT = 0xFFFFFFFF
_SECOND_NS = 1_000_000_000


class SyncCalls(RingCalls):
    """eventfd(2), futex(2)."""

    def eventfd(self, initval: int = 0, flags: int = 0) -> int:
        return os.eventfd(initval, flags | os.EFD_CLOEXEC)

    def futex_wait(self, word: Word, expected: int, timeout_ns: int = -1) -> None:
        until = None
        if timeout_ns >= 0:
            until = (ctypes.c_long * 2)(*divmod(time.monotonic_ns() + timeout_ns, _SECOND_NS))
        while _syscall(_SYS_FUTEX, ctypes.byref(word), _WAIT_UNTIL, expected, until, None, _ANY_BIT) < 0:
            raise_errno()

    def futex_wake(self, word: Word, count: int = 1) -> int:
        woken = _syscall(_SYS_FUTEX, ctypes.byref(word), _WAKE, count, None, None, 0)
        if woken < 0:
            raise_errno()
        return int(woken)
