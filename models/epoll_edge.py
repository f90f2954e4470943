"""One thread, epoll(7), edge-triggered: an event tells of a change, so every socket is read until EAGAIN.

Kind: multiplexing. Manual pages: epoll(7) EPOLLET, accept4(2), read(2), write(2).
Timing-dependent calls: epoll_wait, accept4, read (what comes while the loop is busy shares calls).
"""

from contextlib import suppress

from iosim.protocol import Conversation, respond, send_some
from iosim.syscalls import EPOLL_CTL_ADD, EPOLLET, EPOLLIN, EPOLLOUT, F_SETFL, O_NONBLOCK, SOCK_NONBLOCK
from iosim.syscalls import accept4, close, epoll_create, epoll_ctl, epoll_wait, fcntl, read


async def server(listener: int) -> None:
    epoll = await epoll_create()
    await fcntl(listener, F_SETFL, O_NONBLOCK)
    await epoll_ctl(epoll, EPOLL_CTL_ADD, listener, EPOLLIN | EPOLLET)
    conversations: dict[int, Conversation] = {}
    while True:
        for fd, _events in await epoll_wait(epoll):
            with suppress(BlockingIOError):
                if fd == listener:
                    while conn := await accept4(listener, SOCK_NONBLOCK):
                        conversations[conn] = Conversation()
                        await epoll_ctl(epoll, EPOLL_CTL_ADD, conn, EPOLLIN | EPOLLOUT | EPOLLET)
                else:
                    await converse(fd, conversations)


async def converse(fd: int, conversations: dict[int, Conversation]) -> None:
    conversation = conversations[fd]
    if conversation.unsent:
        await send_some(fd, conversation)
    while data := await read(fd):
        for request in conversation.requests(data):
            conversation.unsent += await respond(request)
        if conversation.unsent:
            await send_some(fd, conversation)
    del conversations[fd]
    await close(fd)
