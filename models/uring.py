"""One thread, io_uring(7): accept, recv and send are submitted, not called; one call submits a batch and waits.

Kind: asynchronous. Manual pages: io_uring(7), io_uring_setup(2), io_uring_enter(2).
Timing-dependent calls: io_uring_enter (how many completions one call returns).
"""

from iosim.protocol import Conversation, respond
from iosim.syscalls import IORING_OP_ACCEPT, IORING_OP_RECV, IORING_OP_SEND
from iosim.syscalls import IORING_SETUP_DEFER_TASKRUN, IORING_SETUP_SINGLE_ISSUER
from iosim.syscalls import close, io_uring_enter, io_uring_setup


async def server(listener: int, *, entries: int = 4096) -> None:
    ring = await io_uring_setup(entries, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN)
    ring.prep_accept(listener, (IORING_OP_ACCEPT, listener, None))
    while True:
        for (operation, fd, conversation), res, _flags, data in await io_uring_enter(ring, min_complete=1):
            if operation == IORING_OP_ACCEPT:
                ring.prep_recv(res, (IORING_OP_RECV, res, Conversation()))
                ring.prep_accept(listener, (IORING_OP_ACCEPT, listener, None))
            elif res <= 0:
                await close(fd)
            elif operation == IORING_OP_SEND:
                ring.prep_recv(fd, (IORING_OP_RECV, fd, conversation))
            elif requests := conversation.requests(data):
                reply = b"".join([await respond(request) for request in requests])
                ring.prep_send(fd, reply, (IORING_OP_SEND, fd, conversation))
            else:
                ring.prep_recv(fd, (IORING_OP_RECV, fd, conversation))
