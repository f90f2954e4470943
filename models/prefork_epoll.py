"""Worker processes on one listener, each with an epoll(7) of its own: a connection stays with the worker that took it.

Kind: multiplexing. Manual pages: fork(2), epoll(7) EPOLLEXCLUSIVE, accept4(2), read(2), write(2).
Timing-dependent calls: epoll_wait, accept4 (who is woken for a connection that another takes asks in vain).
With ``exclusive=0`` a connection wakes all idle workers, with ``exclusive=1`` one: always the first that sleeps.
"""

from contextlib import suppress

from iosim.protocol import Conversation, answer, send_some
from iosim.syscalls import EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLLEXCLUSIVE, EPOLLIN, EPOLLOUT, F_SETFL, O_NONBLOCK
from iosim.syscalls import SOCK_NONBLOCK, accept4, close, epoll_create, epoll_ctl, epoll_wait, fcntl, fork, read, wait


async def server(listener: int, *, workers: int = 4, exclusive: int = 1) -> None:
    await fcntl(listener, F_SETFL, O_NONBLOCK)
    for _ in range(workers):
        await fork(worker, listener, exclusive)
    while await wait():
        await fork(worker, listener, exclusive)


async def worker(listener: int, exclusive: int) -> None:
    epoll = await epoll_create()
    await epoll_ctl(epoll, EPOLL_CTL_ADD, listener, EPOLLIN | (EPOLLEXCLUSIVE if exclusive else 0))
    conversations: dict[int, Conversation] = {}
    while True:
        for fd, events in await epoll_wait(epoll):
            if fd == listener:
                with suppress(BlockingIOError):
                    conversations[conn := await accept4(listener, SOCK_NONBLOCK)] = Conversation()
                    await epoll_ctl(epoll, EPOLL_CTL_ADD, conn, EPOLLIN)
            elif events & EPOLLOUT:
                if await send_some(fd, conversations[fd]):
                    await epoll_ctl(epoll, EPOLL_CTL_MOD, fd, EPOLLIN)
            elif data := await read(fd):
                if not await answer(fd, conversations[fd], data):
                    await epoll_ctl(epoll, EPOLL_CTL_MOD, fd, EPOLLOUT)
            else:
                del conversations[fd]
                await close(fd)
