"""Feeding: a server and its clients in one thread, in turns, so that the server's share is measured alone and hot.

Before the server's loop waits, its clients take the replies and ask again, so many at a time; the time of that is taken
off. It is a process of its own, as small as a server's: asyncio reads into 256 KiB, which the C library maps and
unmaps each time, as long as the process has never freed so large a piece (measured: half of what a request costs).
What is read and written is said in ``iosim.real.processes``: the spec has ``runtime`` ("" for a model under the
driver), ``model`` (path), ``batch``, ``idle`` and ``cpu``; the answer is one line with ``turn_ns``, ``framing_ns``
(taking a request apart, making its reply, in a peer) and ``call_ns`` (a read of /dev/zero without a driver).
"""

import asyncio
import gc
import os
import select
import selectors
import socket
import time
from contextlib import suppress

from iosim.protocol import Conversation, pack_request
from iosim.real.driver import drive
from iosim.real.kernel import HOST, RealKernel
from iosim.real.libc import libc
from iosim.real.peers import answer, new_loop, new_selector, start
from iosim.real.processes import die_with, read_spec, tell
from iosim.real.server import load
from iosim.syscalls import VOCABULARY, FdSet, PollFds

REQUEST = pack_request(64, 64, 0)
TURNS, WARM = 200, 20
"""Turns of a loop in one measurement, and those before it."""
CALLS = 500
M_MMAP_THRESHOLD = -3
MMAP_THRESHOLD_BYTES = 128 * 1024
"""mallopt(3): what a process begins with. A server keeps it; here the clients' own buffers would have raised it."""

clock = time.thread_time_ns


class Enough(Exception):
    """All turns are over."""


class Clients:
    """Connections to a listener of this thread, of which the first ``batch`` ask once a turn, ``idle`` others never."""

    def __init__(self, batch: int, idle: int) -> None:
        self.listener = socket.create_server((HOST, 0), backlog=batch + idle)
        self.listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sockets = [socket.create_connection(self.listener.getsockname()) for _ in range(batch + idle)]
        for each in self._sockets:
            each.setblocking(False)
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._asking = [each.fileno() for each in self._sockets[:batch]]
        self._waiting: list[int] = []
        self._accepted = False
        self._turns = -WARM
        self._begun_ns = self._fed_ns = 0
        self.turn_ns = 0.0

    def feed(self) -> bool:
        """Take the replies; when all are there, ask anew. True when it is enough."""
        begun_ns = clock()
        if not self._accepted:
            self._accepted = not select.select([self.listener], [], [], 0)[0]
            if not self._accepted:
                return False
        try:
            while self._waiting:
                os.read(self._waiting[-1], 4096)
                self._waiting.pop()
        except BlockingIOError:
            pass  # the server needs another turn of its loop
        else:
            self._turns += 1
            if self._turns == 1:
                self._begun_ns, self._fed_ns = begun_ns, 0
            elif self._turns > TURNS:
                self.turn_ns = (begun_ns - self._begun_ns - self._fed_ns) / TURNS
                return True
            for fd in self._asking:
                os.write(fd, REQUEST)
            self._waiting = list(self._asking)
        self._fed_ns += clock() - begun_ns
        return False


class Fed(RealKernel):
    """This host's kernel; before it waits, the clients act."""

    clients: Clients

    def epoll_wait(self, epoll: int, maxevents: int = 512, timeout_ms: int = -1) -> list[tuple[int, int]]:
        self._feed()
        return super().epoll_wait(epoll, maxevents, timeout_ms)

    def poll(self, fds: PollFds, timeout_ms: int = -1) -> list[tuple[int, int]]:
        self._feed()
        return super().poll(fds, timeout_ms)

    def select(self, readers: FdSet, writers: FdSet, timeout_ms: int = -1) -> tuple[list[int], list[int]]:
        self._feed()
        return super().select(readers, writers, timeout_ms)

    def _feed(self) -> None:
        if self.clients.feed():
            raise Enough


def model_turn(path: str, clients: Clients) -> None:
    """Turns of the loop of the model in that file."""
    kernel = Fed()
    kernel.clients = clients
    with suppress(Enough):
        drive(kernel, load(path)(clients.listener.fileno()))


def peer_turn(runtime: str, model: str, clients: Clients) -> None:
    """Turns of the loop of that peer."""
    loop = new_loop(runtime, None if runtime == "uvloop" else _fed_selector(model, clients))
    asyncio.set_event_loop(loop)

    def tick() -> None:  # uvloop lets nobody in before it waits, but calls this once a turn; its cost stays in the turn
        if clients.feed():
            loop.stop()
        else:
            loop.call_soon(tick)

    with suppress(Enough):
        start(loop, runtime, clients.listener, [0] * len(VOCABULARY))
        if runtime == "uvloop":
            loop.call_soon(tick)
        loop.run_forever()


def _fed_selector(model: str, clients: Clients) -> selectors.BaseSelector:
    """The selector of a peer; before it waits, the clients act."""
    selector = new_selector(model)
    inner = selector.select

    def feed_and_select(timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if clients.feed():
            raise Enough
        return inner(timeout)

    selector.select = feed_and_select  # type: ignore[method-assign]
    return selector


def framing_ns() -> float:
    """Taking one request apart and making its reply, in a peer."""
    conversation = Conversation()
    start_ns = clock()
    for _ in range(CALLS):
        for request in conversation.requests(REQUEST):
            answer(request)
    return (clock() - start_ns) / CALLS


def call_ns() -> float:
    """One read without a driver."""
    zero = os.open("/dev/zero", os.O_RDONLY)
    start_ns = clock()
    for _ in range(CALLS):
        os.read(zero, len(REQUEST))
    return (clock() - start_ns) / CALLS


def main() -> None:
    spec = read_spec()
    die_with(spec["parent"])
    os.sched_setaffinity(0, [spec["cpu"]])
    libc.malloc_trim(0)
    libc.mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES)
    clients = Clients(spec["batch"], spec["idle"])
    model = os.path.basename(spec["model"]).removesuffix(".py")
    gc.disable()
    if spec["runtime"]:
        peer_turn(spec["runtime"], model, clients)
    else:
        model_turn(spec["model"], clients)
    tell(turn_ns=clients.turn_ns, framing_ns=framing_ns(), call_ns=call_ns())
