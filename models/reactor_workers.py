"""One epoll(7) loop reads and writes, a pool of threads works: a request goes over by futex, and back by eventfd.

Kind: multiplexing. Manual pages: epoll(7) EPOLLONESHOT, futex(2), eventfd(2), pthread_create(3), read(2), write(2).
Timing-dependent calls: epoll_wait, read, futex_wait, futex_wake (replies share a look; who is awake needs no waking).
"""

from collections import deque

from iosim.protocol import Conversation, respond, send_some
from iosim.queues import Queue, eventfd_read, eventfd_write
from iosim.syscalls import EFD_NONBLOCK, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLLIN, EPOLLONESHOT, EPOLLOUT, SOCK_NONBLOCK
from iosim.syscalls import accept4, clone, close, epoll_create, epoll_ctl, epoll_wait, eventfd, read


async def server(listener: int, *, workers: int = 4, queue: int = 64) -> None:
    jobs, done, bell = Queue(queue), deque[tuple[int, Conversation]](), await eventfd(0, EFD_NONBLOCK)
    for _ in range(workers):
        await clone(worker, jobs, done, bell)
    epoll = await epoll_create()
    for fd in (listener, bell):
        await epoll_ctl(epoll, EPOLL_CTL_ADD, fd, EPOLLIN)
    conversations: dict[int, Conversation] = {}
    while True:
        for fd, events in await epoll_wait(epoll):
            if fd == listener:
                conversations[conn := await accept4(listener, SOCK_NONBLOCK)] = Conversation()
                await epoll_ctl(epoll, EPOLL_CTL_ADD, conn, EPOLLIN | EPOLLONESHOT)
            elif fd == bell:
                await eventfd_read(bell)
                while done:
                    await send(epoll, *done.popleft())
            elif events & EPOLLOUT:
                await send(epoll, fd, conversations[fd])
            elif data := await read(fd):
                await jobs.put((fd, conversations[fd], data))
            else:
                del conversations[fd]
                await close(fd)


async def send(epoll: int, fd: int, conversation: Conversation) -> None:
    sent = not conversation.unsent or await send_some(fd, conversation)
    await epoll_ctl(epoll, EPOLL_CTL_MOD, fd, (EPOLLIN if sent else EPOLLOUT) | EPOLLONESHOT)


async def worker(jobs: Queue, done: deque[tuple[int, Conversation]], bell: int) -> None:
    while True:
        fd, conversation, data = await jobs.get()
        for request in conversation.requests(data):
            conversation.unsent += await respond(request)
        done.append((fd, conversation))
        await eventfd_write(bell, 1)
