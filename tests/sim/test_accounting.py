"""The books: requests, time of the CPUs and latencies add up, and obey the laws that hold for any system."""

import pytest

from iosim.costs import CAUSES, Costs
from iosim.load import Load
from iosim.machine import Machine
from iosim.programs import find, names, workers_for
from iosim.results import Run
from iosim.run import run
from iosim.sim.work import KIND_NAMES

MS = 1_000_000
MACHINES = {
    "one cpu": Machine(),
    "two cpus, tiny slices": Machine(cpus=2, slice_ns=5000),
    "nic": Machine(network="nic", latency_ns=20_000),
}


def mean_ns(result: Run) -> float:
    value = result.latency_ns["mean"]
    assert value is not None
    return value


def clients_of(model: str) -> int:
    return 1 if model == "blocking" else 20


def run_on(machine: str, model: str, load: Load) -> Run:
    return run(model, load, machine=MACHINES[machine], params=workers_for(find(model), load.clients))


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("model", names())
def test_littles_law_of_a_closed_loop(model: str, machine: str) -> None:
    """N = X (R + Z): every client either thinks or waits. N and Z are given, X is counted, R is measured, over a time
    long enough for the threads that are preempted with a request in hand (three time slices of latency)."""
    think_ns = 200_000
    load = Load(clients=clients_of(model), think_ns=think_ns, think="constant", work_ns=10_000, duration_ns=200 * MS)
    result = run_on(machine, model, load)
    cycle_ns = mean_ns(result) + think_ns
    assert result.throughput_per_s * cycle_ns / 1e9 == pytest.approx(load.clients, rel=0.01)


@pytest.mark.parametrize("model", [name for name in names() if name != "uring_sqpoll"])  # it sends without a call
def test_littles_law_counted_by_somebody_else(model: str) -> None:
    """A tracer that knows only calls counts the requests inside the write of their reply, from the end of the call that
    the thread made before; their mean number is their rate times the mean time that the ledger says they spent there.
    """
    inside_ns = 0
    returned: dict[object, int] = {}
    last: dict[object, str] = {}

    def trace(when_ns: int, thread: object, call: tuple[str, tuple[object, ...]]) -> None:
        nonlocal inside_ns
        if call[0] == "io_uring_enter":
            inside_ns += when_ns - returned[thread] if last[thread] == "compute" else 0
        elif call[0] == "write" and call[1][1] == bytes(load.response_bytes):
            inside_ns += when_ns - returned[thread]
        returned[thread], last[thread] = when_ns, call[0]

    load = Load(clients=1, think_ns=100_000, work_ns=20_000, requests=200)  # one at a time: no two are ever inside
    result = run(model, load, tracer=trace)
    assert result.latency_parts_ns is not None
    assert inside_ns / 200 == pytest.approx(result.latency_parts_ns["write"])


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("model", names())
def test_the_utilization_law(model: str, machine: str) -> None:
    """Of every CPU second, the application has throughput times work."""
    load = Load(clients=clients_of(model), think_ns=500_000, work_ns=20_000, duration_ns=50 * MS)
    result = run_on(machine, model, load)
    assert result.cpu_causes_ns is not None
    computed = result.cpu_causes_ns["compute"] / (load.duration_ns / 1e9)
    assert computed == pytest.approx(result.throughput_per_s * load.work_ns, rel=0.01)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("model", names())
def test_cpu_time_is_work_times_price(model: str, machine: str) -> None:
    load = Load(clients=clients_of(model), rate_per_s=5000, work_ns=5000, response_bytes=1000, duration_ns=20 * MS)
    result = run_on(machine, model, load)
    assert result.work is not None
    assert result.cpu_causes_ns is not None
    priced: dict[str, float] = {}
    for name, units in result.work.items():
        cause = "compute" if name == "compute" else CAUSES[name].cause
        price_ns = 1.0 if name == "compute" else Costs().at(name, load.clients)
        if price_ns:
            priced[cause] = priced.get(cause, 0) + units * price_ns
    assert priced == pytest.approx(dict(result.cpu_causes_ns), rel=0.01, abs=100)
    busy_ns = load.duration_ns * MACHINES[machine].cpus * (1 - (result.cpu["idle"] or 0))
    assert sum(result.cpu_causes_ns.values()) == pytest.approx(busy_ns)


def test_every_kind_of_work_has_an_owner() -> None:
    delays = {"client_send_ns", "client_receive_ns", "idle_exit_ns", "switch_interval_ns"}
    assert {name for name in KIND_NAMES if name not in CAUSES} <= delays | {"compute"}


def test_a_single_request_costs_what_the_table_says() -> None:
    """epoll_loop, one request on an idle machine, step by step."""
    costs = Costs()
    late = costs.replace(client_receive_ns=10 * MS)  # the window closes when the server sleeps again
    result = run("epoll_loop", Load(clients=1, think_ns=MS, requests=1), costs=late)
    price = {name: units * costs.at(name) for name, units in (result.work or {}).items()}
    assert result.cpu_causes_ns is not None
    assert sum(result.cpu_causes_ns.values()) == pytest.approx(sum(price.values()), abs=len(price))
    assert (result.work or {})["read_ns"] == 1
    assert (result.work or {})["write_ns"] == 1
    assert result.window_syscalls == {"read": 1, "write": 1, "epoll_wait": 1}
