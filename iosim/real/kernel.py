"""RealKernel: every call of the vocabulary, answered by this host's Linux.

*Models*: nothing; it asks. Descriptors are plain ints, as in C: no socket object stands between program and kernel.
*Differs from a C program*: (1) only 127.0.0.1 is bound and called, so that a real run stays on this machine; (2) every
socket has TCP_NODELAY (an accepted one inherits it from its listener), because a reply that waits for Nagle's algorithm
measures Nagle's algorithm; (3) SIGPIPE is ignored by Python; (4) a call that a signal interrupts goes on (PEP 475).
"""

import _socket
import ctypes
import fcntl as _fcntl
import os
import platform
import select as _select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Coroutine, MutableSequence
from errno import EACCES, EINTR, EINVAL
from typing import Any, ClassVar, NoReturn

from iosim.real.burn import burn
from iosim.real.driver import drive
from iosim.syscalls import (
    EPOLL_CTL_ADD,
    EPOLL_CTL_DEL,
    EPOLL_CTL_MOD,
    FD_SETSIZE,
    SHUT_WR,
    VOCABULARY,
    Address,
    FdSet,
    PollFds,
    Program,
    bits_set,
)

HOST = "127.0.0.1"
FAILED = 70  # EX_SOFTWARE of sysexits.h: how a child tells its parent that its program raised
_FD_SET_BYTES = FD_SETSIZE // 8
_PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)
_libc.accept4.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]
_libc.select.argtypes = [ctypes.c_int, *[ctypes.c_void_p] * 4]
_libc.prctl.argtypes = [ctypes.c_int, ctypes.c_ulong]


class ProgramExit(SystemExit):
    """exit_group(2) of the process that the harness runs in: leaves ``drive``, with the status in ``code``."""


class RealKernel:
    """Linux, one method per call of the vocabulary; signatures and documentation are those of ``iosim.syscalls``.

    ``new_counter`` gives the census row of one more thread: ``len(VOCABULARY)`` ints (default: a list). It is called in
    the thread that clones or forks, before it does; the row of a fork'ed child must therefore lie in shared memory if
    anyone else is to read it. ``failures`` keeps what the programs of clone'd threads raised: whoever drives one looks
    there.
    """

    def __init__(self, new_counter: Callable[[], MutableSequence[int]] | None = None) -> None:
        self.new_counter = new_counter or (lambda: [0] * len(VOCABULARY))
        self.failures: list[BaseException] = []
        self._epolls: dict[int, _select.epoll] = {}  # kept, or the garbage collector would close them
        self._is_child = False

    # --- sockets and files -------------------------------------------------------------------------------------

    def socket(self, flags: int = 0) -> int:
        made = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM | flags)
        made.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        return made.detach()

    def bind(self, fd: int, address: Address) -> None:
        _refuse_other_hosts("bind", address)
        _on(fd, _socket.socket.bind, address)

    def listen(self, fd: int, backlog: int = 4096) -> None:
        if _on(fd, _socket.socket.getsockname) == ("0.0.0.0", 0):
            _on(fd, _socket.socket.bind, (HOST, 0))  # Linux would bind it to every interface of the host
        _on(fd, _socket.socket.listen, backlog)

    def getsockname(self, fd: int) -> Address:
        host, port = _on(fd, _socket.socket.getsockname)
        return host, port

    def connect(self, fd: int, address: Address) -> None:
        _refuse_other_hosts("connect", address)
        _on(fd, _socket.socket.connect, address)

    def accept4(self, fd: int, flags: int = 0) -> int:
        # ctypes, because Python's accept builds an address and a socket object that nobody asked for (x 1.5)
        while (conn := _libc.accept4(fd, None, None, flags | _socket.SOCK_CLOEXEC)) < 0:
            _raise_errno()
        return int(conn)

    def read(self, fd: int, count: int = 65536) -> bytes:
        return os.read(fd, count)

    def write(self, fd: int, data: bytes) -> int:
        return os.write(fd, data)

    def close(self, fd: int) -> None:
        epoll = self._epolls.pop(fd, None)
        if epoll is None:
            os.close(fd)
        else:
            epoll.close()

    def shutdown(self, fd: int, how: int = SHUT_WR) -> None:
        _on(fd, _socket.socket.shutdown, how)

    def fcntl(self, fd: int, command: int, argument: int = 0) -> int:
        return _fcntl.fcntl(fd, command, argument)

    # --- readiness ---------------------------------------------------------------------------------------------

    def select(self, readers: FdSet, writers: FdSet, timeout_ms: int = -1) -> tuple[list[int], list[int]]:
        # as a C program does: two bitmaps that the kernel overwrites; Python's select would take lists apart
        wanted = readers.bits | writers.bits
        readable = (ctypes.c_char * _FD_SET_BYTES).from_buffer_copy(readers.bits.to_bytes(_FD_SET_BYTES, "little"))
        writable = (ctypes.c_char * _FD_SET_BYTES).from_buffer_copy(writers.bits.to_bytes(_FD_SET_BYTES, "little"))
        # Linux writes the time that is left into it, so that an interrupted call goes on with the rest
        timeout = None if timeout_ms < 0 else (ctypes.c_long * 2)(timeout_ms // 1000, timeout_ms % 1000 * 1000)
        while _libc.select(wanted.bit_length(), readable, writable, None, timeout) < 0:
            _raise_errno()
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

    # --- threads, processes, time ------------------------------------------------------------------------------

    def clone(self, program: Program, *args: Any) -> int:
        thread = threading.Thread(
            target=self._run_thread, args=(program(*args), self.new_counter()), name=program.__name__, daemon=True
        )
        thread.start()
        assert thread.native_id is not None
        return thread.native_id

    def _run_thread(self, program: Coroutine[Any, Any, None], census: MutableSequence[int]) -> None:
        try:
            drive(self, program, census)
        except BaseException as error:  # a thread has nobody to raise to
            if self._is_child:
                _end_child(error)
            self.failures.append(error)

    def fork(self, program: Program, *args: Any) -> int:
        census = self.new_counter()
        parent = os.getpid()
        child = os.fork()
        if child:
            return child
        try:
            self._is_child = True
            _die_with(parent)
            drive(self, program(*args), census)
        except BaseException as error:
            _end_child(error)
        os._exit(0)  # not sys.exit: what stands below this frame is the parent's

    def wait(self) -> int:
        child, status = os.wait()
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == FAILED:
            # a program that starts a new worker for each that ended would do so for ever
            raise ProgramExit(f"child process {child} ended by an exception; its traceback is on standard error")
        return child

    def exit(self, status: int = 0) -> NoReturn:
        if self._is_child:
            os._exit(status)
        raise ProgramExit(status)

    def nanosleep(self, duration_ns: int) -> None:
        if duration_ns < 0:
            raise OSError(EINVAL, os.strerror(EINVAL))
        time.sleep(duration_ns / 1e9)

    def compute(self, work_ns: int) -> None:
        burn(work_ns)


def _on(fd: int, method: Callable[..., Any], *args: Any) -> Any:
    """``method`` of a socket object that borrows the descriptor for one call (the rare calls: 0.3 us are no matter)."""
    borrowed = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM, 0, fileno=fd)
    try:
        return method(borrowed, *args)
    finally:
        borrowed.detach()


def _refuse_other_hosts(call: str, address: Address) -> None:
    if address[0] != HOST:
        raise PermissionError(
            EACCES, f"{call}: came host {address[0]!r}, expected {HOST!r}: real runs stay on loopback"
        )


def _raise_errno() -> None:
    """What the last call of libc said; nothing if it was only interrupted."""
    code = ctypes.get_errno()
    if code != EINTR:
        raise OSError(code, os.strerror(code))


def _positions(bitmap: ctypes.Array[ctypes.c_char]) -> list[int]:
    return list(bits_set(int.from_bytes(bitmap.raw, "little")))


class _EpollEvent(ctypes.Structure):
    """struct epoll_event, epoll_ctl(2): packed on x86-64, as Linux has it there."""

    _pack_ = 1 if platform.machine() == "x86_64" else 0
    _fields_: ClassVar = [("events", ctypes.c_uint32), ("data", ctypes.c_uint64)]


def _ask_c(call: str, epoll: int, *args: Any) -> NoReturn:
    """A call that Python's ``select.epoll`` cannot make, because it must fail: Linux itself says with which errno."""
    _libc[call](epoll, *(ctypes.byref(arg) if isinstance(arg, _EpollEvent) else arg for arg in args))
    _raise_errno()
    raise AssertionError(f"{call} of descriptor {epoll} is expected to fail: RealKernel did not make it")


def _die_with(parent: int) -> None:
    """prctl(2) PR_SET_PDEATHSIG: no child outlives the thread that forked it, whatever ends that."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before we asked
        os._exit(FAILED)


def _end_child(error: BaseException) -> NoReturn:
    """A child has only its standard error and its status to tell what its program raised."""
    if not isinstance(error, KeyboardInterrupt):
        traceback.print_exception(error, file=sys.stderr)
        sys.stderr.flush()
    os._exit(FAILED)
