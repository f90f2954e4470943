"""Signals as a source of events, on this host."""

import ctypes
import os
import resource as _resource
import signal
from errno import EINVAL
from functools import lru_cache
from typing import Any, ClassVar

from iosim.real.libc import libc, raise_errno
from iosim.real.process_calls import ProcessCalls
from iosim.syscalls import RLIMIT_SIGPENDING, SigInfo

_SIGSET_BYTES = 128
_SIGINFO_BYTES = 128


class SignalCalls(ProcessCalls):
    """sigprocmask(2), sigwaitinfo(2), sigtimedwait(2), and the limit of the queue."""

    def sigprocmask(self, how: int, signals: tuple[int, ...]) -> None:
        signal.pthread_sigmask(how, signals)

    def sigwaitinfo(self, signals: tuple[int, ...]) -> SigInfo:
        # ctypes, because Python's sigwaitinfo drops si_fd
        info = _SigInfo()
        while libc.sigtimedwait(_sigset(signals), ctypes.byref(info), None) < 0:
            raise_errno()
        return SigInfo(info.signo, info.fd, info.band)

    def sigtimedwait(self, signals: tuple[int, ...], timeout_ms: int) -> SigInfo:
        info = _SigInfo()
        timeout = (ctypes.c_long * 2)(timeout_ms // 1000, timeout_ms % 1000 * 1_000_000)
        while libc.sigtimedwait(_sigset(signals), ctypes.byref(info), timeout) < 0:
            raise_errno()
        return SigInfo(info.signo, info.fd, info.band)

    def setrlimit(self, resource: int, limit: int) -> None:
        if resource != RLIMIT_SIGPENDING or limit < 0:
            raise OSError(EINVAL, os.strerror(EINVAL))
        _, hard = _resource.getrlimit(resource)
        _resource.setrlimit(resource, (limit, hard))


class _SigInfo(ctypes.Structure):
    """siginfo_t with the fields of a signal that F_SETSIG chose."""

    _fields_: ClassVar[Any] = [
        ("signo", ctypes.c_int),
        ("errno", ctypes.c_int),
        ("code", ctypes.c_int),
        ("band", ctypes.c_long),
        ("fd", ctypes.c_int),
        ("rest", ctypes.c_char * (_SIGINFO_BYTES - 28)),
    ]


@lru_cache(maxsize=64)
def _sigset(signals: tuple[int, ...]) -> Any:
    """sigset_t: bit n - 1 is signal n."""
    bits = sum(1 << number - 1 for number in set(signals))
    return (ctypes.c_char * _SIGSET_BYTES).from_buffer_copy(bits.to_bytes(_SIGSET_BYTES, "little"))
