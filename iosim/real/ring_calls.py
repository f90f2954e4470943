"""io_uring, on this host."""

import ctypes
from collections.abc import Callable, MutableSequence
from errno import EBUSY, EINTR, EINVAL, ETIME
from os import strerror

from iosim.real.aio_calls import AioCalls
from iosim.real.uring import ENTER, EXT_ARG, GETEVENTS, SQ_WAKEUP, Memory, call
from iosim.syscalls import Cqe, Ring
from iosim.syscalls.ring import MOST_REAPED


class RingCalls(AioCalls):
    """io_uring."""

    def __init__(self, new_counter: Callable[[], MutableSequence[int]] | None = None) -> None:
        super().__init__(new_counter)
        self._rings: dict[int, Memory] = {}

    def close(self, fd: int) -> None:
        super().close(fd)
        memory = self._rings.pop(fd, None)
        if memory is not None:
            memory.unmap()

    def io_uring_setup(self, entries: int, flags: int, sq_thread_idle_ms: int = 0) -> Ring:
        if entries <= 0:
            raise OSError(EINVAL, strerror(EINVAL))
        memory = Memory(entries, flags, sq_thread_idle_ms)
        self._rings[memory.fd] = memory
        return Ring(memory.fd, memory.entries, memory)

    def io_uring_register(self, ring: Ring, buffers: int, buffer_bytes: int) -> None:
        self._memory(ring).provide(buffers, buffer_bytes)

    def io_uring_enter(self, ring: Ring, min_complete: int = 0, timeout_ms: int = -1) -> list[Cqe]:
        memory = self._memory(ring)
        flags = GETEVENTS
        if memory.publish(ring.submissions):
            flags |= SQ_WAKEUP
        argument = size = 0
        if timeout_ms >= 0:  # struct io_uring_getevents_arg, with the address of a timespec
            timespec = (ctypes.c_int64 * 2)(timeout_ms // 1000, timeout_ms % 1000 * 1_000_000)
            extended = (ctypes.c_uint64 * 3)(0, 0, ctypes.addressof(timespec))
            argument, size, flags = ctypes.addressof(extended), ctypes.sizeof(extended), flags | EXT_ARG
        while True:
            try:
                call(ENTER, memory.fd, memory.unsubmitted(), min_complete, flags, argument, size)
            except OSError as error:
                if error.errno not in (EINTR, ETIME, EBUSY):
                    raise
            cqes = memory.reap(MOST_REAPED)
            if cqes or not min_complete or timeout_ms >= 0:
                return cqes  # else a signal has cut it short

    def _memory(self, ring: Ring) -> Memory:
        memory = ring.memory
        assert isinstance(memory, Memory)
        return memory
