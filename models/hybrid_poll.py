"""One thread, epoll(7), that asks ``spins`` times before it sleeps: it pays CPU time so as not to pay for waking up.

Kind: multiplexing. Manual pages: epoll(7), accept4(2), read(2), write(2).
Timing-dependent calls: epoll_wait (how often it asks in vain, and how many requests one call returns).
It buys the time that an idle CPU and a sleeping thread take to come back, as long as requests come within its spins.
"""

from iosim.protocol import Conversation, converse
from iosim.syscalls import EPOLL_CTL_ADD, EPOLLIN, SOCK_NONBLOCK, accept4, epoll_create, epoll_ctl, epoll_wait


async def server(listener: int, *, spins: int = 50) -> None:
    epoll = await epoll_create()
    await epoll_ctl(epoll, EPOLL_CTL_ADD, listener, EPOLLIN)
    conversations: dict[int, Conversation] = {}
    while True:
        for fd, events in await ask_then_wait(epoll, spins):
            if fd == listener:
                conversations[conn := await accept4(listener, SOCK_NONBLOCK)] = Conversation()
                await epoll_ctl(epoll, EPOLL_CTL_ADD, conn, EPOLLIN)
            else:
                await converse(epoll, fd, events, conversations)


async def ask_then_wait(epoll: int, spins: int) -> list[tuple[int, int]]:
    for _ in range(spins):
        if ready := await epoll_wait(epoll, timeout_ms=0):
            return ready
    return await epoll_wait(epoll)
