"""Finite buffers, links and queues: what does not fit waits, and arrives whole."""

from itertools import pairwise
from typing import Any

import pytest

from iosim.costs import Costs
from iosim.load import SECOND_NS, Load
from iosim.machine import Machine
from iosim.programs import find, names
from iosim.results import Run
from iosim.run import run
from iosim.sim.network import FRAME_BYTES, SEGMENT_BYTES, Link

REQUESTS = 6
MS = 1_000_000
FREE = Costs().scaled_to_zero()
LINKS: dict[str, dict[str, Any]] = {
    "loopback": {},
    "loopback, far": {"latency_ns": 2 * MS},
    "nic": {"network": "nic", "bandwidth_bit_per_s": 1e9},
    "nic, far": {"network": "nic", "bandwidth_bit_per_s": 1e8, "latency_ns": 2 * MS},
}


def ask(model: str, link: str, clients: int = 1, **load: int) -> Run:
    machine = Machine(receive_buffer_bytes=4096, send_buffer_bytes=8192, **LINKS[link])
    result = run(model, Load(clients=clients, think_ns=0, requests=REQUESTS, **load), machine=machine)
    assert result.requests == {"issued": REQUESTS, "completed": REQUESTS, "in_flight": 0, "dropped": 0, "failed": 0}
    return result


def clients_of(model: str) -> int:
    return 1 if model == "blocking" else 3


def reads_of(result: Run) -> int:
    return result.syscalls.get("read", 0) + result.syscalls.get("aio_read", 0)


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("model", names())
def test_a_request_larger_than_the_receive_buffer_arrives_whole(model: str, link: str) -> None:
    result = ask(model, link, clients_of(model), request_bytes=50_000)
    assert result.work is not None
    reads = reads_of(result) + result.work.get("uring_recv_ns", 0)
    assert reads >= REQUESTS * 13  # 4096 bytes at a time
    assert result.work["read_byte_ns"] == REQUESTS * 50_000


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("model", names())
def test_a_reply_larger_than_the_send_buffer_leaves_whole(model: str, link: str) -> None:
    result = ask(model, link, clients_of(model), response_bytes=50_000)
    assert result.work is not None
    assert result.work["write_byte_ns"] == REQUESTS * 50_000
    if find(model).kind == "blocking" or model == "posix_aio":
        assert result.syscalls["write"] == REQUESTS  # it sleeps inside
    else:
        writes = result.work.get("write_ns", 0) + result.work.get("uring_send_ns", 0)
        assert writes >= REQUESTS * 7  # 8192 bytes at a time


def test_a_reply_beyond_the_send_buffer_waits_for_acknowledgements() -> None:
    """A third of the buffer must be free before a writer goes on: a round trip moves at most a buffer."""
    result = ask("blocking", "loopback, far", response_bytes=10 * 8192)
    mean_ns = result.latency_ns["mean"]
    assert mean_ns is not None
    round_trip_ns = 4 * MS
    assert 10 * round_trip_ns <= mean_ns < 12 * round_trip_ns


@pytest.mark.parametrize("network", ["loopback", "nic"])
@pytest.mark.parametrize("latency_ns", [0, 1000, 5 * MS, 300 * MS])
def test_the_latency_of_the_link_is_in_every_request_twice(network: str, latency_ns: int) -> None:
    """However long the link is: no request is lost because the handshake takes its time."""
    machine = Machine(network=network, latency_ns=latency_ns, bandwidth_bit_per_s=1e13)
    result = run("epoll_loop", Load(clients=5, think_ns=MS, requests=20), costs=FREE, machine=machine)
    assert result.requests["completed"] == 20
    assert result.latency_ns["mean"] == pytest.approx(2 * latency_ns, abs=3)
    assert result.latency_parts_ns is not None
    assert result.latency_parts_ns["network"] == pytest.approx(2 * latency_ns, abs=3)


@pytest.mark.parametrize("count", [64, 1448, 1449, 100_000])
def test_bytes_take_their_time_on_the_wire(count: int) -> None:
    machine = Machine(network="nic", bandwidth_bit_per_s=1e9)
    result = run(
        "blocking", Load(clients=1, think_ns=MS, requests=3, response_bytes=count), costs=FREE, machine=machine
    )
    segments = -(-count // SEGMENT_BYTES)
    wire_ns = 8 * (count + segments * FRAME_BYTES) + 8 * (64 + FRAME_BYTES)
    if count <= 65_536:  # one buffer, one message
        assert result.latency_ns["mean"] == pytest.approx(wire_ns, abs=2)
    else:  # the last bytes follow their acknowledgement
        assert result.latency_ns["mean"] == pytest.approx(wire_ns, rel=0.01)


def test_the_wire_carries_one_message_after_another() -> None:
    link = Link(Machine(network="nic", bandwidth_bit_per_s=1e9, latency_ns=500))
    arrivals = [link.to_server(0, 1000) for _ in range(4)]
    each_ns = 8 * (1000 + FRAME_BYTES)
    assert arrivals == [500 + each_ns * number for number in (1, 2, 3, 4)]
    assert link.to_client(0, 1000) == 500 + each_ns  # the other way is another wire


def test_a_request_takes_the_wire_when_it_is_sent() -> None:
    """A client that thinks long does not keep the wire from one that thinks short."""
    machine = Machine(network="nic", bandwidth_bit_per_s=100e9)
    result = run("epoll_loop", Load(clients=50, think_ns=MS, duration_ns=100 * MS), costs=FREE, machine=machine)
    assert result.latency_parts_ns is not None
    assert result.latency_parts_ns["network"] < 100


def test_throughput_cannot_exceed_the_wire() -> None:
    """1 Gbit/s and 10,000 bytes a reply: at most 12,500 replies a second, less what frames add."""
    machine = Machine(network="nic", bandwidth_bit_per_s=1e9)
    load = Load(clients=20, think_ns=0, response_bytes=10_000, duration_ns=200 * MS)
    result = run("epoll_loop", load, costs=FREE, machine=machine)
    framed = 10_000 + 7 * FRAME_BYTES
    assert result.throughput_per_s == pytest.approx(1e9 / 8 / framed, rel=0.01)


def test_pipelined_requests_are_answered_in_order() -> None:
    """Open loop over one connection: a request that comes while others wait shares their read."""
    load = Load(clients=1, rate_per_s=500_000, work_ns=1000, requests=300)
    for model in names():
        result = run(model, load)
        assert result.requests["completed"] == 300
        assert result.syscalls["write"] <= 300 + reads_of(result)


@pytest.mark.parametrize("model", ["prefork", "thread_pool"])
def test_connections_hold_their_worker(model: str) -> None:
    """Two workers and three clients: the third is answered when another has gone."""
    result = run(model, Load(clients=3, rate_per_s=1000, duration_ns=50 * MS), params={"workers": 2})
    assert 0 < result.requests["in_flight"] < result.requests["issued"]


def test_latencies_grow_with_the_slice_that_others_use_up() -> None:
    """Round robin of long computations: who comes late waits a slice for each that runs."""
    load = Load(clients=8, think_ns=0, work_ns=MS, duration_ns=SECOND_NS // 5)
    switches = [
        run("threads", load, machine=Machine(slice_ns=slice_ns)).context_switches["involuntary"]
        for slice_ns in (10_000, 100_000, 10 * MS)
    ]
    assert None not in switches
    assert all(first > second for first, second in pairwise(count or 0 for count in switches))
    assert switches[-1] == 0
