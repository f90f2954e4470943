"""glibc's aio(7): a helper thread sleeps in each read, and there are 20, so 20 idle clients stall all others.

Kind: asynchronous. Manual pages: aio(7), aio_read(3), aio_suspend(3), aio_error(3), aio_return(3), poll(2).
Timing-dependent calls: poll, aio_suspend, aio_error (how many requests share a turn, and which turns are in vain).
A listener cannot be read: who is at the door is noticed when some request is done, or after ``accept_ms``.
"""

from contextlib import suppress
from errno import EINPROGRESS

from iosim.protocol import Conversation, respond, write_all
from iosim.syscalls import POLLIN, Aiocb, PollFds
from iosim.syscalls import accept4, aio_error, aio_init, aio_read, aio_return, aio_suspend, close, poll


async def server(listener: int, *, aio_threads: int = 20, accept_ms: int = 10) -> None:
    await aio_init(aio_threads)
    door = PollFds({listener: POLLIN})
    conversations: dict[Aiocb, Conversation] = {}
    while True:
        while await poll(door, 0 if conversations else -1):
            reading = Aiocb(await accept4(listener), bytearray(4096))
            conversations[reading] = Conversation()
            await aio_read(reading)
        with suppress(BlockingIOError):  # the time is over
            await aio_suspend(list(conversations), accept_ms)
        for reading in list(conversations):  # which one? nobody says
            if await aio_error(reading) != EINPROGRESS:
                await converse(reading, conversations)


async def converse(reading: Aiocb, conversations: dict[Aiocb, Conversation]) -> None:
    if (count := await aio_return(reading)) > 0:
        for request in conversations[reading].requests(bytes(reading.buffer[:count])):
            await write_all(reading.fd, await respond(request))
        await aio_read(reading)
    else:
        del conversations[reading]
        await close(reading.fd)
