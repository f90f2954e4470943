"""What ``iosim study`` runs: models × connections × activity, under two loads, and what it leaves out and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from iosim.costs import Costs
from iosim.load import SECOND_NS, Load
from iosim.machine import Machine
from iosim.programs import find, workers_for
from iosim.shapes import MODELS
from iosim.theory import saturation

Kind = Literal["saturation", "steady"]
SELECT_CONNECTIONS = 1000
"""FD_SETSIZE less the listener and what a process has open anyway."""
PREFORK_CONNECTIONS = 128
STEADY_PER_S = 2_000.0
STEADY_UTILIZATION = 0.4
"""The steady rate is at most this share of what the slowest model carries in theory."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One model under one load."""

    model: str
    kind: Kind
    load: Load
    params: Mapping[str, Any]

    @property
    def label(self) -> str:
        return f"{self.model}, {self.load.clients} connections, {100 * self.load.active:.0f} % active, {self.kind}"


@dataclass(frozen=True, kw_only=True)
class Skip:
    """What was left out: ``where`` says which points, ``reason`` why."""

    model: str
    where: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The size of a study. ``measured`` are the (connections, activity, kind) that are run on real sockets, too; a
    model that knows none of them (``blocking``, in a quick study) is measured wherever it runs."""

    connections: tuple[int, ...]
    activities: tuple[float, ...]
    measured: tuple[tuple[int, float, Kind], ...]
    repeated: tuple[str, ...]
    """Models whose real points are measured twice (A/A pairs), which gives the noise floor."""
    sim_steady_ns: int
    sim_saturation_ns: int
    real_ns: int
    real_warmup_ns: int


MS = 1_000_000
FULL = Plan(
    connections=(1, 10, 100, 900),
    activities=(1.0, 0.1),
    measured=(
        (1, 1.0, "saturation"),
        (100, 1.0, "saturation"),
        (900, 1.0, "saturation"),
        (900, 0.1, "saturation"),
        (1, 1.0, "steady"),
        (10, 0.1, "steady"),
        (100, 0.1, "steady"),
        (900, 0.1, "steady"),
    ),
    repeated=MODELS,
    sim_steady_ns=1000 * MS,
    sim_saturation_ns=200 * MS,
    real_ns=600 * MS,
    real_warmup_ns=200 * MS,
)
QUICK = Plan(
    connections=(1, 10, 100),
    activities=(1.0, 0.1),
    measured=((100, 1.0, "saturation"), (100, 0.1, "steady")),
    repeated=("poll_loop", "epoll_loop"),
    sim_steady_ns=300 * MS,
    sim_saturation_ns=30 * MS,
    real_ns=300 * MS,
    real_warmup_ns=100 * MS,
)


def why_not(model: str, connections: int) -> str | None:
    """Why this model is not run with so many connections; None where it is."""
    if model == "blocking" and connections > 1:
        return "it serves one connection at a time: while that stays open, the others are never answered"
    if model == "prefork" and connections > PREFORK_CONNECTIONS:
        return f"it needs a process for every open connection: at most {PREFORK_CONNECTIONS} are tried"
    if model == "select_loop" and connections > SELECT_CONNECTIONS:
        return "select(2) knows 1024 descriptors, and not one more"
    return None


def grid(plan: Plan, rate_per_s: float, models: Sequence[str] = MODELS) -> tuple[list[Point], list[Skip]]:
    """All points of the plan, and what is left out. With one connection every activity is the same: it is run once."""
    points: list[Point] = []
    skips: list[Skip] = []
    for model in models:
        left_out: dict[str, list[int]] = {}
        for connections in plan.connections:
            if reason := why_not(model, connections):
                left_out.setdefault(reason, []).append(connections)
                continue
            params = workers_for(find(model), connections)
            for activity in plan.activities if connections > 1 else (1.0,):
                same = {"clients": connections, "active": activity}
                saturated = Load(**same, think_ns=0, duration_ns=plan.sim_saturation_ns, warmup_ns=20 * MS)
                # a model that asks for ever is dear to simulate, too
                steady_ns = plan.real_ns if model == "nonblocking" else plan.sim_steady_ns
                steady = Load(**same, rate_per_s=rate_per_s, duration_ns=steady_ns, warmup_ns=50 * MS)
                points.append(Point(model=model, kind="saturation", load=saturated, params=params))
                points.append(Point(model=model, kind="steady", load=steady, params=params))
        for reason, numbers in left_out.items():
            skips.append(Skip(model=model, where=f"{_listed(numbers)} connections", reason=reason))
    return points, skips


def steady_rate_per_s(plan: Plan, costs: Costs, models: Sequence[str] = MODELS) -> float:
    """A rate that every model can carry at every point of the plan: 2,000 requests/s, or 40 % of what the CPU of the
    slowest model allows in theory, where that is less; rounded down to two digits. (A single closed connection is bound
    by its round trip and not by the CPU, so it counts for ``blocking`` alone, by its CPU time.)"""
    allowed = STEADY_PER_S / STEADY_UTILIZATION
    for model in models:
        for connections in plan.connections:
            if why_not(model, connections) or (connections == 1 and model != "blocking"):
                continue
            load, params = Load(clients=connections), workers_for(find(model), connections)
            most = saturation(model, load, costs=costs, machine=Machine(), params=params)
            allowed = min(allowed, SECOND_NS / most.cpu_ns_per_request)
    digits = 10 ** (len(f"{allowed * STEADY_UTILIZATION:.0f}") - 2)
    return float(allowed * STEADY_UTILIZATION // digits * digits)


def measured_points(plan: Plan, points: Sequence[Point]) -> list[Point]:
    """Those that are run on real sockets, too."""
    planned = [p for p in points if (p.load.clients, p.load.active, p.kind) in plan.measured]
    known = {p.model for p in planned}
    return planned + [p for p in points if p.model not in known]


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:-1])) + (" and " if len(numbers) > 1 else "") + str(numbers[-1])
