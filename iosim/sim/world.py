"""The simulated world put together: run a model under a load, or a program that needs no clients."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from simpy.core import EmptySchedule

from iosim.costs import Costs
from iosim.load import Load
from iosim.machine import Machine
from iosim.results import Run
from iosim.sim.clients import Clients
from iosim.sim.clock import Clock
from iosim.sim.core import Tracer
from iosim.sim.kernel import SimKernel
from iosim.sim.snapshot import Snapshot, run_of, snapshot
from iosim.sim.sockets import Listener, Socket
from iosim.sim.thread import Code
from iosim.sim.watchdog import Watchdog, quiet_collector
from iosim.syscalls import Program

PROGRESS_EVERY = 4096


def execute(program: Code, *, costs: Costs | None = None, machine: Machine | None = None) -> SimKernel:
    """Run a program that makes its own sockets to its end; the kernel as it left it.

    What the program raises comes out of here. Raises RuntimeError when it sleeps for ever.
    """
    clock = Clock()
    kernel = SimKernel(clock, costs or Costs(), machine or Machine())
    process = kernel.start_process(program)
    with Watchdog(kernel):
        try:
            while process.pid in kernel.processes:
                clock.step()
        except EmptySchedule:
            raise RuntimeError("the program sleeps for ever: nothing will wake it") from None
    return kernel


def simulate(
    model: str,
    program: Program,
    load: Load,
    *,
    seed: int = 1,
    costs: Costs,
    machine: Machine,
    params: Mapping[str, Any],
    reuse_port: bool = False,
    coalesce: bool = True,
    tracer: Tracer | None = None,
    progress: Callable[[float], None] | None = None,
) -> Run:
    """Run ``program(listener, **params)`` in a simulated kernel under this load. See ``iosim.run``.

    With ``reuse_port`` the listener was bound with SO_REUSEPORT: others may join its port.
    """
    began = time.perf_counter()
    world = World(program, load, seed, costs, machine, params, reuse_port, coalesce)
    world.kernel.tracer = tracer
    try:
        with quiet_collector(), Watchdog(world.kernel):
            world.run(progress)
    finally:
        world.kernel.close_programs()
    if not world.server_runs():
        signo = world.server.ended_by
        how = f"a signal that it does not block, {signo}, ended it" if signo else "the program returned or called exit"
        raise RuntimeError(f"{model}.py: {how}; a server runs until it is stopped")
    return run_of(
        world.before,
        world.after,
        world.kernel,
        wall_s=time.perf_counter() - began,
        digest=world.digest(),
        events=world.clock.handled,
        model=model,
        load=load,
        seed=seed,
        params=params,
    )


class World:
    """One server process, its listener, and the clients; and the books at both ends of the window."""

    def __init__(
        self,
        program: Program,
        load: Load,
        seed: int,
        costs: Costs,
        machine: Machine,
        params: Mapping[str, Any],
        reuse_port: bool,
        coalesce: bool,
    ) -> None:
        self.load = load
        self.clock = Clock(coalesce=coalesce)
        self.kernel = kernel = SimKernel(self.clock, costs, machine)
        self.before: Snapshot
        self.after: Snapshot
        table = kernel.new_table()
        socket = Socket(kernel.readable)
        socket.address = ("127.0.0.1", 80)
        socket.reuse_port = reuse_port
        listener = Listener(socket, machine.somaxconn)
        fd = table.install(listener)
        kernel.tcp.take(listener, 80)
        self.clients = Clients(kernel, listener, load, seed, self)
        self.before = snapshot(kernel)
        self.server = kernel.start_process(program(fd, **params), table)

    def run(self, progress: Callable[[float], None] | None = None) -> None:
        """Until the window is closed, and with a fixed number of requests until all is closed and quiet."""
        self.clients.start()
        clock = self.clock
        try:
            while not clock.stopped:
                clock.steps(PROGRESS_EVERY)
                if progress is not None:
                    progress(self._fraction())
                if not self.server_runs():
                    return
        except EmptySchedule:
            if not hasattr(self, "after"):
                self.window_closes()

    def server_runs(self) -> bool:
        """The process of the server is there."""
        return self.server.pid in self.kernel.processes

    def _fraction(self) -> float:
        if self.load.requests:
            return min(1.0, self.clients.asked / self.load.requests)
        began = self.clients.began
        return min(1.0, (self.clock.now - began) / self.load.end_ns) if began else 0.0

    def window_opens(self) -> None:
        self.before = snapshot(self.kernel)

    def window_closes(self) -> None:
        self.after = snapshot(self.kernel)

    def all_closed(self) -> None:
        self.clock.stop()

    def digest(self) -> str:
        """Equal for equal inputs and an equal seed, on any machine: every latency in order, all work, all calls."""
        ledger = self.kernel.ledger
        after = self.after
        facts = [ledger.issued, ledger.completed, ledger.dropped, ledger.failed, ledger.replies, after.now]
        books = [after.units, after.ns, after.idle_ns, after.voluntary, after.involuntary, after.wakeups]
        text = json.dumps([facts, books, self.kernel.census])
        return hashlib.sha256(ledger.close() + text.encode()).hexdigest()[:16]
