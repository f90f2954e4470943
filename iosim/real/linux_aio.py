"""io_setup(2) and its kin, which no C library wraps: the numbers of the calls, and their structures as bytes."""

import ctypes
import os
import platform
import struct
from collections.abc import Sequence
from errno import EINTR, ENOSYS
from typing import Final

from iosim.real.libc import libc
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
TIMESPEC: Final = struct.Struct("<qq")

# a prototype of our own: others may call syscall(2) with other arguments
_syscall = ctypes.CFUNCTYPE(ctypes.c_long, *[ctypes.c_long] * 6, use_errno=True)(("syscall", libc))


def call(name: str, *args: int) -> int:
    """One of these system calls. Raises OSError, in words where this host cannot make it."""
    numbers = NUMBERS.get(platform.machine())
    if numbers is None:
        raise OSError(ENOSYS, f"{name}: iosim does not know its number on {platform.machine()}")
    while (result := _syscall(numbers[name], *args, *[0] * (5 - len(args)))) < 0:
        code = ctypes.get_errno()
        if code == ENOSYS:
            raise OSError(ENOSYS, f"{name}: this kernel has no Linux AIO (CONFIG_AIO), or a filter forbids it")
        if code != EINTR:
            raise OSError(code, os.strerror(code))
    return int(result)


def submit(context: int, iocbs: Sequence[Iocb]) -> int:
    """io_submit. Linux copies the structures; buffers of sockets are read or filled before it returns."""
    count = len(iocbs)
    memory = ctypes.create_string_buffer(IOCB.size * count)
    first = ctypes.addressof(memory)
    exported = []
    for place, iocb in enumerate(iocbs):
        address, length = iocb.events, 0  # of a poll, the events stand where the buffer's address does
        if iocb.opcode != IOCB_CMD_POLL:
            exported.append((ctypes.c_char * len(iocb.buffer)).from_buffer(iocb.buffer))
            address, length = ctypes.addressof(exported[-1]), len(iocb.buffer)
        fd = iocb.fd & 0xFFFFFFFF
        IOCB.pack_into(memory, place * IOCB.size, fd, 0, 0, iocb.opcode, 0, fd, address, length, 0, 0, 0, 0)
    pointers = (ctypes.c_void_p * count)(*range(first, first + IOCB.size * count, IOCB.size))
    return call("io_submit", context, count, ctypes.addressof(pointers))


def getevents(context: int, min_nr: int, nr: int, timeout_ms: int) -> list[tuple[int, int]]:
    """io_getevents."""
    memory = ctypes.create_string_buffer(IO_EVENT.size * max(nr, 0))
    timeout = ctypes.create_string_buffer(TIMESPEC.pack(timeout_ms // 1000, timeout_ms % 1000 * 1_000_000))
    wait = 0 if timeout_ms < 0 else ctypes.addressof(timeout)
    found = call("io_getevents", context, min_nr, nr, ctypes.addressof(memory), wait)
    events = memoryview(memory)[: found * IO_EVENT.size]
    return [(data, res) for data, _, res, _ in IO_EVENT.iter_unpack(events)]
