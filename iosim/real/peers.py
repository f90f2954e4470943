"""Peers: stock servers of Python's event loops, to be measured as the models are.

A peer answers the same requests by the runtime's own means: a Protocol or a pair of streams of asyncio, on a selector
of the standard library, or uvloop. It is named by the model that it does the work of and by its runtime, so that
``epoll_loop`` under ``asyncio`` is what the simulation predicts with that runtime's figures.
*Does not know*: which system calls it makes. Its census has the connections only.
"""

import asyncio
import selectors
import socket
from collections.abc import Callable, MutableSequence
from importlib import import_module
from importlib.util import find_spec
from typing import cast

from iosim.protocol import HEADER, Conversation, response_of
from iosim.real.burn import burn
from iosim.syscalls import VOCABULARY

SELECTORS: dict[str, Callable[[], selectors.BaseSelector]] = {
    "epoll_loop": selectors.EpollSelector,
    "poll_loop": selectors.PollSelector,
    "select_loop": selectors.SelectSelector,
}
PEERS: dict[str, tuple[str, ...]] = {
    "asyncio": tuple(SELECTORS),
    "asyncio_streams": tuple(SELECTORS),
    "uvloop": ("epoll_loop",),
}
"""Runtime → the models that it has a peer of."""
BACKLOG = 4096
READ_BYTES = 65536


def check(runtime: str, model: str) -> None:
    """Raises ValueError (there is no such peer) or LookupError (its library is missing), in one line."""
    if runtime not in PEERS:
        raise ValueError(f"--runtime {runtime}: a real run knows cpython (the models themselves), {', '.join(PEERS)}")
    if model not in PEERS[runtime]:
        raise ValueError(f"--runtime {runtime}: it has no {model}; it does the work of {', '.join(PEERS[runtime])}")
    if missing(runtime):
        raise LookupError(f"--runtime {runtime}: this Python has no {runtime}; `pip install {runtime}`")


def missing(runtime: str) -> bool:
    """Is its library not installed?"""
    return find_spec(runtime.partition("_")[0]) is None


def serve(runtime: str, model: str, listener: int, census: MutableSequence[int]) -> None:
    """Answer whoever connects to that listening socket, for ever."""
    loop = new_loop(runtime, new_selector(model))
    asyncio.set_event_loop(loop)
    start(loop, runtime, socket.socket(fileno=listener), census)
    _count(census, "fcntl")  # the listener is non-blocking: the server has begun
    loop.run_forever()


def new_selector(model: str) -> selectors.BaseSelector:
    """The selector that makes the readiness calls of that model."""
    return SELECTORS[model]()


def new_loop(runtime: str, selector: selectors.BaseSelector | None) -> asyncio.AbstractEventLoop:
    """A loop of that runtime; uvloop has its own epoll."""
    if runtime == "uvloop":
        return cast(asyncio.AbstractEventLoop, import_module("uvloop").new_event_loop())
    return asyncio.SelectorEventLoop(selector)


def start(loop: asyncio.AbstractEventLoop, runtime: str, listener: socket.socket, census: MutableSequence[int]) -> None:
    """Listen."""
    if runtime == "asyncio_streams":
        loop.run_until_complete(asyncio.start_server(_Streams(census).converse, sock=listener, backlog=BACKLOG))
    else:
        loop.run_until_complete(loop.create_server(lambda: Answering(census), sock=listener, backlog=BACKLOG))


def answer(request: bytes) -> bytes:
    """What ``iosim.protocol.respond`` does, without a kernel to trap into."""
    _, response_bytes, work_ns = HEADER.unpack_from(request)
    if work_ns:
        burn(work_ns)
    return response_of(response_bytes)


class Answering(asyncio.Protocol):
    """One connection."""

    def __init__(self, census: MutableSequence[int]) -> None:
        self._census = census
        self._conversation = Conversation()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        _count(self._census, "accept4")

    def data_received(self, data: bytes) -> None:
        for request in self._conversation.requests(data):
            self._transport.write(answer(request))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  (asyncio's name)
        _count(self._census, "close")


class _Streams:
    """The same, as a coroutine per connection."""

    def __init__(self, census: MutableSequence[int]) -> None:
        self._census = census

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _count(self._census, "accept4")
        conversation = Conversation()
        while data := await reader.read(READ_BYTES):
            for request in conversation.requests(data):
                writer.write(answer(request))
            await writer.drain()
        writer.close()
        _count(self._census, "close")


def _count(census: MutableSequence[int], call: str) -> None:
    census[VOCABULARY.index(call)] += 1
