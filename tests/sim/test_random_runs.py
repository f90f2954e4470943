"""Random models under random loads on random machines: what must hold for every run.

A failing example prints the one command that replays it.
"""

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from iosim.costs import Costs
from iosim.load import Load
from iosim.machine import Machine
from iosim.programs import names
from iosim.results import Run
from iosim.run import run
from iosim.syscalls import VOCABULARY

PRICES = {"default": Costs(), "no idle exit": Costs(idle_exit_ns=0), "free": Costs().scaled_to_zero()}
UNANSWERED_BYTES = 2_000_000
"""An overloaded model may keep so much reply in its output buffers, which Python copies again and again."""
MS = 1_000_000


@dataclass(frozen=True)
class Case:
    """One run."""

    model: str
    load: dict[str, Any]
    machine: dict[str, Any]
    costs: str
    seed: int

    def run(self, **options: Any) -> Run:
        load, machine, costs = Load(**self.load), Machine(**self.machine), PRICES[self.costs]
        return run(self.model, load, machine=machine, costs=costs, seed=self.seed, **options)

    @property
    def replay(self) -> str:
        costs = {
            "default": "",
            "no idle exit": ", costs=Costs(idle_exit_ns=0)",
            "free": ", costs=Costs().scaled_to_zero()",
        }
        load, machine = (", ".join(f"{k}={v!r}" for k, v in part.items()) for part in (self.load, self.machine))
        call = f"run({self.model!r}, Load({load}), machine=Machine({machine}){costs[self.costs]}, seed={self.seed})"
        return f'python -c "from iosim import *; print({call})"'


@st.composite
def cases(draw: st.DrawFn) -> Case:
    def one_of(*values: Any) -> Any:
        return draw(st.sampled_from(values))

    model = one_of(*names())
    costs = "default" if model == "nonblocking" else one_of(*PRICES)  # asking for nothing would never end
    load = {
        "clients": one_of(1, 2, 5, 30),
        "active": one_of(1, 0.5, 0.1),
        "request_bytes": one_of(16, 64, 1000, 5000, 70_000),
        "response_bytes": one_of(1, 64, 5000, 70_000),
        "work_ns": one_of(0, 1000, 20_000, 300_000),
        "work": one_of("constant", "exponential"),
        "duration_ns": one_of(1, 3) * MS,
        "warmup_ns": one_of(0, MS // 2),
        "requests": one_of(None, None, 1, 10, 40),
    }
    if draw(st.booleans()):
        most_per_s = UNANSWERED_BYTES * 1e9 / (load["response_bytes"] * load["duration_ns"])
        rate_per_s = min(most_per_s, one_of(1000, 20_000, 100_000, 500_000))
        load |= {"rate_per_s": float(round(rate_per_s)), "arrivals": one_of("poisson", "constant")}
    else:
        least_ns = 5000 if costs == "free" else 0  # all free and at once would never end
        load |= {"think_ns": one_of(least_ns, 5000, MS // 10), "think": one_of("exponential", "constant")}
        load["think"] = "exponential" if costs == "free" else load["think"]
    machine = {
        "cpus": one_of(1, 2, 4),
        "slice_ns": one_of(1000, 3000, 20_000, 2_800_000),
        "network": one_of("loopback", "nic"),
        "irq_cpu": one_of(0, 1, 3),
        "latency_ns": one_of(0, 1000, 50_000),
        "bandwidth_bit_per_s": one_of(1e8, 1e9, 100e9),
        "somaxconn": one_of(4096, 4096, 4, 1),
        "receive_buffer_bytes": one_of(131_072, 5000, 2304),
        "send_buffer_bytes": one_of(65_536, 20_000, 4608),
    }
    return Case(model, load, machine, costs, seed=one_of(1, 2, 3))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cases())
def test_what_holds_for_every_run(case: Case) -> None:
    note(case.replay)
    coalesced = case.run()
    check_requests(coalesced)
    check_cpu(coalesced)
    check_latency(coalesced)
    returned: list[str] = []
    uncoalesced = case.run(coalesce=False, tracer=lambda _when_ns, _thread, call: returned.append(call[0]))
    assert uncoalesced.digest == coalesced.digest
    by_program = [name for name in returned if name in VOCABULARY]  # not by the threads of a library
    assert len(by_program) <= sum(uncoalesced.syscalls.values())  # some calls have not returned


def check_requests(result: Run) -> None:
    requests = dict(result.requests)
    assert min(requests.values()) >= 0
    assert requests.pop("issued") == sum(requests.values())
    limit = result.load["requests"]
    if limit and not result.requests["in_flight"] and not result.requests["dropped"]:
        assert result.requests["completed"] == limit


def check_cpu(result: Run) -> None:
    shares = [share for share in result.cpu.values() if share is not None]
    assert len(shares) == 5
    assert min(shares) >= 0
    assert sum(shares) == pytest.approx(1)
    assert result.cpu_causes_ns is not None
    computed_ns = result.cpu_causes_ns.get("compute", 0)
    everything_answered = result.load["requests"] and result.requests["completed"] == result.load["requests"]
    if everything_answered and result.load["work"] == "constant":
        assert computed_ns == result.load["requests"] * result.load["work_ns"]


def check_latency(result: Run) -> None:
    if result.latency_parts_ns is None:
        assert result.requests["completed"] == 0
        return
    mean_ns = result.latency_ns["mean"]
    assert mean_ns is not None
    assert min(result.latency_parts_ns.values()) >= 0
    assert sum(result.latency_parts_ns.values()) == pytest.approx(mean_ns)
    link_ns = 2 * result.machine["latency_ns"]
    assert result.latency_parts_ns["network"] >= link_ns
    if result.load["work"] == "constant":
        assert result.latency_parts_ns["compute"] >= result.load["work_ns"]
