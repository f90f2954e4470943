"""A connection is a row: what one takes of this host's memory, and what idle ones cost a simulated server.

python tests/bench/test_scale.py          the million connections of the README, in a process of its own
"""

import json
import subprocess
import sys

import pytest

from iosim.costs import Costs
from iosim.load import Load
from iosim.run import run

BYTES_PER_CONNECTION = 900
SCRIPT = """
import json, resource, sys
from iosim import Load, run
clients, active = int(sys.argv[1]), float(sys.argv[2])
result = run("epoll_loop", Load(clients=clients, active=active, rate_per_s=50_000, duration_ns=int(sys.argv[3])))
usage = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({
    "completed": result.requests["completed"],
    "cpu_ns_per_request": result.cpu_ns_per_request,
    "peak_bytes": usage.ru_maxrss * 1024,
    "cpu_s": usage.ru_utime + usage.ru_stime,
    "wall_s": result.wall_s,
}))
"""


def in_a_process(clients: int, active: float, duration_ns: int) -> dict[str, float]:
    """What a run took of a fresh interpreter."""
    arguments = [sys.executable, "-c", SCRIPT, str(clients), str(active), str(duration_ns)]
    told = subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=300)
    usage: dict[str, float] = json.loads(told.stdout)
    return usage


def test_memory_of_a_connection() -> None:
    few, many = (in_a_process(clients, 0.01, 20_000_000) for clients in (1000, 50_000))
    assert many["completed"] > 0
    each = (many["peak_bytes"] - few["peak_bytes"]) / (50_000 - 1000)
    assert each < BYTES_PER_CONNECTION


def cpu_ns(model: str, clients: int, costs: Costs) -> float:
    """CPU time of a request when one client asks and all others are idle."""
    load = Load(clients=clients, active=1 / clients, think_ns=1_000_000, requests=30)
    result = run(model, load, costs=costs.replace(client_receive_ns=100_000_000))
    assert result.cpu_ns_per_request is not None
    return result.cpu_ns_per_request


@pytest.mark.parametrize("model", ["epoll_loop", "epoll_edge", "threads"])
def test_idle_connections_cost_epoll_nothing(model: str) -> None:
    few, some, many = (cpu_ns(model, clients, Costs()) for clients in (1000, 10_000, 100_000))
    assert some == pytest.approx(few, rel=0.02)
    assert many == pytest.approx(few, rel=0.02)


def test_the_cost_of_poll_grows_linearly_with_them() -> None:
    """With a price per descriptor that is the same at any number: the line through two points predicts the third."""
    flat = Costs(poll_scan_ns=60)
    few, some, many = (cpu_ns("poll_loop", clients, flat) for clients in (1000, 10_000, 100_000))
    per_descriptor_ns = (some - few) / 9000
    assert many == pytest.approx(some + 90_000 * per_descriptor_ns, rel=1e-6)
    entry_ns = flat.at("register_ns") + flat.at("unregister_ns")
    assert per_descriptor_ns == pytest.approx(2 * 60 + entry_ns + flat.at("poll_copy_ns"), rel=1e-6)


def test_sockets_that_fall_out_of_the_cache_cost_poll_more() -> None:
    """The default table has tiers, so that 8 times the connections cost more than 8 times as much."""
    few, many = (cpu_ns("poll_loop", clients, Costs()) for clients in (1000, 8000))
    assert many > 12 * few


if __name__ == "__main__":
    for clients, active in ((1000, 1.0), (1_000_000, 0.01)):
        usage = in_a_process(clients, active, 1_000_000_000)
        print(
            f"{clients:9,} clients: {usage['cpu_s']:.1f} s of CPU time, {usage['wall_s']:.1f} s, "
            f"{usage['peak_bytes'] / 2**20:.0f} MiB, {usage['cpu_ns_per_request']:.0f} simulated ns per request"
        )
