"""io_uring's facts, exactly: calls per request, who burns a CPU and for how long, and where it wins against epoll."""

from collections.abc import Mapping
from typing import Any

import pytest

from iosim.costs import Costs
from iosim.load import Load
from iosim.machine import Machine
from iosim.results import Run
from iosim.run import run
from iosim.sim.snapshot import snapshot
from iosim.sim.work import URING_SQ_PASS
from iosim.sim.world import execute
from iosim.syscalls import IORING_SETUP_SQPOLL, close, io_uring_enter, io_uring_setup, nanosleep

MS = 1_000_000
REQUESTS = 100
TWO = Machine(cpus=2)


def in_turn(model: str, **load: Any) -> Run:
    return run(model, Load(clients=1, think="constant", requests=REQUESTS, **load), machine=TWO)


@pytest.mark.parametrize("think_ns", [0, MS])
@pytest.mark.parametrize(
    ("model", "enters"),
    [
        ("uring", 2),  # send, which completes at once; recv, which waits
        ("uring_multishot", 2),  # send; wait
        ("uring_sqpoll", 1),  # wait: submitting is none, and the send tells nothing
    ],
)
def test_calls_per_request_of_one_client(model: str, enters: int, think_ns: int) -> None:
    calls = in_turn(model, think_ns=think_ns).window_syscalls
    assert calls == {"io_uring_enter": enters * REQUESTS}


@pytest.mark.parametrize(
    ("model", "armed", "operations"),
    [("uring", 16, 32), ("uring_multishot", 0, 16), ("epoll_loop", 0, 0)],
)
def test_work_per_request_of_sixteen_at_once(model: str, armed: int, operations: int) -> None:
    """Sixteen requests that come while the server sleeps: what is done once for each of them, and what once for all."""
    load = Load(clients=16, think_ns=10 * MS, think="constant", requests=16 * 20)
    result = run(model, load)
    work = result.work or {}
    assert work.get("uring_arm_ns", 0) == armed * 20
    assert work.get("uring_op_ns", 0) == operations * 20
    replies = work.get("uring_send_ns", 0) + work.get("write_ns", 0)
    assert replies == 16 * 20


# --- against epoll: out of batching and task work, with the default prices of a server in C


def cpu_against_epoll(model: str, clients: int) -> float:
    """CPU time per request, that of epoll_loop being 1."""
    load = Load(clients=clients, think_ns=0, duration_ns=50 * MS)
    ours, epolls = (run(name, load).cpu_ns_per_request for name in (model, "epoll_loop"))
    assert ours is not None
    assert epolls is not None
    return ours / epolls


def test_with_one_ready_socket_per_wait_the_ring_loses() -> None:
    """Two calls with all that is behind them, against three short ones."""
    assert 1.10 <= cpu_against_epoll("uring", 1) <= 1.28
    assert 1.0 < cpu_against_epoll("uring_multishot", 1) < cpu_against_epoll("uring", 1)


@pytest.mark.parametrize("model", ["uring", "uring_multishot"])
def test_with_sixteen_ready_sockets_the_ring_wins(model: str) -> None:
    """18 to 40 % more requests of the same CPU time."""
    assert 1.18 <= 1 / cpu_against_epoll(model, 16) <= 1.40


@pytest.mark.parametrize("model", ["uring", "uring_multishot"])
def test_the_lead_shrinks_where_sockets_fall_out_of_the_cache(model: str) -> None:
    assert cpu_against_epoll(model, 16) < cpu_against_epoll(model, 1000) < 1


def test_without_the_price_of_entries_there_is_nothing_to_win() -> None:
    """The lead comes from the calls that a batch saves and from what they leave cold: priced at nothing, it is gone."""
    costs = Costs()
    equal = costs.replace(
        entry_ns=0, uring_first_ns=0, uring_recv_ns=costs.at("read_ns"), uring_send_ns=costs.at("write_ns")
    )
    load = Load(clients=16, think_ns=0, duration_ns=50 * MS)
    ours, epolls = (run(name, load, costs=equal).cpu_ns_per_request for name in ("uring", "epoll_loop"))
    assert ours is not None
    assert epolls is not None
    assert ours > epolls


# --- the kernel's polling thread


def polled_ns(idle_ms: int, asleep_ms: int) -> int:
    """CPU time that a polling thread takes in a program that submits one no-op, then sleeps."""

    async def program() -> None:
        ring = await io_uring_setup(8, IORING_SETUP_SQPOLL, idle_ms)
        ring.prep_nop("once")
        await io_uring_enter(ring, 1)
        await nanosleep(asleep_ms * MS)
        await close(ring.fd)

    return snapshot(execute(program(), machine=TWO)).ns[URING_SQ_PASS]


@pytest.mark.parametrize("idle_ms", [1, 10])
def test_it_burns_a_cpu_until_it_has_been_idle_so_long(idle_ms: int) -> None:
    assert polled_ns(idle_ms, asleep_ms=100) == idle_ms * MS


def test_it_burns_a_cpu_as_long_as_the_ring_is_open() -> None:
    waking_ns = 100_000
    assert 100 * MS <= polled_ns(1000, asleep_ms=100) < 100 * MS + waking_ns


def busy(result: Run) -> Mapping[str, float]:
    assert result.cpu_causes_ns is not None
    return result.cpu_causes_ns


def test_it_shows_in_cpu_occupancy() -> None:
    load = Load(clients=1, rate_per_s=1000, duration_ns=50 * MS)
    spinning = run("uring_sqpoll", load, machine=TWO)
    dozing = run("uring_sqpoll", load, machine=TWO, params={"sq_thread_idle_ms": 1})
    calling = run("uring", load, machine=TWO)
    assert busy(spinning)["sq polling"] > 0.9 * load.duration_ns
    assert 0.3 * load.duration_ns < busy(dozing)["sq polling"] < busy(spinning)["sq polling"]
    assert "sq polling" not in busy(calling)
    assert (spinning.cpu["idle"] or 0) < 0.51
    assert (calling.cpu["idle"] or 0) > 0.98
