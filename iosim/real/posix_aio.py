"""aio(7) of this host's C library: struct aiocb, and the memory that its helper threads write to."""

import ctypes
from collections.abc import Sequence
from errno import ENOSYS
from typing import ClassVar, Final

from iosim.real.libc import libc
from iosim.syscalls import Aiocb

SIGEV_NONE: Final = 1


class _Sigevent(ctypes.Structure):
    _fields_: ClassVar = [
        ("value", ctypes.c_void_p),
        ("signo", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("rest", ctypes.c_byte * 48),
    ]


class ControlBlock(ctypes.Structure):
    """struct aiocb of a 64-bit glibc (musl's has the same size and public fields)."""

    _fields_: ClassVar = [
        ("fildes", ctypes.c_int),
        ("lio_opcode", ctypes.c_int),
        ("reqprio", ctypes.c_int),
        ("buf", ctypes.c_void_p),
        ("nbytes", ctypes.c_size_t),
        ("sigevent", _Sigevent),
        ("internal", ctypes.c_byte * 32),
        ("offset", ctypes.c_long),
        ("reserved", ctypes.c_byte * 32),
    ]


class _Aioinit(ctypes.Structure):
    """struct aioinit, aio_init(3)."""

    _fields_: ClassVar = [
        (name, ctypes.c_int)
        for name in ("threads", "num", "locks", "usedba", "debug", "numusers", "idle_time", "reserved")
    ]


UNDER_WAY: dict[int, tuple[ControlBlock, object]] = {}
"""Address → a control block and its buffer, from its start until it was seen to be done. It belongs to the process, as
the library's threads do: whatever the program drops meanwhile, they write into live memory."""


def _library() -> ctypes.CDLL:
    """Where the C library has it: glibc before 2.34 in one of its own. What has none fails at its first call."""
    try:
        return libc if hasattr(libc, "aio_read") else ctypes.CDLL("librt.so.1", use_errno=True)
    except OSError:
        return libc


library = _library()
if hasattr(library, "aio_read"):
    for _function in (library.aio_read, library.aio_write, library.aio_error, library.aio_return):
        _function.argtypes = [ctypes.c_void_p]
    library.aio_return.restype = ctypes.c_ssize_t
    library.aio_suspend.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]


def block_of(request: Aiocb) -> ControlBlock:
    """The request's control block, made at its first use."""
    block = request.kernel_state
    if block is None:
        block = request.kernel_state = ControlBlock()
        block.sigevent.notify = SIGEV_NONE
    assert isinstance(block, ControlBlock)
    return block


def keep(request: Aiocb) -> int:
    """Point the control block at the request's descriptor and buffer, and keep both alive; its address."""
    block = block_of(request)
    buffer = (ctypes.c_char * len(request.buffer)).from_buffer(request.buffer)
    block.fildes, block.buf, block.nbytes = request.fd, ctypes.addressof(buffer), len(request.buffer)
    address = ctypes.addressof(block)
    UNDER_WAY[address] = (block, buffer)
    return address


def addresses(requests: Sequence[Aiocb]) -> ctypes.Array[ctypes.c_void_p]:
    """struct aiocb *[]."""
    return (ctypes.c_void_p * len(requests))(*[ctypes.addressof(block_of(request)) for request in requests])


def set_threads(threads: int) -> None:
    """aio_init(3): the number of helper threads; the rest as glibc has it."""
    if not hasattr(library, "aio_init"):
        raise OSError(ENOSYS, "aio_init: a function of glibc, and this C library is another")
    library.aio_init(ctypes.byref(_Aioinit(threads=threads, num=64)))
