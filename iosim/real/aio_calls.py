"""Asynchronous I/O on this host: POSIX AIO is the C library's own, Linux AIO the kernel's."""

import ctypes
import os
from collections.abc import Callable, Sequence
from errno import EINPROGRESS, EINVAL

from iosim.real import linux_aio, posix_aio
from iosim.real.libc import raise_errno
from iosim.real.signal_calls import SignalCalls
from iosim.syscalls import Aiocb, Iocb


class AioCalls(SignalCalls):
    """Asynchronous I/O: POSIX and Linux.

    *Differs from a C program*: a request that is under way cannot be started again (glibc would corrupt its lists).
    """

    def aio_init(self, threads: int) -> None:
        posix_aio.set_threads(threads)

    def aio_read(self, request: Aiocb) -> None:
        _start(posix_aio.library.aio_read, request)

    def aio_write(self, request: Aiocb) -> None:
        _start(posix_aio.library.aio_write, request)

    def aio_suspend(self, requests: Sequence[Aiocb], timeout_ms: int = -1) -> None:
        timeout = None if timeout_ms < 0 else (ctypes.c_long * 2)(timeout_ms // 1000, timeout_ms % 1000 * 1_000_000)
        while posix_aio.library.aio_suspend(posix_aio.addresses(requests), len(requests), timeout) < 0:
            raise_errno()

    def aio_error(self, request: Aiocb) -> int:
        address = ctypes.addressof(posix_aio.block_of(request))
        error = int(posix_aio.library.aio_error(address))
        if error != EINPROGRESS:
            posix_aio.UNDER_WAY.pop(address, None)
        return error

    def aio_return(self, request: Aiocb) -> int:
        return int(posix_aio.library.aio_return(ctypes.addressof(posix_aio.block_of(request))))

    def io_setup(self, nr_events: int) -> int:
        context = ctypes.c_ulong(0)
        linux_aio.call("io_setup", nr_events, ctypes.addressof(context))
        return context.value

    def io_destroy(self, context: int) -> None:
        linux_aio.call("io_destroy", context)

    def io_submit(self, context: int, iocbs: Sequence[Iocb]) -> int:
        return linux_aio.submit(context, iocbs)

    def io_getevents(self, context: int, min_nr: int = 1, nr: int = 512, timeout_ms: int = -1) -> list[tuple[int, int]]:
        return linux_aio.getevents(context, min_nr, nr, timeout_ms)


def _start(enqueue: Callable[[int], int], request: Aiocb) -> None:
    address = ctypes.addressof(posix_aio.block_of(request))
    if address in posix_aio.UNDER_WAY and posix_aio.library.aio_error(address) == EINPROGRESS:
        raise OSError(EINVAL, os.strerror(EINVAL))
    while enqueue(posix_aio.keep(request)) < 0:
        raise_errno()
