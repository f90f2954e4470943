"""One thread, io_uring(7), multishot: one accept and one recv per connection, submitted once, complete again and again.

Kind: asynchronous. Manual pages: io_uring(7), io_uring_enter(2), io_uring_setup(2), io_uring_register(2).
Timing-dependent calls: io_uring_enter (how many completions one call returns).
"""

from errno import ENOBUFS

from iosim.protocol import Conversation, respond
from iosim.syscalls import IORING_CQE_F_BUFFER, IORING_OP_ACCEPT, IORING_OP_RECV, IORING_OP_SEND
from iosim.syscalls import IORING_SETUP_DEFER_TASKRUN, IORING_SETUP_SINGLE_ISSUER
from iosim.syscalls import close, io_uring_enter, io_uring_register, io_uring_setup


async def server(listener: int, *, entries: int = 4096, buffers: int = 4096, buffer_bytes: int = 4096) -> None:
    ring = await io_uring_setup(entries, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN)
    await io_uring_register(ring, buffers, buffer_bytes)
    ring.prep_accept(listener, (IORING_OP_ACCEPT, listener, None), multishot=True)
    while True:
        for cqe in await io_uring_enter(ring, min_complete=1):
            operation, fd, conversation = cqe.user_data
            if operation == IORING_OP_ACCEPT:
                ring.prep_recv(cqe.res, (IORING_OP_RECV, cqe.res, Conversation()), multishot=True)
            elif operation == IORING_OP_SEND:
                conversation.unsent = conversation.unsent[cqe.res :] if cqe.res > 0 else b""
                if conversation.unsent:
                    ring.prep_send(fd, conversation.unsent, (IORING_OP_SEND, fd, conversation))
            elif cqe.flags & IORING_CQE_F_BUFFER:
                ring.give_back(cqe)
                sending = conversation.unsent
                for request in conversation.requests(cqe.data):
                    conversation.unsent += await respond(request)
                if conversation.unsent and not sending:
                    ring.prep_send(fd, conversation.unsent, (IORING_OP_SEND, fd, conversation))
            elif cqe.res == -ENOBUFS:
                ring.prep_recv(fd, (IORING_OP_RECV, fd, conversation), multishot=True)
            else:
                conversation.unsent = b""
                await close(fd)
