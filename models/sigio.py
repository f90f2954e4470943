"""One thread, signal-driven: every arrival queues a real-time signal that names its socket, while the queue has room.

Kind: signal-driven. Manual pages: fcntl(2) F_SETSIG, sigwaitinfo(2), signal(7), poll(2), accept4(2), read(2), write(2).
Timing-dependent calls: none. A full queue sends one plain SIGIO instead: signals are lost, and poll takes over.
"""

from contextlib import suppress

from iosim.protocol import Conversation, respond, send_some
from iosim.syscalls import F_SETFL, F_SETOWN, F_SETSIG, O_ASYNC, O_NONBLOCK, POLLIN, POLLOUT, SIG_BLOCK, SIGIO
from iosim.syscalls import SIGRTMIN, SOCK_NONBLOCK, PollFds, accept4, close, fcntl, getpid, poll, read
from iosim.syscalls import sigprocmask, sigtimedwait, sigwaitinfo


async def server(listener: int) -> None:
    conversations = {listener: Conversation()}
    await sigprocmask(SIG_BLOCK, (SIGIO, SIGRTMIN))
    await raise_signals(listener)
    while True:
        while ready := await poll(pollfds(conversations), 0):  # at first, and whenever signals were lost
            for fd, _events in ready:
                await serve(fd, listener, conversations)
        while (signal := await sigwaitinfo((SIGIO, SIGRTMIN))).signo == SIGRTMIN:
            await serve(signal.fd, listener, conversations)
        with suppress(BlockingIOError):
            while await sigtimedwait((SIGRTMIN,), 0):
                pass  # poll will find it


async def raise_signals(fd: int) -> None:
    await fcntl(fd, F_SETOWN, await getpid())
    await fcntl(fd, F_SETSIG, SIGRTMIN)
    await fcntl(fd, F_SETFL, O_ASYNC | O_NONBLOCK)


def pollfds(conversations: dict[int, Conversation]) -> PollFds:
    return PollFds({fd: POLLIN | POLLOUT if of.unsent else POLLIN for fd, of in conversations.items()})


async def serve(fd: int, listener: int, conversations: dict[int, Conversation]) -> None:
    try:
        if fd == listener:
            conn = await accept4(listener, SOCK_NONBLOCK)
            conversations[conn] = Conversation()
            await raise_signals(conn)
            await converse(conn, conversations, enough=1)  # what came before raised no signal
        elif fd in conversations:  # else closed: the signal is stale
            await converse(fd, conversations)
    except BlockingIOError:
        pass  # read already: the signal is stale


async def converse(fd: int, conversations: dict[int, Conversation], enough: int = 65536) -> None:
    conversation = conversations[fd]
    if conversation.unsent:
        await send_some(fd, conversation)
    while data := await read(fd):
        for request in conversation.requests(data):
            conversation.unsent += await respond(request)
        if conversation.unsent:
            await send_some(fd, conversation)
        if len(data) < enough:  # what comes behind it has a signal of its own
            return
    del conversations[fd]
    await close(fd)
