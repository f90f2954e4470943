"""Theory of the eight models: limits that can be worked out by hand."""

from typing import Any

import pytest

from iosim.costs import CAUSES, FIGURES, Costs
from iosim.load import Load
from iosim.machine import Machine
from iosim.programs import names
from iosim.queueing import md1
from iosim.shapes import MODELS
from iosim.theory import Prediction, predict, saturation

COSTS = Costs()


def steady(model: str, connections: int, rate_per_s: float = 2000, **params: Any) -> Prediction:
    return predict(model, Load(clients=connections, rate_per_s=rate_per_s), costs=COSTS, params=params)


def only(**figures: float) -> Costs:
    """A machine on which nothing costs but these."""
    return Costs(**{**dict.fromkeys(FIGURES, 0), **figures, "name": "only"})


def test_every_model_of_the_folder_has_a_theory() -> None:
    assert set(names()) >= set(MODELS)


def test_an_unknown_model_is_refused_in_one_line() -> None:
    with pytest.raises(LookupError, match=r"no theory for model 'mine'; it knows blocking"):
        predict("mine", Load())


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("connections", [1, 10, 300])
def test_work_times_price_is_the_cpu_time(model: str, connections: int) -> None:
    for found in (
        steady(model, connections, workers=connections),
        saturation(model, Load(clients=connections), params={"workers": connections}),
    ):
        assert set(found.work) == set(found.priced_ns) <= set(CAUSES)
        assert found.cpu_ns_per_request == pytest.approx(sum(found.priced_ns.values()))
        for figure, units in found.work.items():
            if figure != "cold_ns":  # priced by the idle time
                assert found.priced_ns[figure] == pytest.approx(units * COSTS.at(figure, connections))
        assert 0 < found.utilization <= 1.0001


def test_a_thread_that_is_free_but_for_its_work_is_m_d_1() -> None:
    load = Load(clients=300, rate_per_s=80_000, work_ns=10_000)
    found = predict("threads", load, costs=only())
    assert found.utilization == pytest.approx(0.8)
    # the median of M/D/1 at 0.8 is below its mean, and above the service time
    assert 10_000 < (found.p50_ns or 0) < md1(80_000, 10_000).sojourn_ns


def test_saturation_is_one_over_the_service_time() -> None:
    for model in ("threads", "epoll_loop", "select_loop", "nonblocking"):
        found = saturation(model, Load(clients=50, work_ns=20_000), costs=only())
        assert found.throughput_per_s == pytest.approx(50_000, rel=1e-6)
        assert found.utilization == pytest.approx(1)


def test_one_client_is_bound_by_the_round_trip() -> None:
    costs = only(client_send_ns=30_000, client_receive_ns=50_000, idle_exit_ns=15_000)
    found = saturation("epoll_loop", Load(clients=1, work_ns=5_000), costs=costs)
    assert found.throughput_per_s == pytest.approx(10_000)  # 30 + 15 + 5 + 50 µs


def test_threads_use_as_many_cpus_as_there_are_and_loops_use_one() -> None:
    load = Load(clients=64, work_ns=10_000)
    four = Machine(cpus=4)
    assert saturation("threads", load, costs=only(), machine=four).throughput_per_s == pytest.approx(400_000)
    assert saturation("epoll_loop", load, costs=only(), machine=four).throughput_per_s == pytest.approx(100_000)


def test_blocking_serves_one_connection_and_prefork_one_per_worker() -> None:
    costs = only(client_send_ns=90_000)
    load = Load(clients=50, work_ns=10_000)
    assert saturation("blocking", load, costs=costs).throughput_per_s == pytest.approx(10_000)
    three = saturation("prefork", load, costs=costs, params={"workers": 3})
    assert three.throughput_per_s == pytest.approx(30_000)


def test_poll_pays_for_every_connection_twice_and_epoll_does_not() -> None:
    few, many = steady("poll_loop", 1000, 10), steady("poll_loop", 3000, 10)
    # a request that comes alone: a pass in vain, a sleep, a pass that finds it
    assert few.work["poll_scan_ns"] == pytest.approx(2 * 1001, rel=0.02)
    assert few.work["register_ns"] == pytest.approx(1001, rel=0.02)
    assert many.work["poll_scan_ns"] == pytest.approx(3 * few.work["poll_scan_ns"], rel=0.02)
    epoll = [steady("epoll_loop", n).cpu_ns_per_request for n in (1000, 100_000)]
    assert epoll[0] == pytest.approx(epoll[1], rel=1e-3)


def test_at_saturation_a_pass_is_shared_by_all_who_are_ready() -> None:
    found = saturation("poll_loop", Load(clients=1000), costs=COSTS)
    assert found.batch > 990
    assert found.work["poll_scan_ns"] == pytest.approx(1, rel=0.02)
    tenth = saturation("poll_loop", Load(clients=1000, active=0.1), costs=COSTS)
    assert tenth.work["poll_scan_ns"] == pytest.approx(10, rel=0.1)


def test_a_cpu_that_was_idle_for_long_is_cold() -> None:
    costs = COSTS.replace(cold_ns=((10.0, 1_000.0), (1_000.0, 9_000.0)))
    seldom, often = (
        predict("epoll_loop", Load(clients=50, rate_per_s=rate), costs=costs).priced_ns["cold_ns"]
        for rate in (100, 20_000)
    )
    assert 8_500 < seldom < 9_001
    assert 1_000 < often < 5_000
    assert "cold_ns" not in saturation("epoll_loop", Load(clients=50), costs=costs).work


def test_nonblocking_burns_all_of_its_cpu() -> None:
    found = steady("nonblocking", 100, 4000)
    assert found.cpu_ns_per_request == pytest.approx(250_000, rel=0.02)
    assert found.utilization == pytest.approx(1)


def test_beyond_saturation_theory_gives_saturation() -> None:
    most = saturation("epoll_loop", Load(clients=100), costs=COSTS)
    beyond = steady("epoll_loop", 100, 10 * most.throughput_per_s)
    assert beyond.throughput_per_s == pytest.approx(most.throughput_per_s)
    assert beyond.p50_ns is None


def test_batches_grow_with_the_rate_and_sharing_saves_work() -> None:
    costs = [steady("select_loop", 500, rate) for rate in (100, 3_000, 10_000, 50_000)]
    assert [found.batch for found in costs] == sorted(found.batch for found in costs)
    assert [found.cpu_ns_per_request for found in costs] == sorted((f.cpu_ns_per_request for f in costs), reverse=True)
