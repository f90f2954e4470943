"""How many requests a second of processor time simulates: iosim, model by model, beside other simulators.

    python -m pytest tests/bench              once, quickly, so that nothing here rots (a part of the suite)
    python tests/bench/test_speed.py          the table of the README: best of several interleaved rounds, with ratios

No test asserts a time. Times are processor time of this process, because other work on the host would spoil wall time.
The peers are given the least that they can do: customers that come, wait for one server, are served, and leave. iosim
answers the same question with connections, system calls, a ready list, copies and a scheduler in between.
"""

import random
import sys
import time
from collections.abc import Callable, Generator
from contextlib import nullcontext
from functools import lru_cache, partial
from typing import Any
from unittest.mock import patch

import pytest
import simpy
from pytest_benchmark.fixture import BenchmarkFixture

from iosim.load import Load
from iosim.programs import find, names, workers_for
from iosim.run import run
from iosim.sim.clock import Clock

MS = 1_000_000
CUSTOMERS = 5000
RATE_PER_S = 50_000.0
ROUNDS = 5


# --- iosim


def main_load(requests: int, coalesce: bool = True) -> int:
    """``iosim run epoll_loop --clients 1000 --rate 50000``."""
    duration_ns = int(requests / RATE_PER_S * 1e9)
    load = Load(clients=1000, rate_per_s=RATE_PER_S, duration_ns=duration_ns, warmup_ns=0)
    return run("epoll_loop", load, coalesce=coalesce).requests["completed"]


def connections_of(model: str) -> tuple[int, dict[str, int]]:
    """As many connections as the model serves at once, up to 100."""
    connections = 1 if model == "blocking" else 100
    return connections, workers_for(find(model), connections)


@lru_cache
def saturation_per_s(model: str) -> float:
    """What it answers when every client asks again at once."""
    clients, params = connections_of(model)
    return run(model, Load(clients=clients, think_ns=0, duration_ns=10 * MS), params=params).throughput_per_s


def half_saturated(model: str, requests: int) -> int:
    """100 connections, and requests at half of the rate that the model can bear."""
    clients, params = connections_of(model)
    rate_per_s = saturation_per_s(model) / 2
    load = Load(clients=clients, rate_per_s=rate_per_s, duration_ns=int(requests / rate_per_s * 1e9), warmup_ns=0)
    return run(model, load, params=params).requests["completed"]


# --- others: M/M/1 at half load


def simpy_mm1(requests: int) -> int:
    """The way SimPy's own examples do it: a process per customer, and a Resource."""
    env = simpy.Environment()
    server = simpy.Resource(env)
    rng = random.Random(1)
    sojourns: list[float] = []

    def customer() -> Generator[simpy.Event, Any, None]:
        began = env.now
        with server.request() as turn:
            yield turn
            yield env.timeout(rng.expovariate(1.0))
        sojourns.append(env.now - began)

    def source() -> Generator[simpy.Event, Any, None]:
        for _ in range(requests):
            yield env.timeout(rng.expovariate(0.5))
            env.process(customer())

    env.process(source())
    env.run()
    return len(sojourns)


def ciw_mm1(requests: int) -> int:
    ciw = pytest.importorskip("ciw")
    network = ciw.create_network(
        arrival_distributions=[ciw.dists.Exponential(rate=0.5)],
        service_distributions=[ciw.dists.Exponential(rate=1.0)],
        number_of_servers=[1],
    )
    ciw.seed(1)
    simulation = ciw.Simulation(network)
    simulation.simulate_until_max_customers(requests)
    return len(simulation.get_all_records())


def asyncflow(requests: int) -> int:
    """asyncflow-sim: one server with one event loop, 10 us of CPU a request; it simulates 5 s at least."""
    pytest.importorskip("asyncflow", reason="asyncflow-sim is not installed (it needs Python 3.12 or later)")
    from asyncflow import AsyncFlow, SimulationRunner
    from asyncflow.components import Client, Edge, Endpoint, Server
    from asyncflow.settings import SimulationSettings
    from asyncflow.workload import RqsGenerator

    seconds = 5
    step = {"kind": "initial_parsing", "step_operation": {"cpu_time": 1e-5}}
    endpoint = Endpoint(endpoint_name="/echo", steps=[step])
    quick = {"mean": 1e-6, "distribution": "exponential"}
    ways = [("generator", "client"), ("client", "server"), ("server", "client")]
    payload = (
        AsyncFlow()
        .add_generator(
            RqsGenerator(
                id="generator",
                avg_active_users={"mean": requests / seconds},
                avg_request_per_minute_per_user={"mean": 60},
                user_sampling_window=1,
            )
        )
        .add_client(Client(id="client"))
        .add_servers(Server(id="server", server_resources={"cpu_cores": 1, "ram_mb": 1024}, endpoints=[endpoint]))
        .add_edges(*(Edge(id=f"{a}-{b}", source=a, target=b, latency=quick, dropout_rate=0) for a, b in ways))
        .add_simulation_settings(SimulationSettings(total_simulation_time=seconds, sample_period_s=0.1))
        .build_payload()
    )
    results = SimulationRunner(env=simpy.Environment(), simulation_input=payload).run()
    results.get_latency_stats()
    return len(results.latencies)


Workload = Callable[[int], int]
"""Given about how many requests to simulate, how many it simulated."""
WORKLOADS: dict[str, Workload] = {
    "iosim epoll_loop, 1000 clients": main_load,
    **{f"iosim {model}, half saturated": partial(half_saturated, model) for model in names()},
    "asyncflow-sim, one server": asyncflow,
    "SimPy, M/M/1": simpy_mm1,
    "Ciw, M/M/1": ciw_mm1,
}


@pytest.mark.benchmark(group="requests", timer=time.process_time)
@pytest.mark.parametrize("name", WORKLOADS)
def test_requests(name: str, benchmark: BenchmarkFixture) -> None:
    customers = 500 if "nonblocking" in name else CUSTOMERS
    WORKLOADS[name](10)  # imports, and where half of its saturation is
    done = benchmark.pedantic(WORKLOADS[name], args=(customers,), rounds=1)  # type: ignore[no-untyped-call]
    assert done > customers / 2
    if benchmark.stats is not None:  # None under --benchmark-disable
        benchmark.extra_info["requests_per_s"] = round(done / benchmark.stats.stats.min)


# --- the tricks that comments in iosim/sim refer to


@pytest.mark.benchmark(group="an event per burst", timer=time.process_time)
@pytest.mark.parametrize("coalesce", [True, False])
def test_coalescing(coalesce: bool, benchmark: BenchmarkFixture) -> None:
    benchmark.pedantic(main_load, args=(CUSTOMERS, coalesce), rounds=2)  # type: ignore[no-untyped-call]


def by_timeouts(events: int) -> float:
    env = simpy.Environment()
    for number in range(events):
        env.timeout(number).callbacks.append(lambda _event: None)
    env.run()
    return float(env.now)


def by_alarms(events: int) -> float:
    clock = Clock()
    for number in range(events):
        clock.call_at(number, lambda _alarm: None)
    for _ in range(events):
        clock.step()
    return clock.now


@pytest.mark.benchmark(group="a callback at a time", timer=time.process_time)
@pytest.mark.parametrize("way", [by_timeouts, by_alarms])
def test_alarms(way: Callable[[int], float], benchmark: BenchmarkFixture) -> None:
    assert benchmark.pedantic(way, args=(20_000,), rounds=2) == 19_999  # type: ignore[no-untyped-call]


@pytest.mark.benchmark(group="20,000 connections", timer=time.process_time)
@pytest.mark.parametrize("quiet", [True, False])
def test_collector(quiet: bool, benchmark: BenchmarkFixture) -> None:
    load = Load(clients=20_000, active=0.1, rate_per_s=RATE_PER_S, duration_ns=20 * MS, warmup_ns=0)
    with nullcontext() if quiet else patch("iosim.sim.world.quiet_collector", nullcontext):
        benchmark.pedantic(run, args=("epoll_loop", load), rounds=2)  # type: ignore[no-untyped-call]


# --- the table


def best_per_s(rounds: int) -> dict[str, float | None]:
    """Requests per second of processor time by workload, the best of some rounds; None for what is not installed."""
    best: dict[str, float | None] = dict.fromkeys(WORKLOADS)
    for _ in range(rounds):
        for name, workload in WORKLOADS.items():
            customers = 2000 if "nonblocking" in name else 10 * CUSTOMERS
            began_s = time.process_time()
            try:
                done = workload(customers)
            except pytest.skip.Exception:
                continue
            best[name] = max(best[name] or 0, done / (time.process_time() - began_s))
    return best


def main() -> None:
    best = best_per_s(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
    first = best["iosim epoll_loop, 1000 clients"] or 0
    print(f"{'':36}{'requests/s':>12}  epoll_loop is so many times as fast")
    for name, per_s in best.items():
        print(f"{name:36}" + (f"{per_s:12,.0f}{first / per_s:8.2f}" if per_s else "  not installed"))


if __name__ == "__main__":
    main()
