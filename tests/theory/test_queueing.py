"""The classical formulas against published figures and against Markov chains solved by brute force."""

import numpy as np
import pytest

from iosim.queueing import closed, erlang_c, md1, mg1, mm1, mmc

US = 1000.0


def stationary(rates: np.ndarray) -> np.ndarray:
    """The steady state of a continuous-time chain: pQ = 0, sum p = 1, by least squares."""
    generator = rates - np.diag(rates.sum(axis=1))
    equations = np.vstack([generator.T, np.ones(len(rates))])
    right = np.append(np.zeros(len(rates)), 1.0)
    solution: np.ndarray = np.linalg.lstsq(equations, right, rcond=None)[0]
    return solution


def birth_death(births: list[float], deaths: list[float]) -> np.ndarray:
    """births[i]: i → i + 1; deaths[i]: i + 1 → i."""
    rates = np.zeros((len(births) + 1, len(births) + 1))
    for state, (up, down) in enumerate(zip(births, deaths, strict=True)):
        rates[state, state + 1], rates[state + 1, state] = up, down
    return stationary(rates)


@pytest.mark.parametrize("rho", [0.1, 0.5, 0.8])
def test_mm1_is_the_chain(rho: float) -> None:
    states = 250
    in_system = birth_death([rho] * states, [1.0] * states) @ np.arange(states + 1)
    queue = mm1(rho * 1e5, 10 * US)
    assert queue.in_system == pytest.approx(in_system, rel=1e-6)
    assert queue.utilization == pytest.approx(rho)


def test_mm1_at_half_load_doubles_the_service_time() -> None:
    assert mm1(50_000, 10 * US).sojourn_ns == pytest.approx(20 * US)


def test_md1_waits_half_as_long_as_mm1() -> None:
    assert md1(80_000, 10 * US).wait_ns == pytest.approx(mm1(80_000, 10 * US).wait_ns / 2)


def test_mg1_of_a_two_point_service_time() -> None:
    # 1 µs or 19 µs, even odds: mean 10, second moment 181; W = rate E[S²] / (2 (1 - rho)) = 0.05 * 181 / (2 * 0.5)
    assert mg1(50_000, 10 * US, 181 / 100 - 1).wait_ns == pytest.approx(9.05 * US)


@pytest.mark.parametrize(
    ("servers", "offered", "waits"),
    # the printed Erlang C table: 1 server 0.5 Erlang, 2 and 1, 3 and 2 (4/9), 5 and 4, 10 and 8
    [(1, 0.5, 0.5), (2, 1.0, 1 / 3), (3, 2.0, 4 / 9), (5, 4.0, 0.5541), (10, 8.0, 0.4092)],
)
def test_erlang_c_against_the_printed_table(servers: int, offered: float, waits: float) -> None:
    assert erlang_c(servers, offered) == pytest.approx(waits, abs=5e-5)


@pytest.mark.parametrize("servers", [2, 4, 16])
def test_mmc_is_the_chain(servers: int) -> None:
    offered, states = 0.7 * servers, 400
    deaths = [float(min(busy + 1, servers)) for busy in range(states)]
    in_system = birth_death([offered] * states, deaths) @ np.arange(states + 1)
    assert mmc(offered * 1e5, 10 * US, servers).in_system == pytest.approx(in_system, rel=1e-6)


def test_erlang_c_of_many_servers_does_not_overflow() -> None:
    assert 0 < erlang_c(2000, 1990.0) < 1


@pytest.mark.parametrize("clients", [1, 2, 7, 40])
def test_closed_loop_is_the_machine_repairman(clients: int) -> None:
    think, service = 50.0, 8.0  # µs, both exponential
    state = birth_death([(clients - k) / think for k in range(clients)], [1 / service] * clients)
    queue = closed(clients, think * US, service * US)
    assert queue.utilization == pytest.approx(1 - state[0], rel=1e-9)
    assert queue.throughput_per_s == pytest.approx((1 - state[0]) / service * 1e6, rel=1e-9)
    assert queue.in_system == pytest.approx(state @ np.arange(clients + 1), rel=1e-9)


@pytest.mark.parametrize("rate", [100_000, 150_000, float("nan"), float("inf")])
def test_a_queue_without_a_steady_state_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="steady state below 1"):
        mm1(rate, 10 * US)
