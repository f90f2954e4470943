"""Worker processes on one listener, each with an epoll(7) of its own: a connection stays with the worker that took it.

Kind: multiplexing. Manual pages: fork(2), epoll(7) EPOLLEXCLUSIVE, accept4(2), read(2), write(2).
Timing-dependent calls: epoll_wait, accept4 (who is woken for a connection that another takes asks in vain).
With ``exclusive=0`` a connection wakes all idle workers, with ``exclusive=1`` one: always the first that sleeps.
"""

from contextlib import suppress

from iosim.protocol import Conversation, converse
from iosim.syscalls import EPOLL_CTL_ADD, EPOLLEXCLUSIVE, EPOLLIN, F_SETFL, O_NONBLOCK
from iosim.syscalls import SOCK_NONBLOCK, accept4, epoll_create, epoll_ctl, epoll_wait, fcntl, fork, wait


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
            else:
                await converse(epoll, fd, events, conversations)
