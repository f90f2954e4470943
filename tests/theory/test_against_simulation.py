"""Theory and simulation know the same costs and nothing of each other: they must meet."""

from typing import Any

import pytest

from iosim.costs import Costs
from iosim.load import Load
from iosim.programs import find, workers_for
from iosim.run import run
from iosim.shapes import MODELS
from iosim.theory import predict

MS = 1_000_000
PYTHON = Costs(
    call_ns=750,
    event_ns=330,
    error_ns=1_200,
    select_call_ns=3_000,
    request_ns=950,
    cold_ns=((50.0, 1_000.0), (500.0, 4_000.0), (2_000.0, 9_000.0)),
    name="python",
)
"""About what a server written in Python pays."""
MULTIPLEXED = [model for model in MODELS if model != "blocking"]


def tolerance(model: str) -> float:
    """The stated range. A model that asks for ever meets its clients in step, which no mean value knows."""
    return 0.11 if model == "nonblocking" else 0.03


def both(model: str, costs: Costs, load: Load) -> tuple[Any, Any]:
    params = workers_for(find(model), load.clients)
    return predict(model, load, costs=costs, params=params), run(model, load, costs=costs, params=params)


@pytest.mark.parametrize("model", MULTIPLEXED)
@pytest.mark.parametrize("costs", [Costs(), PYTHON], ids=lambda costs: costs.name)
@pytest.mark.parametrize(("clients", "active"), [(10, 1.0), (100, 0.1), (300, 1.0)])
def test_saturation(model: str, costs: Costs, clients: int, active: float) -> None:
    load = Load(clients=clients, active=active, think_ns=0, duration_ns=30 * MS, warmup_ns=20 * MS)
    theory, sim = both(model, costs, load)
    assert theory.throughput_per_s == pytest.approx(sim.throughput_per_s, rel=tolerance(model))
    assert theory.cpu_ns_per_request == pytest.approx(sim.cpu_ns_per_request, rel=tolerance(model))


@pytest.mark.parametrize("model", MODELS)
def test_one_connection_is_bound_by_its_round_trip(model: str) -> None:
    theory, sim = both(model, PYTHON, Load(clients=1, think_ns=0, duration_ns=40 * MS, warmup_ns=10 * MS))
    assert theory.throughput_per_s == pytest.approx(sim.throughput_per_s, rel=tolerance(model))


@pytest.mark.parametrize("model", MODELS)
def test_a_client_quick_enough_catches_the_server_awake(model: str) -> None:
    costs = PYTHON.replace(sleep_ns=6_000, client_send_ns=2_000, client_receive_ns=3_000)
    theory, sim = both(model, costs, Load(clients=1, think_ns=0, duration_ns=40 * MS, warmup_ns=10 * MS))
    assert theory.throughput_per_s == pytest.approx(sim.throughput_per_s, rel=tolerance(model))
    assert sim.context_switches["voluntary"] < 100


@pytest.mark.parametrize("model", [model for model in MULTIPLEXED if model != "nonblocking"])
@pytest.mark.parametrize(("clients", "rate_per_s"), [(10, 2_000), (100, 15_000), (300, 2_000)])
def test_an_open_loop_below_saturation(model: str, clients: int, rate_per_s: float) -> None:
    load = Load(clients=clients, rate_per_s=rate_per_s, duration_ns=400 * MS)
    theory, sim = both(model, PYTHON, load)
    assert theory.cpu_ns_per_request == pytest.approx(sim.cpu_ns_per_request, rel=0.03)
    assert theory.p50_ns == pytest.approx(sim.latency_ns["p50"], rel=0.05)


def test_a_model_that_burns_meets_its_requests_half_way_round() -> None:
    load = Load(clients=200, rate_per_s=4_000, duration_ns=100 * MS, warmup_ns=10 * MS)
    theory, sim = both("nonblocking", PYTHON, load)
    assert theory.p50_ns == pytest.approx(sim.latency_ns["p50"], rel=0.15)
    assert theory.utilization == pytest.approx(1)


@pytest.mark.parametrize("model", ["poll_loop", "epoll_loop", "epoll_edge", "threads"])
def test_work_is_predicted_unit_by_unit(model: str) -> None:
    """Not only the sum: descriptors scanned, entries registered, events returned, reads in vain."""
    load = Load(clients=200, rate_per_s=3_000, duration_ns=500 * MS)
    theory, sim = both(model, PYTHON, load)
    for figure, units in theory.work.items():
        if units > 0.02 and getattr(PYTHON, figure):  # what is free is not counted
            assert units == pytest.approx(sim.work[figure] / sim.requests["completed"], rel=0.1), figure
