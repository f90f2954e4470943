"""Random sequences of non-blocking calls, played to both kernels: the transcripts must be equal.

A sequence is data, so that Hypothesis can shrink it; a failure prints it, and ``@example(calls=[…])`` replays it.
Descriptors are named by the order in which their numbers were first seen: both kernels give the lowest free one.

Left out, because Linux itself answers by chance or by its buffers: amounts near a full buffer (a flood is compared by
what the reader counts), blocking calls, a second's wait (a dropped SYN comes again, TIME_WAIT ends), a socket that
connects to itself. Left out, because no server does it: an epoll descriptor in the interest list of another, a second
life of a socket whose connection has ended or was refused, shutdown before connect (ENOTCONN, but Linux remembers it).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from errno import ECONNREFUSED, ECONNRESET, ENOTCONN, EPIPE, errorcode
from typing import TYPE_CHECKING, Any
from zlib import crc32

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iosim.syscalls import (
    EPOLL_CTL_ADD,
    EPOLL_CTL_DEL,
    EPOLL_CTL_MOD,
    EPOLLET,
    EPOLLIN,
    EPOLLONESHOT,
    EPOLLOUT,
    EPOLLRDHUP,
    F_GETFL,
    O_NONBLOCK,
    POLLIN,
    POLLOUT,
    SOCK_NONBLOCK,
    Address,
    FdSet,
    PollFds,
    accept4,
    bind,
    close,
    connect,
    epoll_create,
    epoll_ctl,
    epoll_wait,
    fcntl,
    getsockname,
    listen,
    nanosleep,
    poll,
    read,
    select,
    shutdown,
    socket,
    write,
)

if TYPE_CHECKING:
    from tests.conformance.conftest import World

Call = tuple[Any, ...]
EVERYTHING = EPOLLIN | EPOLLOUT | EPOLLRDHUP
SETTLE_NS = 2_000_000
"""Linux delivers in the sender's call, but not while its softirq is overloaded."""
DELAYED_ACK_NS = 50_000_000
"""Who shuts down learns of it again when the peer acknowledges the FIN: at once, or up to 40 ms later."""
OVER = (ECONNREFUSED, ECONNRESET, ENOTCONN, EPIPE)
PATIENCE_MS = 2000


@dataclass
class Player:
    """Plays calls in one world. Every operation names its descriptors by their place in ``fds``."""

    world: "World"
    patient: bool = False
    fds: list[int] = field(default_factory=list)
    peers: dict[int, int] = field(default_factory=dict)
    bound: dict[int, Address] = field(default_factory=dict)
    streams: set[int] = field(default_factory=set)
    fresh: set[int] = field(default_factory=set)
    failed: set[int] = field(default_factory=set)
    epolls: set[int] = field(default_factory=set)
    transcript: list[str] = field(default_factory=list)
    written: int = 0

    async def play(self, calls: list[Call]) -> None:
        """A listener, an epoll descriptor and two connections to begin with; then the calls, each with its answer."""
        listener, address = await self.world.listener(flags=SOCK_NONBLOCK)
        self.bound[listener] = address
        self.fds.append(listener)
        await self.epoll_create()
        for _ in range(2):
            client = await self.world.client(address)
            conn = await accept4(listener, SOCK_NONBLOCK)
            await self.world.nonblocking(client)
            self.fds += [client, conn]
            self.peers.update({client: conn, conn: client})
            self.streams.update((client, conn))
        for name, *arguments in calls:
            operation: Callable[..., Awaitable[Any]] = getattr(self, name)
            try:
                answer = str(await operation(*arguments))
            except OSError as error:
                answer = errorcode[error.errno or 0]
                if error.errno in OVER and (fd := self.fd(arguments[0])) in self.streams:
                    self.failed.add(fd)
            self.transcript.append(f"{name}{tuple(arguments)} -> {answer}")
            if self.patient:
                await nanosleep(DELAYED_ACK_NS if name in ("shutdown", "close") else SETTLE_NS)

    def fd(self, place: int) -> int:
        """The descriptor of that name; it may be closed, or another file by now."""
        return self.fds[place % len(self.fds)]

    def name(self, fd: int) -> str:
        """The name of a descriptor that a call returned."""
        if fd not in self.fds:
            self.fds.append(fd)
        return f"#{self.fds.index(fd)}"

    def named(self, events: list[tuple[int, int]]) -> list[tuple[str, int]]:
        return [(self.name(fd), event) for fd, event in events]

    async def socket(self) -> str:
        fd = await socket(SOCK_NONBLOCK)
        self.fresh.add(fd)
        return self.name(fd)

    def address(self, place: int) -> Address | None:
        """The address of one of the sockets that were bound and are open."""
        addresses = list(self.bound.values())
        return addresses[place % len(addresses)] if addresses else None

    async def bind(self, place: int, other: int | None = None) -> str | None:
        """To a free port, or to that of another socket."""
        fd, address = self.fd(place), ("127.0.0.1", 0) if other is None else self.address(other)
        if address is None or fd in self.streams:
            return "left out"
        await bind(fd, address)
        self.bound[fd] = await getsockname(fd)
        return None

    async def listen(self, place: int, backlog: int) -> str | None:
        if self.fd(place) in self.failed:
            return "left out"
        await listen(self.fd(place), backlog)
        self.fresh.discard(self.fd(place))
        return None

    async def connect(self, place: int, other: int) -> str | None:
        fd, address = self.fd(place), self.address(other)
        if address is None or address == self.bound.get(fd) or fd in self.failed:
            return "left out"
        self.streams.add(fd)
        self.fresh.discard(fd)
        self.bound.pop(fd, None)
        await connect(fd, address)
        return None

    async def accept4(self, place: int) -> str:
        fd = await accept4(self.fd(place), SOCK_NONBLOCK)
        self.streams.add(fd)
        return self.name(fd)

    async def read(self, place: int, count: int) -> tuple[int, int]:
        data = await read(self.fd(place), count)
        return len(data), crc32(data)

    async def write(self, place: int, size: int) -> int:
        self.written += 1
        return await write(self.fd(place), bytes([self.written % 251]) * size)

    async def flood(self, place: int) -> str | tuple[int, bool, int]:
        """Write until EAGAIN, and let the peer read it all: what it had, whether all came, writable again?"""
        fd = self.fd(place)
        if fd not in self.peers:
            return "no peer"
        before = await self.drain(self.peers[fd])
        sent, received = await self.world.fill(fd), 0
        while received < sent and await self.world.ready(self.peers[fd], POLLIN, PATIENCE_MS):
            received += await self.drain(self.peers[fd])
        return before, received == sent, await self.world.ready(fd, POLLOUT, PATIENCE_MS)

    async def drain(self, fd: int) -> int:
        """Read until there is no more."""
        count = 0
        while True:
            try:
                data = await read(fd)
            except BlockingIOError:
                return count
            if not data:
                return count
            count += len(data)

    async def close(self, place: int) -> None:
        fd = self.fd(place)
        self.peers.pop(self.peers.pop(fd, -1), None)
        self.bound.pop(fd, None)
        for kind in (self.streams, self.fresh, self.failed, self.epolls):
            kind.discard(fd)
        await close(fd)

    async def shutdown(self, place: int) -> str | None:
        if self.fd(place) in self.fresh:
            return "left out"
        await shutdown(self.fd(place))
        return None

    async def fcntl(self, place: int) -> bool:
        return bool(await fcntl(self.fd(place), F_GETFL) & O_NONBLOCK)

    async def select(self, readers: list[int], writers: list[int]) -> list[list[str]]:
        readable, writable = await select(self.fd_set(readers), self.fd_set(writers), 0)
        return [[self.name(fd) for fd in ready] for ready in (readable, writable)]

    def fd_set(self, places: list[int]) -> FdSet:
        made = FdSet()
        for place in places:
            made.add(self.fd(place))
        return made

    async def poll(self, wanted: dict[int, int]) -> list[tuple[str, int]]:
        return self.named(await poll(PollFds({self.fd(place): events for place, events in wanted.items()}), 0))

    async def epoll_create(self) -> str:
        fd = await epoll_create()
        self.epolls.add(fd)
        return self.name(fd)

    async def epoll_ctl(self, epoll: int, operation: int, place: int, events: int) -> str | None:
        if self.fd(place) in self.epolls - {self.fd(epoll)}:
            return "left out"
        await epoll_ctl(self.fd(epoll), operation, self.fd(place), events)
        return None

    async def epoll_wait(self, epoll: int, maxevents: int) -> list[tuple[str, int]]:
        return self.named(await epoll_wait(self.fd(epoll), maxevents, 0))


ends = [2, 3, 4, 5]  # of the two connections
places = st.sampled_from([*ends, *ends, *range(12)])
newer = st.sampled_from([6, 7, 8, *range(12)])  # mostly one that the sequence made
epolls = st.sampled_from([1] * 12 + [0, 2, 6, 7])  # mostly the one that is there from the start
poll_events = st.sampled_from([0, POLLIN, POLLOUT, POLLIN | POLLOUT])
epoll_events = st.builds(
    int.__or__,
    st.sampled_from([EPOLLIN, EPOLLOUT, EPOLLIN | EPOLLOUT, EVERYTHING, EPOLLIN | EPOLLRDHUP, 0]),
    st.sampled_from([0, 0, EPOLLET, EPOLLONESHOT, EPOLLET | EPOLLONESHOT]),
)
operations = st.sampled_from([EPOLL_CTL_ADD, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL])
NOTHING: Call = ()
"""What shrinking puts in the place of a call: a sequence is long from the start, or few would get anywhere."""
epoll_ctl_call = st.tuples(st.just("epoll_ctl"), epolls, operations, places, epoll_events)
epoll_wait_call = st.tuples(st.just("epoll_wait"), epolls, st.sampled_from([1, 2, 64]))
one_call = st.one_of(
    st.just(NOTHING),
    st.tuples(st.just("socket")),
    st.tuples(st.just("bind"), newer),
    st.tuples(st.just("bind"), newer, places),
    st.tuples(st.just("listen"), newer, st.sampled_from([0, 1, 16])),
    st.tuples(st.just("connect"), newer, places),
    st.tuples(st.just("accept4"), places),
    st.tuples(st.just("read"), places, st.sampled_from([0, 1, 100, 65536])),
    st.tuples(st.just("write"), places, st.sampled_from([0, 1, 100, 1000])),
    st.tuples(st.just("flood"), places),
    st.tuples(st.just("close"), places),
    st.tuples(st.just("shutdown"), places),
    st.tuples(st.just("fcntl"), places),
    st.tuples(st.just("select"), st.lists(places, max_size=4), st.lists(places, max_size=4)),
    st.tuples(st.just("poll"), st.dictionaries(places, poll_events, max_size=4)),
    st.tuples(st.just("epoll_create")),
    *[epoll_ctl_call] * 3,
    *[epoll_wait_call] * 5,
)
sequences = st.lists(one_call, min_size=25, max_size=60).map(lambda calls: [call for call in calls if call])


@pytest.mark.real
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(calls=sequences)
def test_random_calls_get_equal_answers(worlds: "dict[str, World]", calls: list[Call]) -> None:
    simulated = transcript(worlds["sim"], calls)
    real = transcript(worlds["real"], calls)
    if real != simulated:
        real = transcript(worlds["real"], calls, patient=True)
    assert "\n".join(simulated) == "\n".join(real)


def transcript(world: "World", calls: list[Call], patient: bool = False) -> list[str]:
    player = Player(world, patient)
    world.run(player.play(calls))
    return player.transcript
