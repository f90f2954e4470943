"""What an operation of io_uring does: it is tried, waits for its file, is tried again, completes.

*Models*: nop, accept, recv, send (MSG_WAITALL), poll, close, cancel; multishot; links and silent successes.
"""

import errno

from iosim.sim.aio_calls import AioCalls
from iosim.sim.files import File, fail
from iosim.sim.ring import Operation, Uring, nonempty
from iosim.sim.sockets import Listener, Socket, Stream
from iosim.sim.thread import Thread
from iosim.sim.work import (
    URING_ARM,
    URING_BUFFER,
    URING_FIRST,
    URING_OP,
    URING_RECV,
    URING_SEND,
    URING_TASK,
)
from iosim.syscalls import (
    EPOLLERR,
    EPOLLHUP,
    EPOLLRDHUP,
    IORING_CQE_F_BUFFER,
    IORING_CQE_F_MORE,
    IORING_OP_ACCEPT,
    IORING_OP_ASYNC_CANCEL,
    IORING_OP_CLOSE,
    IORING_OP_NOP,
    IORING_OP_POLL_ADD,
    IORING_OP_RECV,
    IORING_OP_SEND,
    IOSQE_CQE_SKIP_SUCCESS,
    Cqe,
)


class RingOperations(AioCalls):
    """io_uring's operations."""

    def _start(self, operation: Operation) -> None:
        """io_submit_sqe: try it at once."""
        self.work += (URING_OP, 1)
        self._attempt(operation)

    def _run_task_work(self, uring: Uring) -> None:
        """An operation that was woken tries again; one behind another that has succeeded begins."""
        operation = uring.task_work.popleft()
        operation.queued = False
        self.work += (URING_TASK, 1)
        if operation.cancelled:
            self._complete(operation, -errno.ECANCELED)
        elif operation.file is None:
            self._start(operation)
        else:
            self._attempt(operation)

    def _attempt(self, operation: Operation) -> None:
        """io_issue_sqe: do it, or arm its poll."""
        uring = operation.ring
        if uring.cold:
            uring.cold = False
            self.work += (URING_FIRST, 1)
        try:
            if operation.file is None and operation.sqe.fd >= 0 and operation.sqe.opcode != IORING_OP_CLOSE:
                operation.file = self.thread.table.get(operation.sqe.fd)
                operation.file.references += 1
            res = self._perform(operation)
        except OSError as error:
            res = -(error.errno or errno.EIO)
        if res is None:
            self._arm_poll(operation)
        else:
            self._complete(operation, res)

    def _perform(self, operation: Operation) -> int | None:
        """What the system call of that name does; None for EAGAIN."""
        opcode, file, sqe = operation.sqe.opcode, operation.file, operation.sqe
        if opcode == IORING_OP_RECV:
            if type(file) is not Stream:
                raise fail(errno.ENOTCONN if isinstance(file, Socket | Listener) else errno.ENOTSOCK)
            return self._receive_many(operation, file) if sqe.multishot else self._receive_once(operation, file)
        if opcode == IORING_OP_SEND:
            if type(file) is not Stream:
                raise fail(errno.EPIPE if isinstance(file, Socket | Listener) else errno.ENOTSOCK)
            return self._send_all(operation, file)
        if opcode == IORING_OP_ACCEPT:
            return self._accept(operation, file)
        if opcode == IORING_OP_POLL_ADD:
            assert file is not None
            events = file.mask() & (sqe.argument | EPOLLERR | EPOLLHUP | EPOLLRDHUP)
            if not events or not sqe.multishot:
                return events or None
            self._post(operation.ring, Cqe(sqe.user_data, events, IORING_CQE_F_MORE))
            return None
        if opcode == IORING_OP_CLOSE:
            if isinstance(self.thread.table.get(sqe.fd), Uring):
                raise fail(errno.EBADF)
            self.close(sqe.fd)
            return 0
        if opcode == IORING_OP_ASYNC_CANCEL:
            assert file is not None
            return self._cancel_all(operation.ring, file)
        return 0 if opcode == IORING_OP_NOP else -errno.EINVAL

    def _receive_once(self, operation: Operation, stream: Stream) -> int | None:
        data = self.receive(stream, operation.sqe.argument, URING_RECV, operation.ring.submitter)
        if data is None:
            return None
        operation.data = data
        operation.flags = nonempty(stream)
        return len(data)

    def _receive_many(self, operation: Operation, stream: Stream) -> int | None:
        """Into one provided buffer after the other, until nothing is left to receive."""
        uring = operation.ring
        more = 1
        while more:
            if not uring.buffers:
                return -errno.ENOBUFS
            data = self.receive(stream, uring.buffer_bytes, URING_RECV, uring.submitter)
            if data is None:
                return None
            more = nonempty(stream)
            if not data:
                operation.flags = more
                return 0
            self.work += (URING_BUFFER, 1)
            flags = IORING_CQE_F_BUFFER | IORING_CQE_F_MORE | more | uring.buffers.popleft() << 16
            self._post(uring, Cqe(operation.sqe.user_data, len(data), flags, data))
        return None

    def _send_all(self, operation: Operation, stream: Stream) -> int | None:
        """MSG_WAITALL: what does not fit waits for room. The latency is that of the program's thread; the bytes leave
        when whoever runs this has done its work."""
        thread: Thread = self.thread
        writer: Thread = operation.ring.submitter
        data, before = operation.sqe.data, operation.done
        its_own = writer.departing
        writer.departing = None
        try:
            operation.done = self.transmit(stream, data, before, URING_SEND, writer)
        except OSError:
            if before:
                return before
            raise
        finally:
            departing, writer.departing = writer.departing, its_own
        if departing is not None:
            thread.departing = departing
        return operation.done if operation.done == len(data) else None

    def _accept(self, operation: Operation, listener: File | None) -> int | None:
        uring, table = operation.ring, self.thread.table
        if not isinstance(listener, Listener):
            raise fail(errno.EINVAL if isinstance(listener, Socket | Stream) else errno.ENOTSOCK)
        self.ledger.end_readiness_call(uring.submitter)
        while listener.accept_queue:
            conn = self.take_connection(table, listener, 0)
            if not operation.sqe.multishot:
                return conn
            self._post(uring, Cqe(operation.sqe.user_data, conn, IORING_CQE_F_MORE))
        return None

    def _cancel_all(self, uring: Uring, file: File) -> int:
        """io_async_cancel: every operation that waits for this file."""
        found = [operation for operation in uring.operations if operation.file is file]
        for operation in found:
            operation.disarm()
            operation.cancelled = True
            if not operation.queued:
                uring.add_task_work(operation)
        return len(found)

    def _arm_poll(self, operation: Operation) -> None:
        """io_arm_poll_handler; its price has the attempt in it that found nothing."""
        operation.ring.operations[operation] = None
        if not operation.armed:
            assert operation.file is not None
            self.work += (URING_ARM, 1)
            operation.armed = True
            operation.file.add_waiter(operation)

    def _complete(self, operation: Operation, res: int) -> None:
        """io_req_complete: let the file go, tell the program, begin or cancel what is linked behind it."""
        uring, sqe = operation.ring, operation.sqe
        self._let_go(operation)
        failed = res < 0 or (sqe.opcode == IORING_OP_SEND and res < len(sqe.data))
        told = failed or not sqe.flags & IOSQE_CQE_SKIP_SUCCESS
        if told:
            self._post(uring, Cqe(sqe.user_data, res, operation.flags, operation.data))
        following = operation.following
        if following is not None and not failed:
            uring.add_task_work(following)
            return
        while following is not None:
            if not sqe.flags & IOSQE_CQE_SKIP_SUCCESS:  # else the whole chain is silent (io_fail_links)
                self._post(uring, Cqe(following.sqe.user_data, -errno.ECANCELED, 0))
            following = following.following

    def _let_go(self, operation: Operation) -> None:
        """It waits no more, and holds its file no more."""
        operation.disarm()
        operation.ring.operations.pop(operation, None)
        file, operation.file = operation.file, None
        if file is not None:
            file.references -= 1
            if file.references == 0:
                self.release(file)

    def _post(self, uring: Uring, cqe: Cqe) -> None:
        runnable = self.scheduler.wakeups
        uring.post(cqe)
        self.pay_wakeups(runnable)
