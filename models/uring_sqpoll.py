"""One thread and one of the kernel's, io_uring(7) SQPOLL: submitting is no system call, for a thread that burns a CPU.

Kind: asynchronous. Manual pages: io_uring(7), io_uring_setup(2), io_uring_enter(2).
Timing-dependent calls: io_uring_enter (it waits, and wakes the kernel's thread after ``sq_thread_idle_ms``).
Each reply is linked to the recv behind it, and tells of itself only if it fails. Wants a CPU more than other models.
"""

from iosim.protocol import Conversation, respond
from iosim.syscalls import IORING_OP_ACCEPT, IORING_OP_RECV, IORING_OP_SEND, IORING_SETUP_SQPOLL
from iosim.syscalls import IOSQE_CQE_SKIP_SUCCESS, IOSQE_IO_LINK, close, io_uring_enter, io_uring_setup


async def server(listener: int, *, entries: int = 4096, sq_thread_idle_ms: int = 1000) -> None:
    ring = await io_uring_setup(entries, IORING_SETUP_SQPOLL, sq_thread_idle_ms)
    ring.prep_accept(listener, (IORING_OP_ACCEPT, listener, None))
    while True:
        sleeps = ring.submit()
        there = [] if sleeps else ring.reap()
        for (operation, fd, conversation), res, _flags, data in there or await io_uring_enter(ring, min_complete=1):
            if operation == IORING_OP_ACCEPT:
                ring.prep_recv(res, (IORING_OP_RECV, res, Conversation()))
                ring.prep_accept(listener, (IORING_OP_ACCEPT, listener, None))
            elif operation == IORING_OP_SEND or res <= 0:
                await close(fd)
            else:
                if requests := conversation.requests(data):
                    reply = b"".join([await respond(request) for request in requests])
                    chained = IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS
                    ring.prep_send(fd, reply, (IORING_OP_SEND, fd, conversation), flags=chained)
                ring.prep_recv(fd, (IORING_OP_RECV, fd, conversation))
