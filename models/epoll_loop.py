"""One thread, epoll(7), level-triggered: the kernel keeps a ready list; a call costs what is ready, not what is open.

Kind: multiplexing. Manual pages: epoll(7), accept4(2), read(2), write(2).
Timing-dependent calls: epoll_wait (how many requests one call returns).
"""

from iosim.protocol import Conversation, respond, send_some
from iosim.syscalls import EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLLIN, EPOLLOUT, SOCK_NONBLOCK
from iosim.syscalls import accept4, close, epoll_create, epoll_ctl, epoll_wait, read


async def server(listener: int) -> None:
    epoll = await epoll_create()
    await epoll_ctl(epoll, EPOLL_CTL_ADD, listener, EPOLLIN)
    conversations: dict[int, Conversation] = {}
    while True:
        for fd, events in await epoll_wait(epoll):
            if fd == listener:
                conn = await accept4(listener, SOCK_NONBLOCK)
                await epoll_ctl(epoll, EPOLL_CTL_ADD, conn, EPOLLIN)
                conversations[conn] = Conversation()
            elif events & EPOLLOUT:
                if await send_some(fd, conversations[fd]):
                    await epoll_ctl(epoll, EPOLL_CTL_MOD, fd, EPOLLIN)
            elif data := await read(fd):
                conversation = conversations[fd]
                for request in conversation.requests(data):
                    conversation.unsent += await respond(request)
                if conversation.unsent and not await send_some(fd, conversation):
                    await epoll_ctl(epoll, EPOLL_CTL_MOD, fd, EPOLLOUT)
            else:
                del conversations[fd]
                await close(fd)
