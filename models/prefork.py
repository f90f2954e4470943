"""Worker processes on one listener, each with one connection at a time: the kernel wakes one sleeper per connection.

Kind: blocking. Manual pages: fork(2), accept(2), read(2), write(2). Timing-dependent calls: none.
Serves ``workers`` connections at once; further ones wait in the accept queue.
"""

from iosim.protocol import Conversation, respond, write_all
from iosim.syscalls import accept4, close, fork, read, wait


async def server(listener: int, *, workers: int = 8) -> None:
    for _ in range(workers):
        await fork(worker, listener)
    while True:
        await wait()
        await fork(worker, listener)


async def worker(listener: int) -> None:
    while True:
        await serve(await accept4(listener))


async def serve(conn: int) -> None:
    conversation = Conversation()
    while data := await read(conn):
        for request in conversation.requests(data):
            await write_all(conn, await respond(request))
    await close(conn)
