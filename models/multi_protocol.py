"""One epoll loop for TCP on several ports and for UDP: to the loop they are descriptors, each with calls of its own.

Kind: multiplexing. Manual pages: epoll(7), accept4(2), read(2), write(2), udp(7), recvfrom(2), sendto(2).
Timing-dependent calls: epoll_wait (how many requests one call returns). UDP has the given listener's number, as DNS
has 53 twice; the other TCP ports are of the kernel's choice.
"""

from contextlib import suppress

from iosim.protocol import Conversation, converse, respond
from iosim.syscalls import EPOLL_CTL_ADD, EPOLLIN, SOCK_DGRAM, SOCK_NONBLOCK
from iosim.syscalls import accept4, bind, epoll_create, epoll_ctl, epoll_wait, getsockname, listen
from iosim.syscalls import recvfrom, sendto, socket


async def server(listener: int, *, ports: int = 2) -> None:
    await bind(datagrams := await socket(SOCK_DGRAM | SOCK_NONBLOCK), await getsockname(listener))
    listeners = [listener, *[await socket() for _ in range(1, ports)]]
    for fd in listeners[1:]:
        await listen(fd)
    epoll, conversations = await epoll_create(), dict[int, Conversation]()
    for fd in (datagrams, *listeners):
        await epoll_ctl(epoll, EPOLL_CTL_ADD, fd, EPOLLIN)
    while True:
        for fd, events in await epoll_wait(epoll):
            if fd == datagrams:
                with suppress(BlockingIOError):
                    request, client = await recvfrom(fd)
                    await sendto(fd, await respond(request), client)
            elif fd in listeners:
                conversations[conn := await accept4(fd, SOCK_NONBLOCK)] = Conversation()
                await epoll_ctl(epoll, EPOLL_CTL_ADD, conn, EPOLLIN)
            else:
                await converse(epoll, fd, events, conversations)
