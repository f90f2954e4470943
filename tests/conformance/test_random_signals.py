"""Random lives of sockets that raise signals, played to both kernels: every event must raise the same ones.

The sequences are data, so that Hypothesis can shrink them. Left out, as in test_random_calls: what Linux decides by its
timers and buffers (a write that finds no room), a second life of a socket.
"""

import json
import tempfile
from dataclasses import dataclass, field
from errno import errorcode
from typing import IO, TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iosim.syscalls import (
    F_SETFL,
    F_SETOWN,
    F_SETSIG,
    O_ASYNC,
    O_NONBLOCK,
    RLIMIT_SIGPENDING,
    SIG_BLOCK,
    SIGIO,
    SIGRTMIN,
    SOCK_NONBLOCK,
    accept4,
    close,
    connect,
    fcntl,
    getpid,
    nanosleep,
    read,
    setrlimit,
    shutdown,
    sigprocmask,
    socket,
    write,
)
from tests.conformance.conftest import SIGNALS, run_in_child

if TYPE_CHECKING:
    from tests.conformance.conftest import World

Call = tuple[Any, ...]
SETTLE_NS = 2_000_000
DELAYED_ACK_NS = 50_000_000


@dataclass
class Player:
    """Plays calls in one world, and takes what is pending now and then. Sockets are named by their place in ``fds``."""

    world: "World"
    patient: bool
    fds: list[int] = field(default_factory=list)
    transcript: list[str] = field(default_factory=list)
    others: int = 0
    """Signals that other processes have queued, as long as we have none."""

    async def play(self, calls: list[Call], answers: IO[str]) -> None:
        """A listener and two connections, of which all raise signals; then the calls."""
        self.others = self.world.signals_of_others()
        await sigprocmask(SIG_BLOCK, SIGNALS)
        listener, address = await self.world.listener(flags=SOCK_NONBLOCK)
        self.fds.append(listener)
        for _ in range(2):
            client = await self.world.client(address)
            self.fds += [client, await accept4(listener, SOCK_NONBLOCK)]
        for fd in self.fds:
            await self.world.raise_signals(fd, flags=O_NONBLOCK)
        for name, *arguments in calls:
            try:
                answer = await getattr(self, name)(*arguments, address)
            except OSError as error:
                answer = errorcode[error.errno or 0]
            if self.patient:
                await nanosleep(DELAYED_ACK_NS if name in ("shutdown", "close") else SETTLE_NS)
            self.transcript.append(f"{name}{tuple(arguments)} -> {answer}")
        self.transcript.append(str(await self.take(address)))
        json.dump(self.transcript, answers)
        answers.flush()

    def fd(self, place: int) -> int:
        return self.fds[place % len(self.fds)]

    def name(self, fd: int) -> int:
        """The place of a descriptor; both kernels give the lowest free one."""
        if fd not in self.fds:
            self.fds.append(fd)
        return self.fds.index(fd)

    async def take(self, _address: Any) -> list[tuple[int, str, int]]:
        """What is pending; a plain SIGIO names no socket."""
        signals = await self.world.pending()
        return [(signo, f"#{self.fds.index(fd)}" if fd in self.fds else "none", band) for signo, fd, band in signals]

    async def limit(self, most: int, _address: Any) -> None:
        await setrlimit(RLIMIT_SIGPENDING, most + self.others)

    async def read(self, place: int, _address: Any) -> int:
        return len(await read(self.fd(place), 100))

    async def write(self, place: int, size: int, _address: Any) -> int:
        return await write(self.fd(place), bytes(size))

    async def shutdown(self, place: int, _address: Any) -> None:
        await shutdown(self.fd(place))

    async def close(self, place: int, _address: Any) -> None:
        if place % len(self.fds):
            await close(self.fd(place))

    async def call(self, signo: int, address: Any) -> None:
        """One connection more, whose caller raises signals or (0) does not."""
        fd = await socket(SOCK_NONBLOCK)
        self.name(fd)
        if signo:
            await self.world.raise_signals(fd, signo, O_NONBLOCK)
        await connect(fd, address)

    async def accept(self, _address: Any) -> int:
        return self.name(await accept4(self.fds[0], SOCK_NONBLOCK))

    async def flags(self, place: int, flags: int, _address: Any) -> None:
        await fcntl(self.fd(place), F_SETFL, flags | O_NONBLOCK)

    async def number(self, place: int, signo: int, _address: Any) -> None:
        await fcntl(self.fd(place), F_SETSIG, signo)

    async def owner(self, place: int, mine: bool, _address: Any) -> None:
        await fcntl(self.fd(place), F_SETOWN, await getpid() if mine else 0)


places = st.sampled_from([1, 2, 3, 4, 1, 2, 3, 4, *range(9)])
signos = st.sampled_from([SIGRTMIN, SIGRTMIN, SIGRTMIN + 1, SIGIO, 0])
NOTHING: Call = ()
"""What shrinking puts in the place of a call: a sequence is long from the start, or few would get anywhere."""
one_call = st.one_of(
    st.just(NOTHING),
    *[st.tuples(st.just("write"), places, st.sampled_from([0, 1, 100, 1000]))] * 4,
    *[st.tuples(st.just("read"), places)] * 2,
    st.tuples(st.just("take")),
    st.tuples(st.just("limit"), st.sampled_from([0, 1, 2, 3, 100])),
    st.tuples(st.just("shutdown"), places),
    st.tuples(st.just("close"), places),
    st.tuples(st.just("call"), signos),
    st.tuples(st.just("accept")),
    st.tuples(st.just("flags"), places, st.sampled_from([0, O_ASYNC, O_ASYNC])),
    st.tuples(st.just("number"), places, signos),
    st.tuples(st.just("owner"), places, st.booleans()),
)
sequences = st.lists(one_call, min_size=15, max_size=40).map(lambda calls: [call for call in calls if call])


@pytest.mark.real
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(calls=sequences)
def test_random_lives_raise_equal_signals(worlds: "dict[str, World]", calls: list[Call]) -> None:
    simulated = transcript(worlds["sim"], calls)
    real = transcript(worlds["real"], calls)
    if real != simulated:
        real = transcript(worlds["real"], calls, patient=True)
    assert "\n".join(simulated) == "\n".join(real)


def transcript(world: "World", calls: list[Call], patient: bool = False) -> list[str]:
    with tempfile.TemporaryFile("w+") as answers:
        program = Player(world, patient).play(calls, answers)
        if world.name == "real":
            run_in_child(world, program)
        else:
            world.run(program)
        answers.seek(0)
        return list(json.load(answers))
