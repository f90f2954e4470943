"""One thread, poll(2): as select, without its limit; every call hands over all descriptors and looks at each, twice.

Kind: multiplexing. Manual pages: poll(2), accept4(2), read(2), write(2).
Timing-dependent calls: poll (how many requests one call returns).
"""

from iosim.protocol import Conversation, respond, send_some
from iosim.syscalls import POLLIN, POLLOUT, SOCK_NONBLOCK, PollFds, accept4, close, poll, read


async def server(listener: int) -> None:
    fds = PollFds({listener: POLLIN})
    conversations: dict[int, Conversation] = {}
    while True:
        for fd, events in await poll(fds):
            if fd == listener:
                conn = await accept4(listener, SOCK_NONBLOCK)
                fds[conn] = POLLIN
                conversations[conn] = Conversation()
            elif events & POLLOUT:
                if await send_some(fd, conversations[fd]):
                    fds[fd] = POLLIN
            elif data := await read(fd):
                conversation = conversations[fd]
                for request in conversation.requests(data):
                    conversation.unsent += await respond(request)
                if conversation.unsent and not await send_some(fd, conversation):
                    fds[fd] = POLLOUT
            else:
                del fds[fd], conversations[fd]
                await close(fd)
