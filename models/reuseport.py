"""An epoll loop and a listener per CPU, all on one port: no herd, but a hash deals out, to busy workers and idle ones.

Kind: multiplexing. Manual pages: socket(7) SO_REUSEPORT, sched_setaffinity(2), fork(2), epoll(7), accept4(2).
Timing-dependent calls: epoll_wait (how many requests one call returns). Workers are processes and share nothing.
"""

from iosim.protocol import Conversation, converse
from iosim.syscalls import EPOLL_CTL_ADD, EPOLLIN, SO_REUSEPORT, SOCK_NONBLOCK, SOL_SOCKET
from iosim.syscalls import accept4, bind, epoll_create, epoll_ctl, epoll_wait, fork, getsockname, listen
from iosim.syscalls import sched_getaffinity, sched_setaffinity, setsockopt, socket


async def server(listener: int, *, workers: int = 2) -> None:
    cpus = await sched_getaffinity()
    for number in range(1, workers):
        await setsockopt(another := await socket(), SOL_SOCKET, SO_REUSEPORT, 1)
        await bind(another, await getsockname(listener))
        await listen(another)
        await fork(worker, another, cpus[number % len(cpus)])
    await worker(listener, cpus[0])


async def worker(listener: int, cpu: int) -> None:
    await sched_setaffinity([cpu])
    epoll = await epoll_create()
    await epoll_ctl(epoll, EPOLL_CTL_ADD, listener, EPOLLIN)
    conversations: dict[int, Conversation] = {}
    while True:
        for fd, events in await epoll_wait(epoll):
            if fd == listener:
                conversations[conn := await accept4(listener, SOCK_NONBLOCK)] = Conversation()
                await epoll_ctl(epoll, EPOLL_CTL_ADD, conn, EPOLLIN)
            else:
                await converse(epoll, fd, events, conversations)
