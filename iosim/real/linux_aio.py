"""io_setup(2) and its kin, which no C library wraps: the numbers of the calls, and their structures as bytes."""

import ctypes
import platform
import struct
import threading
from collections.abc import Sequence
from errno import ENOSYS
from typing import Final

from iosim.real.libc import libc, raise_errno
from iosim.syscalls import IOCB_CMD_POLL, Iocb

NUMBERS: Final[dict[str, dict[str, int]]] = {
    "x86_64": {"io_setup": 206, "io_destroy": 207, "io_getevents": 208, "io_submit": 209},
    "aarch64": {"io_setup": 0, "io_destroy": 1, "io_submit": 2, "io_getevents": 4},
}
"""asm/unistd_64.h, asm-generic/unistd.h."""
IOCB: Final = struct.Struct("<QIiHhIQQqQII")
"""data, key, rw_flags, opcode, reqprio, fildes, buf, nbytes, offset, reserved, flags, resfd."""
IO_EVENT: Final = struct.Struct("<QQqq")
"""data, obj, res, res2."""

_NUMBERS = NUMBERS.get(platform.machine(), {})
# a prototype of our own: others may call syscall(2) with other arguments
_syscall = ctypes.CFUNCTYPE(ctypes.c_long, *[ctypes.c_long] * 6, use_errno=True)(("syscall", libc))


class _Memory(threading.local):
    """What a thread's calls point at, made once: to make it anew each time would cost more than the call."""

    def __init__(self) -> None:
        self.hold(64)

    def hold(self, count: int) -> None:
        """Room for so many iocbs, pointers to them, and events."""
        self.count = count
        self.iocbs = ctypes.create_string_buffer(IOCB.size * count)
        first = ctypes.addressof(self.iocbs)
        self.pointers = (ctypes.c_void_p * count)(*range(first, first + IOCB.size * count, IOCB.size))
        self.pointers_at = ctypes.addressof(self.pointers)
        self.events = ctypes.create_string_buffer(IO_EVENT.size * count)
        self.events_at = ctypes.addressof(self.events)
        self.view = memoryview(self.events)


_memory = _Memory()


def call(name: str, a: int, b: int = 0, c: int = 0, d: int = 0, e: int = 0) -> int:
    """One of these system calls. Raises OSError, in words where this host cannot make it."""
    if not _NUMBERS:
        raise OSError(ENOSYS, f"{name}: iosim does not know its number on {platform.machine()}")
    while (result := _syscall(_NUMBERS[name], a, b, c, d, e)) < 0:
        if ctypes.get_errno() == ENOSYS:
            raise OSError(ENOSYS, f"{name}: this kernel has no Linux AIO (CONFIG_AIO), or a filter forbids it")
        raise_errno()
    return int(result)


def submit(context: int, iocbs: Sequence[Iocb]) -> int:
    """io_submit. Linux copies the structures; buffers of sockets are read or filled before it returns."""
    memory = _memory
    if len(iocbs) > memory.count:
        memory.hold(2 * len(iocbs))
    place, pack, structures = 0, IOCB.pack_into, memory.iocbs
    exported = []
    for iocb in iocbs:
        fd = iocb.fd & 0xFFFFFFFF
        if iocb.opcode == IOCB_CMD_POLL:  # the events stand where the buffer's address does
            pack(structures, place, fd, 0, 0, IOCB_CMD_POLL, 0, fd, iocb.events, 0, 0, 0, 0, 0)
        else:
            buffer = (ctypes.c_char * len(iocb.buffer)).from_buffer(iocb.buffer)
            exported.append(buffer)
            address = ctypes.addressof(buffer)
            pack(structures, place, fd, 0, 0, iocb.opcode, 0, fd, address, len(iocb.buffer), 0, 0, 0, 0)
        place += IOCB.size
    return call("io_submit", context, len(iocbs), memory.pointers_at)


def getevents(context: int, min_nr: int, nr: int, timeout_ms: int) -> list[tuple[int, int]]:
    """io_getevents."""
    memory = _memory
    if nr > memory.count:
        memory.hold(nr)
    if timeout_ms < 0:
        found = call("io_getevents", context, min_nr, nr, memory.events_at)
    else:
        timeout = (ctypes.c_long * 2)(timeout_ms // 1000, timeout_ms % 1000 * 1_000_000)
        found = call("io_getevents", context, min_nr, nr, memory.events_at, ctypes.addressof(timeout))
    events = memory.view[: found * IO_EVENT.size]
    return [(data, res) for data, _, res, _ in IO_EVENT.iter_unpack(events)]
