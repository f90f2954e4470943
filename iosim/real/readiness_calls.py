"""The readiness calls, on this host: select, poll, and the three of epoll."""

import ctypes
import platform
import select as _select
from typing import Any, ClassVar, NoReturn

from iosim.real.libc import libc, raise_errno
from iosim.real.socket_calls import SocketCalls
from iosim.syscalls import EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, FD_SETSIZE, FdSet, PollFds, bits_set

_FD_SET_BYTES = FD_SETSIZE // 8


class ReadinessCalls(SocketCalls):
    """Which descriptors are ready?"""

    def __init__(self) -> None:
        super().__init__()
        self._epolls: dict[int, _select.epoll] = {}  # kept, or the garbage collector would close them

    def close(self, fd: int) -> None:
        epoll = self._epolls.pop(fd, None)
        if epoll is None:
            super().close(fd)
        else:
            epoll.close()

    def select(self, readers: FdSet, writers: FdSet, timeout_ms: int = -1) -> tuple[list[int], list[int]]:
        # as a C program does: two bitmaps that the kernel overwrites; Python's select would take lists apart
        wanted = readers.bits | writers.bits
        readable = (ctypes.c_char * _FD_SET_BYTES).from_buffer_copy(readers.bits.to_bytes(_FD_SET_BYTES, "little"))
        writable = (ctypes.c_char * _FD_SET_BYTES).from_buffer_copy(writers.bits.to_bytes(_FD_SET_BYTES, "little"))
        # Linux writes the time that is left into it, so that an interrupted call goes on with the rest
        timeout = None if timeout_ms < 0 else (ctypes.c_long * 2)(timeout_ms // 1000, timeout_ms % 1000 * 1000)
        while libc.select(wanted.bit_length(), readable, writable, None, timeout) < 0:
            raise_errno()
        return _positions(readable), _positions(writable)

    def poll(self, fds: PollFds, timeout_ms: int = -1) -> list[tuple[int, int]]:
        array = fds.kernel_state
        if array is None or len(fds.changed) != len(set(fds.changed)):
            # new, or a descriptor may have left and come back, at the end: only a new array has it there
            array = fds.kernel_state = _select.poll()
            fds.changed = list(fds)
        for fd in fds.changed:
            if fd in fds:
                array.register(fd, fds[fd])
            else:
                array.unregister(fd)
        fds.changed.clear()
        fds.removed.clear()
        ready: list[tuple[int, int]] = array.poll(None if timeout_ms < 0 else timeout_ms)
        return ready

    def epoll_create(self) -> int:
        epoll = _select.epoll()
        self._epolls[epoll.fileno()] = epoll
        return epoll.fileno()

    def epoll_ctl(self, epoll: int, operation: int, fd: int, events: int = 0) -> None:
        kept = self._epolls.get(epoll)
        if kept is None:
            _ask_c("epoll_ctl", epoll, operation, fd, _EpollEvent(events))
        elif operation == EPOLL_CTL_ADD:
            kept.register(fd, events)
        elif operation == EPOLL_CTL_MOD:
            kept.modify(fd, events)
        elif operation == EPOLL_CTL_DEL:
            kept.unregister(fd)
        else:
            _ask_c("epoll_ctl", epoll, operation, fd, _EpollEvent(events))

    def epoll_wait(self, epoll: int, maxevents: int = 512, timeout_ms: int = -1) -> list[tuple[int, int]]:
        kept = self._epolls.get(epoll)
        if kept is None or maxevents <= 0:
            _ask_c("epoll_wait", epoll, _EpollEvent(), maxevents, 0)
        return kept.poll(None if timeout_ms < 0 else timeout_ms / 1000, maxevents)


def _positions(bitmap: ctypes.Array[ctypes.c_char]) -> list[int]:
    return list(bits_set(int.from_bytes(bitmap.raw, "little")))


class _EpollEvent(ctypes.Structure):
    """struct epoll_event, epoll_ctl(2): packed on x86-64, as Linux has it there."""

    _pack_ = 1 if platform.machine() == "x86_64" else 0
    _fields_: ClassVar = [("events", ctypes.c_uint32), ("data", ctypes.c_uint64)]


def _ask_c(call: str, epoll: int, *args: Any) -> NoReturn:
    """A call that Python's ``select.epoll`` cannot make, because it must fail: Linux itself says with which errno."""
    libc[call](epoll, *(ctypes.byref(arg) if isinstance(arg, _EpollEvent) else arg for arg in args))
    raise_errno()
    raise AssertionError(f"{call} of descriptor {epoll} is expected to fail: RealKernel did not make it")
