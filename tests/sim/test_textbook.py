"""Where all is free but the application's work, a simulated server is a queue of the textbooks, with its means.

Each test runs independent replications (one seed each) and asks that the exact mean lies within the 99 % confidence
interval that they span (Student's t). The seeds are fixed, so a test passes always or never. The exact values are
worked out here or in iosim.queueing, which tests/theory holds against printed tables.
"""

import math
from collections.abc import Callable
from statistics import mean, stdev

import pytest
from scipy.stats import t

from iosim.costs import Costs
from iosim.load import Load
from iosim.machine import Machine
from iosim.queueing import closed, mmc
from iosim.results import Run
from iosim.run import run

FREE = Costs().scaled_to_zero()
US, MS = 1_000, 1_000_000
SERVICE_NS = 100 * US
REPLICATIONS = 10
CLIENTS = 200
"""Open loop: so many that nearly no client has two requests under way, which would share one thread."""
NEVER_NS = 10**12
"""A time slice that does not end."""


def sojourn_ns(result: Run) -> float:
    value = result.latency_ns["mean"]
    assert value is not None
    return value


def meets(exact: float, observe: Callable[[int], float], replications: int = REPLICATIONS) -> None:
    """The exact mean lies in the replications' 99 % confidence interval, which is narrow enough to say something."""
    values = [observe(seed) for seed in range(1, replications + 1)]
    half_width = t.ppf(0.995, replications - 1) * stdev(values) / math.sqrt(replications)
    found = mean(values)
    assert half_width < 0.1 * exact, f"{found:.0f} ± {half_width:.0f}: too wide to say anything of {exact:.0f}"
    assert abs(found - exact) <= half_width, f"exact {exact:.0f}, simulated {found:.0f} ± {half_width:.0f}"


def open_loop(
    rho: float, cpus: int = 1, work: str = "exponential", clients: int = CLIENTS, requests: int = 4000
) -> Load:
    rate_per_s = rho * cpus * 1e9 / SERVICE_NS
    return Load(
        clients=clients,
        rate_per_s=rate_per_s,
        work_ns=SERVICE_NS,
        work=work,
        warmup_ns=50 * MS,
        duration_ns=int(requests / rate_per_s * 1e9),
    )


# --- one server, by order of arrival


@pytest.mark.parametrize(("model", "rho"), [("epoll_loop", 0.3), ("epoll_loop", 0.7), ("epoll_edge", 0.6)])
def test_mm1(model: str, rho: float) -> None:
    """M/M/1: sojourn = S / (1 - rho)."""
    meets(SERVICE_NS / (1 - rho), lambda seed: sojourn_ns(run(model, open_loop(rho), costs=FREE, seed=seed)))


@pytest.mark.parametrize(("model", "rho"), [("epoll_loop", 0.5), ("epoll_loop", 0.7), ("blocking", 0.7)])
def test_md1(model: str, rho: float) -> None:
    """M/D/1: sojourn = S + rho S / (2 (1 - rho)). The blocking model has one client: requests queue in its socket."""
    load = open_loop(rho, work="constant", clients=1 if model == "blocking" else CLIENTS)
    exact = SERVICE_NS + rho * SERVICE_NS / (2 * (1 - rho))
    meets(exact, lambda seed: sojourn_ns(run(model, load, costs=FREE, seed=seed)))


@pytest.mark.parametrize("rho", [0.3, 0.7])
def test_the_cpu_is_busy_for_rho_of_the_time(rho: float) -> None:
    def utilization(seed: int) -> float:
        idle = run("epoll_loop", open_loop(rho), costs=FREE, seed=seed).cpu["idle"]
        assert idle is not None
        return 1 - idle

    meets(rho, utilization)


# --- several servers


@pytest.mark.parametrize(("cpus", "rho"), [(2, 0.7), (8, 0.8)])
def test_mmc(cpus: int, rho: float) -> None:
    """M/M/c: a thread per client on c CPUs, without an end to a slice. Erlang's C, by the sum of its definition."""
    offered = rho * cpus
    last = offered**cpus / math.factorial(cpus) / (1 - rho)
    waits = last / (sum(offered**k / math.factorial(k) for k in range(cpus)) + last)
    exact = SERVICE_NS + waits * SERVICE_NS / (cpus - offered)
    assert exact == pytest.approx(mmc(rho * cpus * 1e9 / SERVICE_NS, SERVICE_NS, cpus).sojourn_ns)
    machine = Machine(cpus=cpus, slice_ns=NEVER_NS)
    load = open_loop(rho, cpus, clients=1000)
    meets(exact, lambda seed: sojourn_ns(run("threads", load, costs=FREE, machine=machine, seed=seed)))


# --- processor sharing


@pytest.mark.parametrize("work", ["constant", "exponential"])
def test_processor_sharing_does_not_mind_how_work_is_distributed(work: str) -> None:
    """M/G/1-PS: sojourn = S / (1 - rho), whatever the distribution, when the slices are tiny."""
    rho = 0.6
    machine = Machine(slice_ns=5 * US)
    load = open_loop(rho, work=work, clients=500)
    meets(SERVICE_NS / (1 - rho), lambda seed: sojourn_ns(run("threads", load, costs=FREE, machine=machine, seed=seed)))


# --- a closed loop


def machine_repairman_sojourn_ns(clients: int, think_ns: float, service_ns: float) -> float:
    """From the balance equations of the Markov chain of the number in the queue, independent of the mean-value
    analysis of iosim.queueing: p(n+1) = p(n) (N - n) S / Z."""
    weights = [1.0]
    for n in range(clients):
        weights.append(weights[-1] * (clients - n) * service_ns / think_ns)
    total = sum(weights)
    in_queue = sum(n * weight for n, weight in enumerate(weights)) / total
    throughput = (1 - weights[0] / total) / service_ns
    return in_queue / throughput


@pytest.mark.parametrize(("clients", "think_ns"), [(1, 100 * US), (5, 300 * US), (20, 2000 * US)])
@pytest.mark.parametrize("model", ["epoll_loop", "threads"])
def test_machine_repairman(model: str, clients: int, think_ns: int) -> None:
    exact = machine_repairman_sojourn_ns(clients, think_ns, SERVICE_NS)
    assert exact == pytest.approx(closed(clients, think_ns, SERVICE_NS).sojourn_ns)
    load = Load(
        clients=clients,
        think_ns=think_ns,
        work_ns=SERVICE_NS,
        work="exponential",
        warmup_ns=50 * MS,
        duration_ns=400 * MS,
    )
    machine = Machine(slice_ns=NEVER_NS)
    meets(exact, lambda seed: sojourn_ns(run(model, load, costs=FREE, machine=machine, seed=seed)))
