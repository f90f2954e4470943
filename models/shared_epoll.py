"""Many threads on one epoll(7) descriptor, ONESHOT: a socket is handed to one thread, and to no other until re-armed.

Kind: multiplexing. Manual pages: epoll(7) EPOLLONESHOT, pthread_create(3), accept4(2), read(2), write(2).
Timing-dependent calls: none.
"""

from iosim.protocol import Conversation, answer, send_some
from iosim.syscalls import EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLLIN, EPOLLONESHOT, EPOLLOUT, SOCK_NONBLOCK
from iosim.syscalls import accept4, clone, close, epoll_create, epoll_ctl, epoll_wait, read


async def server(listener: int, *, threads: int = 4) -> None:
    epoll = await epoll_create()
    await epoll_ctl(epoll, EPOLL_CTL_ADD, listener, EPOLLIN | EPOLLONESHOT)
    conversations: dict[int, Conversation] = {}
    for _ in range(threads - 1):
        await clone(serve, epoll, listener, conversations)
    await serve(epoll, listener, conversations)


async def serve(epoll: int, listener: int, conversations: dict[int, Conversation]) -> None:
    while True:
        [(fd, events)] = await epoll_wait(epoll, maxevents=1)
        if fd == listener:
            conversations[conn := await accept4(listener, SOCK_NONBLOCK)] = Conversation()
            await rearm(epoll, listener)
            await epoll_ctl(epoll, EPOLL_CTL_ADD, conn, EPOLLIN | EPOLLONESHOT)
        elif events & EPOLLOUT:
            await rearm(epoll, fd, await send_some(fd, conversations[fd]))
        elif data := await read(fd):
            await rearm(epoll, fd, await answer(fd, conversations[fd], data))
        else:
            del conversations[fd]
            await close(fd)


async def rearm(epoll: int, fd: int, sent: bool = True) -> None:
    await epoll_ctl(epoll, EPOLL_CTL_MOD, fd, (EPOLLIN if sent else EPOLLOUT) | EPOLLONESHOT)
