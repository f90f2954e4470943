"""What a server costs that sleeps between requests: models on this host's kernel, on a CPU of their own.

The server is a forked process on the first CPU, driven as in ``iosim.real``; the clients are ``iosim.real.loop``, on
the last CPU, and never sleep. A hot loop (``iosim.primitives``) under-estimates such a server: while its CPU was idle,
others had its caches and branch predictors, the more the longer it was.
"""

import os
import signal
import socket
import statistics
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from iosim import programs
from iosim.load import Load
from iosim.real.asking import NEVER, plan
from iosim.real.census import Census
from iosim.real.driver import drive
from iosim.real.kernel import HOST, RealKernel
from iosim.real.loop import Loop
from iosim.real.meters import cpu_time_ns
from iosim.real.processes import die_with
from iosim.runtime_share import REQUEST
from iosim.syscalls import read, write

MS = 1_000_000
DRAIN_NS = 1000 * MS


@dataclass(frozen=True, kw_only=True)
class Served:
    """One measurement: per request, and per sleep."""

    requests: int
    cpu_ns: float
    """CPU time of the server per request."""
    sleeps: float
    """Voluntary context switches per request."""
    idle_ns: float
    """Mean time that the CPU was idle before a wake-up."""
    latency_ns: float
    """Median, from the planned time until the client has read the reply."""
    quick_ns: float
    """The lower decile of the same."""
    hiccups: int
    """How often the client's CPU was taken from it."""
    calls: dict[str, float]
    """System calls per request."""


class _Silence:
    """Clients that ask no more, and wait for what they have asked."""

    next_ns = NEVER

    def take(self) -> tuple[int, int, bytes]:
        raise AssertionError("nothing is planned")

    def answered(self, client: int, now_ns: int) -> None:
        pass


class Server:
    """A process that runs a model on one CPU, and connections to it. It is stopped while it is not measured."""

    def __init__(self, model: str, cpu: int, clients: int = 1) -> None:
        self.census = Census()
        self._sockets: list[socket.socket | None] = []
        program, parent = programs.find(model).server, os.getpid()
        with socket.socket() as listener:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            listener.bind((HOST, 0))
            listener.listen(clients)
            self._port = listener.getsockname()[1]
            self.pid = os.fork()
            if not self.pid:
                try:
                    die_with(parent)
                    os.sched_setaffinity(0, [cpu])
                    drive(RealKernel(self.census.new_row), program(listener.fileno()))
                finally:
                    os._exit(1)
        for _ in range(clients):
            self._sockets.append(self.connect())

    def connect(self) -> socket.socket:
        """One more connection, non-blocking."""
        made = socket.create_connection((HOST, self._port), timeout=1)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setblocking(False)
        return made

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        for each in self._sockets:
            assert each is not None
            each.close()
        self.census.close()

    def measure(self, load: Load) -> Served | None:
        """Serve ``load``, whose clients are this thread, from where it is pinned, for its duration after its
        warm-up. None when nothing was answered: other processes had the CPUs."""
        os.kill(self.pid, signal.SIGCONT)
        try:
            return self._measure(load)
        finally:
            os.kill(self.pid, signal.SIGSTOP)

    def _measure(self, load: Load) -> Served | None:
        clock = time.perf_counter_ns
        start_ns = clock()
        loop = Loop(self._sockets, plan(load, 1, start_ns), load.response_bytes)
        loop.run(start_ns + load.warmup_ns)
        calls, switches, cpu_ns, begin_ns = self.census.counts(), self._switches(), cpu_time_ns([self.pid]), clock()
        loop.start_measuring(begin_ns)
        loop.run(begin_ns + load.duration_ns)
        cpu_ns, elapsed_ns = cpu_time_ns([self.pid]) - cpu_ns, clock() - begin_ns
        sleeps, later, requests = self._switches() - switches, self.census.counts(), loop.replies
        loop.asking = _Silence()
        loop.run(clock() + DRAIN_NS)
        if loop.unanswered:
            raise RuntimeError("a server did not answer for a second: this host is too busy to be calibrated")
        if not requests or not loop.latencies_ns:
            return None
        return Served(
            requests=requests,
            cpu_ns=cpu_ns / requests,
            sleeps=sleeps / requests,
            idle_ns=max(0, elapsed_ns - cpu_ns) / max(1, sleeps),
            latency_ns=statistics.median(loop.latencies_ns),
            quick_ns=sorted(loop.latencies_ns)[len(loop.latencies_ns) // 10],
            hiccups=len(loop.hiccups_ns),
            calls={name: (count - calls.get(name, 0)) / requests for name, count in later.items()},
        )

    def _switches(self) -> int:
        """Voluntary context switches of the server, all threads (proc(5))."""
        total = 0
        for thread in os.listdir(f"/proc/{self.pid}/task"):
            with suppress(FileNotFoundError):  # it ended meanwhile
                text = Path(f"/proc/{self.pid}/task/{thread}/status").read_text()
                total += int(text.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
        return total


def on_one_cpu(requests: int) -> float:
    """CPU time of server and client per round trip when both share this thread's CPU: each request and each reply is a
    wake-up and a switch to the other process, and the CPU is never idle."""
    (cpu,) = os.sched_getaffinity(0)
    with Server("blocking", cpu, clients=0) as server, server.connect() as client:
        client.setblocking(True)
        fd, warm, before_ns = client.fileno(), requests // 10, 0

        async def ask() -> None:
            nonlocal before_ns
            for count in range(warm + requests):
                if count == warm:
                    before_ns = cpu_time_ns([server.pid, os.getpid()])
                await write(fd, REQUEST)
                await read(fd)

        drive(RealKernel(), ask())
        return (cpu_time_ns([server.pid, os.getpid()]) - before_ns) / requests
