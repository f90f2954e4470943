"""One thread, select(2): every call hands over all descriptors, and the kernel looks at each of them, twice.

Kind: multiplexing. Manual pages: select(2), accept4(2), read(2), write(2). At most 1024 descriptors.
Timing-dependent calls: select (how many requests one call returns).
"""

from iosim.protocol import Conversation, respond, send_some
from iosim.syscalls import SOCK_NONBLOCK, FdSet, accept4, close, read, select


async def server(listener: int) -> None:
    readers, writers = FdSet(), FdSet()
    readers.add(listener)
    conversations: dict[int, Conversation] = {}
    while True:
        readable, writable = await select(readers, writers)
        for fd in readable:
            if fd == listener:
                conn = await accept4(listener, SOCK_NONBLOCK)
                readers.add(conn)
                conversations[conn] = Conversation()
            elif data := await read(fd):
                conversation = conversations[fd]
                for request in conversation.requests(data):
                    conversation.unsent += await respond(request)
                if conversation.unsent and not await send_some(fd, conversation):
                    readers.discard(fd)
                    writers.add(fd)
            else:
                readers.discard(fd)
                del conversations[fd]
                await close(fd)
        for fd in writable:
            if await send_some(fd, conversations[fd]):
                writers.discard(fd)
                readers.add(fd)
