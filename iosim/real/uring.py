"""The memory that a ring shares with Linux: submission queue, completion queue, provided buffers (io_uring(7)).

By ctypes, as liburing does it in C. No Python ``mmap``: it would keep a duplicate of the ring's descriptor open.
"""

import ctypes
import errno
import os
import struct
import threading
from typing import Any, NoReturn

from iosim.real.libc import libc
from iosim.syscalls import (
    IORING_CQE_F_BUFFER,
    IORING_CQE_F_MORE,
    IORING_OP_ACCEPT,
    IORING_OP_ASYNC_CANCEL,
    IORING_OP_POLL_ADD,
    IORING_OP_RECV,
    IORING_OP_SEND,
    IORING_SETUP_SQPOLL,
    IOSQE_CQE_SKIP_SUCCESS,
    Cqe,
    Sqe,
)

SETUP, ENTER, REGISTER = 425, 426, 427
"""Numbers of the three calls, the same on every architecture; the C library has no functions for them."""
SETUP_SQ_AFF, SETUP_SUBMIT_ALL = 1 << 2, 1 << 7
GETEVENTS, SQ_WAKEUP, EXT_ARG = 1 << 0, 1 << 1, 1 << 3
SQ_NEED_WAKEUP = 1 << 0
REGISTER_PBUF_RING = 22
OFFSET_RINGS, OFFSET_SQES = 0, 0x10000000
SQE = struct.Struct("<BBHiQQIIQHHiQQ")
CQE = struct.Struct("<QiI")
PARAMS = struct.Struct("<7I3I8IQ8IQ")
"""struct io_uring_params, with the offsets of both queues."""
BUFFER = struct.Struct("<QIHH")
"""struct io_uring_buf; the ``tail`` of the buffer ring lies in the last two bytes of the first one."""
IOSQE_BUFFER_SELECT = 1 << 5
ACCEPT_MULTISHOT, RECV_MULTISHOT, POLL_ADD_MULTI = 1 << 0, 1 << 1, 1 << 0
CANCEL_ALL_OF_FD = 1 << 0 | 1 << 1
SOCK_CLOEXEC = 0o2000000
SEND_FLAGS = 0x100 | 0x4000
"""MSG_WAITALL, MSG_NOSIGNAL."""
DEFAULT_IDLE_MS = 1000

libc.syscall.restype = ctypes.c_long
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


def call(number: int, *args: int) -> int:
    """syscall(2). Raises OSError."""
    answer: int = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(arg) for arg in args))
    if answer < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return answer


class Mapping:
    """Some bytes at a fixed address, shared with the kernel."""

    def __init__(self, size: int, fd: int = -1, offset: int = 0) -> None:
        read_write, shared_or_anonymous, populate = 0x3, 0x01 if fd >= 0 else 0x22, 0x8000
        address = libc.mmap(None, size, read_write, shared_or_anonymous | populate, fd, offset)
        if address == ctypes.c_void_p(-1).value:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        self.address: int = address
        self.size = size
        self.bytes = (ctypes.c_char * size).from_address(address)

    def word(self, offset: int) -> ctypes.c_uint32:
        """The 32-bit number there."""
        return ctypes.c_uint32.from_address(self.address + offset)

    def unmap(self) -> None:
        libc.munmap(self.address, self.size)


class Pending:
    """An operation that the kernel works on, with the memory that it uses."""

    __slots__ = ("buffer", "predecessor", "sqe")

    def __init__(self, sqe: Sqe) -> None:
        self.sqe = sqe
        self.buffer: Any = None
        self.predecessor = 0
        """The operation before it in its chain, if nothing else tells that that one is done."""


class Memory:
    """What program and kernel share, of one ring (RingMemory of the vocabulary)."""

    def __init__(self, entries: int, flags: int, sq_thread_idle_ms: int) -> None:
        self.polled = bool(flags & IORING_SETUP_SQPOLL)
        flags |= SETUP_SUBMIT_ALL
        cpu = 0
        if self.polled:  # its thread stays on the CPUs that the program may use, as far from its first as can be
            flags |= SETUP_SQ_AFF
            cpu = max(os.sched_getaffinity(0))
        idle_ms = sq_thread_idle_ms or DEFAULT_IDLE_MS
        params = ctypes.create_string_buffer(PARAMS.pack(0, 0, flags, cpu, idle_ms, *[0] * 23), PARAMS.size)
        self.fd = _set_up(entries, params)
        self.entries, cq_entries, *rest = PARAMS.unpack(params.raw)
        head, tail, mask, _, sq_flags, _, array = rest[8:15]
        cq_head, cq_tail, cq_mask, _, _, self._cqes = rest[17:23]
        size = max(array + 4 * self.entries, self._cqes + CQE.size * cq_entries)
        self._rings = rings = Mapping(size, self.fd, OFFSET_RINGS)
        self._sqes = Mapping(SQE.size * self.entries, self.fd, OFFSET_SQES)
        self._sq_head, self._sq_tail, self._sq_flags = rings.word(head), rings.word(tail), rings.word(sq_flags)
        self._cq_head, self._cq_tail = rings.word(cq_head), rings.word(cq_tail)
        self._sq_mask, self._cq_mask = rings.word(mask).value, rings.word(cq_mask).value
        for index in range(self.entries):
            rings.word(array + 4 * index).value = index
        self._pending: dict[int, Pending] = {}
        self._number = 0
        self._chained = 0
        self._spare: dict[int, list[ctypes.Array[ctypes.c_char]]] = {}
        self._fence = threading.Lock()
        self._provided: Provided | None = None
        self._open = True

    def _check_open(self) -> None:
        if not self._open:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    # --- submitting

    def publish(self, submissions: list[Sqe]) -> bool:
        """Fill entries of the queue; does the kernel's polling thread sleep? What has no room stays, for next time."""
        self._check_open()
        tail = self._sq_tail.value
        room = self.entries - (tail - self._sq_head.value & 0xFFFFFFFF)
        for sqe in submissions[:room]:
            self._fill(tail & self._sq_mask, sqe)
            tail += 1
        del submissions[:room]
        self._sq_tail.value = tail
        if not self.polled:
            return False
        with self._fence:  # a full barrier: the tail must be seen before we look whether the thread sleeps
            return bool(self._sq_flags.value & SQ_NEED_WAKEUP)

    def unsubmitted(self) -> int:
        """Entries that the kernel has not taken."""
        return self._sq_tail.value - self._sq_head.value & 0xFFFFFFFF

    def _fill(self, index: int, sqe: Sqe) -> None:
        opcode, multishot, flags = sqe.opcode, sqe.multishot, sqe.flags
        pending = Pending(sqe)
        address = length = ioprio = operation_flags = 0
        if opcode == IORING_OP_SEND:
            pending.buffer = ctypes.c_char_p(sqe.data)  # it keeps the bytes, and points at them
            address = ctypes.cast(pending.buffer, ctypes.c_void_p).value or 0
            length, operation_flags = len(sqe.data), SEND_FLAGS
        elif opcode == IORING_OP_RECV and multishot:
            ioprio, flags = RECV_MULTISHOT, flags | IOSQE_BUFFER_SELECT
        elif opcode == IORING_OP_RECV:
            pending.buffer = self._buffer(sqe.argument)
            address, length = ctypes.addressof(pending.buffer), sqe.argument
        elif opcode == IORING_OP_ACCEPT:
            ioprio, operation_flags = ACCEPT_MULTISHOT * multishot, SOCK_CLOEXEC
        elif opcode == IORING_OP_POLL_ADD:
            length, operation_flags = POLL_ADD_MULTI * multishot, sqe.argument
        elif opcode == IORING_OP_ASYNC_CANCEL:
            operation_flags = CANCEL_ALL_OF_FD
        self._number += 1
        self._pending[self._number] = pending
        pending.predecessor, self._chained = self._chained, self._number if flags & IOSQE_CQE_SKIP_SUCCESS else 0
        SQE.pack_into(
            self._sqes.bytes, SQE.size * index, opcode, flags, ioprio, sqe.fd, 0, address, length, operation_flags,
            self._number, 0, 0, 0, 0, 0,
        )  # fmt: skip

    def _buffer(self, count: int) -> "ctypes.Array[ctypes.c_char]":
        spare = self._spare.get(count)
        return spare.pop() if spare else (ctypes.c_char * count)()

    # --- completions

    def reap(self, most: int) -> list[Cqe]:
        """The completions that are there, at most so many."""
        self._check_open()
        head = self._cq_head.value
        found = min(self._cq_tail.value - head & 0xFFFFFFFF, most)
        cqes = []
        for position in range(head, head + found):
            number, res, flags = CQE.unpack_from(self._rings.bytes, self._cqes + CQE.size * (position & self._cq_mask))
            cqes.append(self._completed(number, res, flags))
        self._cq_head.value = head + found
        return cqes

    def _completed(self, number: int, res: int, flags: int) -> Cqe:
        pending = self._pending[number]
        if not flags & IORING_CQE_F_MORE:
            del self._pending[number]
            self._forget_chain(number, pending, failed=res < 0 or res < len(pending.sqe.data))
        sqe, data = pending.sqe, b""
        if sqe.opcode == IORING_OP_RECV:
            if flags & IORING_CQE_F_BUFFER:
                assert self._provided is not None
                data = self._provided.content(flags >> 16, res)
            elif pending.buffer is not None:
                data = ctypes.string_at(pending.buffer, max(0, res))
                self._spare.setdefault(sqe.argument, []).append(pending.buffer)
        return Cqe(sqe.user_data, res, flags, data)

    def _forget_chain(self, number: int, pending: Pending, *, failed: bool) -> None:
        """No completions come of silent operations before this one, nor of those behind a silent one that failed."""
        while before := self._pending.pop(pending.predecessor, None):
            pending = before
        if failed:
            while (behind := self._pending.get(number + 1)) and behind.predecessor == number:
                number += 1
                del self._pending[number]

    # --- provided buffers, and the end

    def provide(self, buffers: int, buffer_bytes: int) -> None:
        """Register a buffer ring, all of its buffers empty. Raises OSError."""
        provided = Provided(buffers, buffer_bytes)
        try:
            provided.register(self.fd)
        except OSError:
            provided.unmap()
            raise
        self._provided = provided

    def give_back(self, number: int) -> None:
        """That provided buffer may be filled again."""
        assert self._provided is not None
        self._provided.add(number)

    def unmap(self) -> None:
        """The ring is closed. Its memory must not be touched again."""
        self._open = False
        for mapping in (self._rings, self._sqes, self._provided):
            if mapping is not None:
                mapping.unmap()


class Provided:
    """A ring of buffers that the kernel takes from (io_uring_setup_buf_ring(3)), of group 0."""

    def __init__(self, buffers: int, buffer_bytes: int) -> None:
        if buffers <= 0 or buffers & (buffers - 1) or buffers > 1 << 15 or buffer_bytes <= 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._mask = buffers - 1
        self._bytes = buffer_bytes
        self._ring = Mapping(BUFFER.size * buffers)
        self._memory = Mapping(buffers * buffer_bytes)
        self._tail = ctypes.c_uint16.from_address(self._ring.address + 14)
        for number in range(buffers):
            self.add(number)

    def register(self, ring_fd: int) -> None:
        """Raises OSError."""
        request = ctypes.create_string_buffer(struct.pack("<QIHH3Q", self._ring.address, self._mask + 1, 0, 0, 0, 0, 0))
        call(REGISTER, ring_fd, REGISTER_PBUF_RING, ctypes.addressof(request), 1)

    def add(self, number: int) -> None:
        """One more for the kernel to fill."""
        tail = self._tail.value
        place = BUFFER.size * (tail & self._mask)
        address = self._memory.address + number * self._bytes
        struct.pack_into("<QIH", self._ring.bytes, place, address, self._bytes, number)  # not the tail behind it
        self._tail.value = tail + 1

    def content(self, number: int, count: int) -> bytes:
        return ctypes.string_at(self._memory.address + number * self._bytes, count)

    def unmap(self) -> None:
        self._ring.unmap()
        self._memory.unmap()


def _set_up(entries: int, params: "ctypes.Array[ctypes.c_char]") -> int:
    try:
        return call(SETUP, entries, ctypes.addressof(params))
    except OSError as error:
        _explain(error)


def _explain(error: OSError) -> NoReturn:
    """A host that forbids io_uring says so in one line."""
    if error.errno in (errno.ENOSYS, errno.EPERM):
        text = "this host forbids io_uring (its kernel, kernel.io_uring_disabled, or a container's filter of calls)"
        raise OSError(error.errno, f"{os.strerror(error.errno)}: {text}") from None
    raise error
