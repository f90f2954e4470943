"""One thread, Linux AIO: one-shot polls, begun in batches by one call per turn and reaped in batches by another.

Kind: asynchronous. Manual pages: io_setup(2), io_submit(2), io_getevents(2), accept4(2), read(2), write(2).
Timing-dependent calls: io_submit, io_getevents (how many requests share a turn).
"""

from iosim.protocol import Conversation, answer, send_some
from iosim.syscalls import IOCB_CMD_POLL, POLLIN, POLLOUT, SOCK_NONBLOCK, Iocb
from iosim.syscalls import accept4, close, io_getevents, io_setup, io_submit, read


async def server(listener: int, *, nr_events: int = 16384) -> None:
    context = await io_setup(nr_events)
    conversations: dict[int, Conversation] = {}
    polls = [Iocb(IOCB_CMD_POLL, listener, POLLIN)]
    while True:
        await io_submit(context, polls)
        polls = []
        for fd, events in await io_getevents(context):
            wanted = POLLIN
            if fd == listener:
                conn = await accept4(listener, SOCK_NONBLOCK)
                conversations[conn] = Conversation()
                polls.append(Iocb(IOCB_CMD_POLL, conn, POLLIN))
            elif events & POLLOUT:
                if not await send_some(fd, conversations[fd]):
                    wanted = POLLOUT
            elif data := await read(fd):
                if not await answer(fd, conversations[fd], data):
                    wanted = POLLOUT
            else:
                del conversations[fd]
                await close(fd)
                continue
            polls.append(Iocb(IOCB_CMD_POLL, fd, wanted))
