"""One thread, one connection at a time: both phases block, and while one socket blocks no other is served.

Kind: blocking. Manual pages: accept(2), read(2), write(2). Timing-dependent calls: none.
"""

from iosim.protocol import Conversation, respond, write_all
from iosim.syscalls import accept4, close, read


async def server(listener: int) -> None:
    while True:
        await serve(await accept4(listener))


async def serve(conn: int) -> None:
    conversation = Conversation()
    while data := await read(conn):
        for request in conversation.requests(data):
            await write_all(conn, await respond(request))
    await close(conn)
