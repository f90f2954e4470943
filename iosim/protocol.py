"""What client and server say to each other, and the few helpers that every server program needs.

A request carries the work that it asks for, so that one seed gives both worlds the same workload, byte for byte:

    0       4        8         16            request_bytes
    | size  | reply  | work_ns | padding …   |          little-endian: uint32, uint32, uint64

``size`` is the length of the whole request, ``reply`` that of the response (zero bytes), ``work_ns`` the CPU time that
the application needs for it.
"""

import struct
from functools import lru_cache

from iosim.syscalls import EPOLL_CTL_MOD, EPOLLIN, EPOLLOUT, close, compute, epoll_ctl, read, write

HEADER = struct.Struct("<IIQ")
HEADER_BYTES = HEADER.size


@lru_cache(maxsize=1024)
def pack_request(request_bytes: int, response_bytes: int, work_ns: int) -> bytes:
    """One request of ``request_bytes`` (at least HEADER_BYTES)."""
    return HEADER.pack(request_bytes, response_bytes, work_ns).ljust(request_bytes, b"\0")


@lru_cache(maxsize=64)
def response_of(response_bytes: int) -> bytes:
    """The response of that length."""
    return bytes(response_bytes)


async def respond(request: bytes) -> bytes:
    """The application: do the work that the request asks for, give the reply that it asks for."""
    _, response_bytes, work_ns = HEADER.unpack_from(request)
    if work_ns:
        await compute(work_ns)
    return response_of(response_bytes)


async def write_all(fd: int, data: bytes) -> None:
    """Write everything to a blocking socket, as ``writen`` does: one call unless a signal cuts it short."""
    while (sent := await write(fd, data)) < len(data):
        data = data[sent:]


class Conversation:
    """What a server remembers of one connection: a request that is not whole yet, a reply that did not fit."""

    __slots__ = ("_partial", "unsent")

    def __init__(self) -> None:
        self._partial = b""
        self.unsent = b""

    def requests(self, data: bytes) -> list[bytes]:
        """The requests that ``data`` completes; what is left over waits for more."""
        if not self._partial and len(data) >= HEADER_BYTES and HEADER.unpack_from(data)[0] == len(data):
            return [data]  # nearly always: one read, one request
        data = self._partial + data
        whole = []
        while len(data) >= HEADER_BYTES and len(data) >= (size := HEADER.unpack_from(data)[0]):
            if size < HEADER_BYTES:
                raise ValueError(f"a request says it has {size} bytes; its header alone has {HEADER_BYTES}")
            whole.append(data[:size])
            data = data[size:]
        self._partial = data
        return whole


async def answer(fd: int, conversation: Conversation, data: bytes) -> bool:
    """Respond to the requests that ``data`` completes, and write what a non-blocking socket takes of the replies; True
    when nothing is left."""
    for request in conversation.requests(data):
        conversation.unsent += await respond(request)
    return not conversation.unsent or await send_some(fd, conversation)


async def send_some(fd: int, conversation: Conversation) -> bool:
    """Write what a non-blocking socket takes of the unsent replies; True when nothing is left."""
    try:
        sent = await write(fd, conversation.unsent)
    except BlockingIOError:
        return False
    conversation.unsent = conversation.unsent[sent:]
    return not conversation.unsent


async def converse(epoll: int, fd: int, events: int, conversations: dict[int, Conversation]) -> None:
    """What a level-triggered epoll loop does when a connection is ready: it sends on what waited for room, or reads and
    answers, and takes leave of who is gone. It asks for room only while a reply waits for some."""
    if events & EPOLLOUT:
        if await send_some(fd, conversations[fd]):
            await epoll_ctl(epoll, EPOLL_CTL_MOD, fd, EPOLLIN)
    elif data := await read(fd):
        if not await answer(fd, conversations[fd], data):
            await epoll_ctl(epoll, EPOLL_CTL_MOD, fd, EPOLLOUT)
    else:
        del conversations[fd]
        await close(fd)
