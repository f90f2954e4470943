"""The C library of this process, by ctypes: for calls that Python has not, or makes slower than C does."""

import ctypes
import os
from errno import EINTR

libc = ctypes.CDLL(None, use_errno=True)
libc.accept4.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]
libc.select.argtypes = [ctypes.c_int, *[ctypes.c_void_p] * 4]
libc.prctl.argtypes = [ctypes.c_int, ctypes.c_ulong]
libc.sigtimedwait.argtypes = [ctypes.c_void_p] * 3


def raise_errno() -> None:
    """What the last call of libc said; nothing if it was only interrupted."""
    code = ctypes.get_errno()
    if code != EINTR:
        raise OSError(code, os.strerror(code))
