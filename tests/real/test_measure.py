"""What a measurement gives: figures that add up and are possible."""

import json
from pathlib import Path

import pytest

from iosim.load import Load
from iosim.real.measure import measure
from iosim.results import Run

pytestmark = pytest.mark.real

MS = 1_000_000


@pytest.fixture(scope="module")
def quiet() -> Run:
    """An open loop far from saturation."""
    return measure("epoll_loop", Load(clients=20, rate_per_s=4000, duration_ns=500 * MS, warmup_ns=50 * MS))


def test_an_open_loop_adds_up(quiet: Run) -> None:
    counts = dict(quiet.requests)
    assert counts.pop("issued") == sum(counts.values())
    assert 0.8 * 2000 < quiet.requests["issued"] < 1.2 * 2000
    assert quiet.requests["failed"] == quiet.requests["dropped"] == 0
    assert abs(quiet.throughput_per_s * 0.5 - quiet.requests["completed"]) < 200


def test_latencies_are_possible(quiet: Run) -> None:
    p50, mean, slowest = (quiet.latency_ns[name] for name in ("p50", "mean", "max"))
    assert p50 is not None
    assert mean is not None
    assert slowest is not None
    assert 5_000 < p50 < 50 * MS
    assert 0 < p50 <= slowest
    assert mean <= slowest
    assert quiet.histogram
    assert quiet.latency_ns["p999"] is None
    assert any("p999" in warning for warning in quiet.warnings)


def test_cpu_is_measured_and_what_linux_hides_is_none(quiet: Run) -> None:
    assert quiet.cpu_ns_per_request is not None
    assert 1_000 < quiet.cpu_ns_per_request < MS
    assert quiet.cpu["idle"] is not None
    assert 0 < quiet.cpu["idle"] < 1
    assert quiet.cpu["softirq"] is None
    assert quiet.latency_parts_ns is None
    assert quiet.digest is None
    assert quiet.context_switches["voluntary"]


def test_the_host_and_what_disturbed_the_run_are_named(quiet: Run) -> None:
    assert set(quiet.host) >= {"kernel", "cpu", "cpus", "steal_ns", "hiccups", "client_busy", "lateness_ns"}
    assert 0 < quiet.host["client_busy"] < 1
    assert Run.from_dict(json.loads(quiet.to_json())) == quiet


def test_shares_of_user_and_system_need_enough_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    short = measure("epoll_loop", Load(clients=4, think_ns=0, duration_ns=50 * MS, warmup_ns=0))
    assert short.cpu["user"] is None
    assert any("user and system" in warning for warning in short.warnings)
    monkeypatch.setattr("iosim.real.measure.ENOUGH_TICKS", 15)  # a busy host leaves the server half a CPU
    longer = measure("nonblocking", Load(clients=4, rate_per_s=100, duration_ns=900 * MS, warmup_ns=0))
    user, system, idle = (longer.cpu[part] for part in ("user", "system", "idle"))
    assert user is not None
    assert system is not None
    assert idle is not None
    assert user + system + idle == pytest.approx(1)
    assert min(user, system) > 0.02


def test_a_large_reply_arrives_whole() -> None:
    for model in ("epoll_loop", "blocking"):
        load = Load(clients=1, think_ns=0, requests=20, request_bytes=100_000, response_bytes=1 << 20)
        run = measure(model, load)
        assert run.requests["completed"] == 20


def test_requests_that_do_not_fit_the_send_buffer_wait_and_arrive() -> None:
    load = Load(clients=2, rate_per_s=2000, requests=60, request_bytes=1 << 19, response_bytes=64)
    run = measure("epoll_loop", load)
    assert run.requests["completed"] == 60


def test_300_connections_of_which_few_ask() -> None:
    load = Load(clients=300, active=0.1, rate_per_s=2000, duration_ns=200 * MS, warmup_ns=0)
    for model in ("epoll_loop", "threads"):
        run = measure(model, load)
        assert run.syscalls["accept4"] >= 300
        assert run.host["connected"] == 300
        assert run.requests["completed"] > 0.8 * run.requests["issued"]


def test_service_time_is_burnt() -> None:
    run = measure("epoll_loop", Load(clients=2, think_ns=0, requests=50, work_ns=2 * MS))
    assert run.cpu_ns_per_request is not None
    assert 2 * MS < run.cpu_ns_per_request < 2.5 * MS


def test_an_overloaded_server_leaves_requests_in_flight() -> None:
    load = Load(clients=4, rate_per_s=2000, work_ns=2 * MS, duration_ns=300 * MS, warmup_ns=0)
    run = measure("epoll_loop", load)
    assert run.requests["in_flight"] > 100
    assert run.requests["issued"] == run.requests["completed"] + run.requests["in_flight"]
    assert run.throughput_per_s < 550


def test_modules_are_found_where_ours_were_whatever_lies_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "select.py").write_text("raise RuntimeError('not the one of the library')\n")
    monkeypatch.chdir(tmp_path)
    assert measure("epoll_loop", Load(clients=1, think_ns=0, requests=5)).requests["completed"] == 5
