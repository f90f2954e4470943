"""A bounded pool of threads and a queue of connections: a worker serves one connection to its end, others wait.

Kind: blocking. Manual pages: accept(2), pthread_create(3), futex(2), read(2), write(2).
Timing-dependent calls: futex_wait, futex_wake (a worker that does not sleep yet takes a connection without them).
Slow clients hold their worker: ``workers`` connections are served, ``queue`` wait here, others in the accept queue.
"""

from iosim.protocol import Conversation, respond, write_all
from iosim.queues import Queue
from iosim.syscalls import accept4, clone, close, read


async def server(listener: int, *, workers: int = 8, queue: int = 16) -> None:
    connections = Queue(queue)
    for _ in range(workers):
        await clone(worker, connections)
    while True:
        await connections.put(await accept4(listener))


async def worker(connections: Queue) -> None:
    while True:
        await serve(await connections.get())


async def serve(conn: int) -> None:
    conversation = Conversation()
    while data := await read(conn):
        for request in conversation.requests(data):
            await write_all(conn, await respond(request))
    await close(conn)
