"""Costs: nanoseconds per unit of kernel work, with provenance.

A simulated handler reports work (descriptors scanned, bytes copied, threads woken); a Costs table prices it. The same
simulation on another host is the same work under another table, so a calibrated host changes only a file.

A figure is one number, or *tiers*: [[objects, ns], …], the cost when so many sockets are alive. Between two tiers it is
interpolated in log(objects); outside it is constant. Tiers stand where a constant is wrong: sockets fall out of the
cache. The tiers of ``cold_ns`` and ``idle_exit_ns`` go by microseconds instead: how long the CPU was idle.
"""

import hashlib
import json
import math
import tomllib
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import Field, field_validator, model_validator

from iosim.checked import Checked
from iosim.costs_aio import AioCosts
from iosim.costs_ring import RingCosts
from iosim.costs_runtime import RuntimeCosts
from iosim.costs_signals import SignalCosts
from iosim.costs_sync import SyncCosts
from iosim.costs_udp import UdpCosts
from iosim.figures import GUEST, Cause, Figure, cost, delay


class Provenance(Checked):
    """Whose price list it is."""

    name: str = "default"
    host: str = Field("", description="where the figures were measured")
    date: str = Field("", description="when")
    sources: dict[str, str] = Field(default_factory=dict, description="figure → source, where it is not the default's")


class Costs(UdpCosts, RingCosts, AioCosts, SyncCosts, SignalCosts, RuntimeCosts, Provenance):
    """The price list. Every ``…_ns`` is nanoseconds per unit of work; frozen, validated, with a source per figure.

    Raises ValueError in one line that names the figure, what came and what is allowed.
    """

    # every call
    entry_ns: Figure = cost(225, "system", "entry", "enter and leave the kernel", GUEST)
    fcntl_ns: Figure = cost(20, "system", "control", "fcntl(2), above entry", "estimate: two loads and a lock")
    # sockets
    socket_ns: Figure = cost(
        1200, "system", "connection", "socket, bind, listen, connect: each, above entry", "estimate"
    )
    accept_ns: Figure = cost(
        5000, "system", "connection", "take a connection from the accept queue, make its file", GUEST
    )
    close_ns: Figure = cost(
        6000,
        "system",
        "connection",
        "close a connection: FIN, timers, memory; a tenth for other files",
        GUEST,
    )
    read_ns: Figure = cost(1100, "system", "network stack", "recv that finds data: lock, queue, acknowledge", GUEST)
    read_empty_ns: Figure = cost(200, "system", "network stack", "recv that finds nothing", GUEST + " (428 - 225)")
    read_byte_ns: Figure = cost(
        0.1, "system", "copy", "copy one byte to user space", "about 10 GB/s of copy_to_user on one core"
    )
    write_ns: Figure = cost(1300, "system", "network stack", "send of one message, down to the link", GUEST)
    write_full_ns: Figure = cost(250, "system", "network stack", "send that finds the buffer full", "as read_empty_ns")
    write_byte_ns: Figure = cost(0.1, "system", "copy", "copy one byte from user space", "as read_byte_ns")
    input_ns: Figure = cost(
        1800,
        "softirq",
        "protocol input",
        "TCP input of one message, on whoever's CPU it runs",
        GUEST + " (3435 less 225, 1300)",
    )
    # readiness
    select_scan_ns: Figure = cost(
        ((100, 65.0), (4000, 65.0), (8000, 540.0)),
        "system",
        "readiness scan",
        "select polls one descriptor",
        GUEST,
    )
    select_word_ns: Figure = cost(
        2.0,
        "system",
        "readiness scan",
        "select tests one 64-bit word of its bitmaps",
        GUEST + ": 1 of 1019, 889 ns",
    )
    select_base_ns: Figure = cost(150, "system", "readiness call", "select answers, above entry and scans", "estimate")
    poll_scan_ns: Figure = cost(
        ((100, 55.0), (4000, 82.0), (8000, 421.0)),
        "system",
        "readiness scan",
        "poll polls one descriptor",
        GUEST,
    )
    poll_copy_ns: Figure = cost(1.0, "system", "copy", "copy one pollfd in and its revents out", "8 and 2 bytes each")
    poll_base_ns: Figure = cost(150, "system", "readiness call", "poll, above entry and scans", "estimate")
    register_ns: Figure = cost(
        55,
        "system",
        "registration",
        "select, poll: add one wait-queue entry, before the sleep",
        GUEST + " (171 - 65, with its removal); about half of it",
    )
    unregister_ns: Figure = cost(
        50,
        "system",
        "registration",
        "select, poll: remove one wait-queue entry, before the call returns",
        "the rest of that",
    )
    epoll_wait_ns: Figure = cost(150, "system", "readiness call", "epoll_wait, above entry", GUEST)
    epoll_event_ns: Figure = cost(120, "system", "readiness scan", "epoll_wait polls and returns one ready item", GUEST)
    epoll_recheck_ns: Figure = cost(
        60,
        "system",
        "readiness scan",
        "epoll_wait polls a listed item that is not ready any more",
        "as poll_scan_ns",
    )
    epoll_add_ns: Figure = cost(1400, "system", "registration", "EPOLL_CTL_ADD, above entry", GUEST)
    epoll_mod_ns: Figure = cost(700, "system", "registration", "EPOLL_CTL_MOD, above entry", GUEST)
    epoll_del_ns: Figure = cost(950, "system", "registration", "EPOLL_CTL_DEL, above entry", GUEST)
    # waiting and waking
    wake_ns: Figure = cost(500, "system", "wake-up", "the waker's share: make one thread runnable", GUEST)
    sleep_ns: Figure = cost(300, "system", "wake-up", "the sleeper's share: queue itself, come back", "estimate")
    switch_ns: Figure = cost(
        1200, "switch", "context switch", "switch to another thread", GUEST + ": wake + switch 2600"
    )
    process_switch_ns: Figure = cost(
        400, "switch", "context switch", "more for a thread of another process (address space)", "estimate"
    )
    cold_ns: Figure = cost(
        0,
        "switch",
        "cold caches",
        "run on a CPU that was idle; tiers go by the microseconds that it was",
        "0: unknown for a server in C; `iosim calibrate` measures it",
    )
    idle_exit_ns: Figure = delay(
        25_000,
        "from a wake-up until an idle CPU runs the thread; tiers go by the microseconds that it was idle",
        GUEST + ": 29.6 µs in this guest, 2-5 µs on bare metal",
    )
    clone_ns: Figure = cost(15_000, "system", "threads", "clone a thread", GUEST + ": create + join 23,400")
    thread_exit_ns: Figure = cost(6_000, "system", "threads", "end a thread", GUEST)
    fork_ns: Figure = cost(120_000, "system", "threads", "fork a process", GUEST + ": fork + exit + wait 171,000")
    # the client's side, which is part of latency and not of the server's CPU time
    client_send_ns: Figure = delay(3_500, "from the planned time until the request is in the server's socket", GUEST)
    client_receive_ns: Figure = delay(4_500, "from the reply's arrival until the client has read it", GUEST)
    # memory, bytes
    socket_bytes: int = Field(3689, ge=0, description="kernel memory of one idle connection's endpoint")
    epoll_item_bytes: int = Field(205, ge=0, description="one epoll registration")
    thread_bytes: int = Field(43_008, ge=0, description="kernel stack, page tables, slab and own stack of one thread")
    process_bytes: int = Field(3_000_000, ge=0, description="unshared memory of one forked worker")

    @field_validator("*")
    @classmethod
    def _ascending(cls, value: Any) -> Any:
        if isinstance(value, tuple) and [n for n, _ in value] != sorted({n for n, _ in value}):
            raise ValueError("tiers with ascending numbers of objects")
        return value

    @model_validator(mode="after")
    def _known_sources(self) -> "Costs":
        unknown = [name for name in self.sources if name not in FIGURES and name not in Costs.model_fields]
        if unknown:
            raise ValueError(f"sources only of figures of the table, came {', '.join(unknown)}")
        return self

    def source_of(self, figure: str) -> str:
        """Where the figure comes from."""
        return self.sources.get(figure) or str(_extra(figure)["source"])

    def at(self, figure: str, objects: float = 1) -> float:
        """The figure in ns while ``objects`` sockets are alive."""
        value: Figure = getattr(self, figure)
        return _interpolate(value, objects) if isinstance(value, tuple) else value

    def scaled_to_zero(self) -> "Costs":
        """A machine whose every operation is free: what is left is the application's own work (a textbook queue)."""
        return Costs(name="free", **dict.fromkeys(FIGURES, 0))

    def under(self, runtime: str) -> "Costs":
        """The same host under another runtime: its figures in user mode, and whether it has an interpreter's lock.

        Raises ValueError in one line when the list does not know that runtime.
        """
        if runtime == self.runtime:
            return self
        if runtime == "c":
            return self.in_c()
        if runtime not in self.runtimes:
            known = ", ".join(dict.fromkeys([self.runtime, "c", *self.runtimes]))
            raise ValueError(
                f"--runtime {runtime}: the costs {self.name!r} know {known}; `iosim calibrate --output FILE` measures "
                "the runtimes of this host, for --costs FILE"
            )
        changed = {**self.runtimes[runtime], "runtime": runtime, "name": f"{self.name}-{runtime}"}
        return Costs(**{**self._values(), **changed})

    def in_c(self) -> "Costs":
        """The same host under a server written in C: the runtime's shares are zero."""
        return Costs(
            **{**self._values(), **dict.fromkeys(RUNTIME_FIGURES, 0), "runtime": "c", "name": f"{self.name}-c"}
        )

    @property
    def digest(self) -> str:
        """Ten hex digits that stand for every figure of the table."""
        figures = json.dumps({name: getattr(self, name) for name in ("runtime", *FIGURES, *MEMORY)}, sort_keys=True)
        return hashlib.sha256(figures.encode()).hexdigest()[:10]

    def to_toml(self) -> str:
        """The table as a file that ``load_costs`` reads."""
        return tomli_w.dumps({k: v for k, v in self._values().items() if v != {}})

    def _values(self) -> dict[str, Any]:
        return self.model_dump()


def _extra(figure: str) -> dict[str, Any]:
    extra = Costs.model_fields[figure].json_schema_extra
    assert isinstance(extra, dict)
    return extra


def _interpolate(tiers: tuple[tuple[float, float], ...], objects: float) -> float:
    below = tiers[0]
    for above in tiers:
        if objects <= above[0]:
            if above[0] <= below[0]:
                return above[1]
            share = math.log(objects / below[0]) / math.log(above[0] / below[0])
            return below[1] + share * (above[1] - below[1])
        below = above
    return below[1]


FIGURES: tuple[str, ...] = tuple(name for name in Costs.model_fields if name.endswith("_ns"))
"""Every price of the table, in order."""
MEMORY: tuple[str, ...] = tuple(name for name in Costs.model_fields if name.endswith("_bytes"))
IDLE_FIGURES = ("cold_ns", "idle_exit_ns")
"""Their tiers go by the time that a CPU was idle, in microseconds, not by sockets."""
CAUSES: dict[str, Cause] = {
    name: Cause(_extra(name)["owner"], _extra(name)["cause"]) for name in FIGURES if "owner" in _extra(name)
}
"""Who pays for each figure that costs CPU time (delays have no entry)."""
RUNTIME_FIGURES = tuple(name for name, cause in CAUSES.items() if cause.cause == "runtime")
"""What a runtime adds in user space; zero for C."""


def load_costs(costs: "Costs | str | Path | None" = None) -> Costs:
    """The table of that file; the default one for None or "default".

    Raises LookupError (no such file) and ValueError (broken file) in one line.
    """
    if isinstance(costs, Costs):
        return costs
    if costs is None or costs == "default":
        return Costs()
    path = Path(costs)
    try:
        text = path.read_text()
    except OSError as error:
        raise LookupError(f"costs file {path}: {error.strerror}; `iosim calibrate --output FILE` writes one") from None
    try:
        return Costs(**tomllib.loads(text))
    except (ValueError, TypeError) as error:
        raise ValueError(f"costs file {path}: {error}") from None
