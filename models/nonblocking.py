"""One thread that asks every socket in turn, ready or not: no call ever sleeps, and the CPU never rests.

Kind: non-blocking. Manual pages: fcntl(2) O_NONBLOCK, accept4(2), read(2), write(2).
Timing-dependent calls: accept4, read, write (how often each socket is asked in vain).
"""

from contextlib import suppress

from iosim.protocol import Conversation, respond, send_some
from iosim.syscalls import F_SETFL, O_NONBLOCK, SOCK_NONBLOCK, accept4, close, fcntl, read


async def server(listener: int) -> None:
    await fcntl(listener, F_SETFL, O_NONBLOCK)
    conversations: dict[int, Conversation] = {}
    while True:
        with suppress(BlockingIOError):
            conversations[await accept4(listener, SOCK_NONBLOCK)] = Conversation()
        for fd, conversation in list(conversations.items()):
            try:
                if conversation.unsent:
                    await send_some(fd, conversation)
                elif data := await read(fd):
                    for request in conversation.requests(data):
                        conversation.unsent += await respond(request)
                    if conversation.unsent:
                        await send_some(fd, conversation)
                else:
                    del conversations[fd]
                    await close(fd)
            except BlockingIOError:
                continue
