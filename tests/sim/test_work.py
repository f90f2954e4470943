"""What the readiness calls do, as exact counts of work: two passes, registration, the ready list."""

import math
from collections.abc import Awaitable, Callable

import pytest

from iosim.costs import Costs
from iosim.load import Load
from iosim.results import Run
from iosim.run import run
from iosim.sim.snapshot import snapshot
from iosim.sim.work import KIND_NAMES
from iosim.sim.world import execute
from iosim.syscalls import (
    POLLIN,
    FdSet,
    PollFds,
    accept4,
    bind,
    clone,
    connect,
    getsockname,
    listen,
    nanosleep,
    poll,
    select,
    socket,
    write,
)

MS = 1_000_000
REQUESTS = 20
LATE = Costs(client_receive_ns=10 * MS)
"""Clients that look at a reply so late that the server sleeps again when the window closes."""


def one_at_a_time(model: str, clients: int) -> Run:
    """One client asks, the others idle; the server sleeps before each request."""
    load = Load(clients=clients, active=1 / clients, think_ns=MS, requests=REQUESTS)
    result = run(model, load, costs=LATE)
    assert result.requests["completed"] == REQUESTS
    return result


def work_of(result: Run) -> dict[str, int]:
    assert result.work is not None
    return dict(result.work)


@pytest.mark.parametrize("clients", [1, 10, 500])
@pytest.mark.parametrize("call", ["select", "poll"])
def test_select_and_poll_scan_twice_and_register_once(call: str, clients: int) -> None:
    work = work_of(one_at_a_time(f"{call}_loop", clients))
    descriptors = clients + 1  # and the listener
    assert work[f"{call}_scan_ns"] == 2 * descriptors * REQUESTS
    assert work["register_ns"] == work["unregister_ns"] == descriptors * REQUESTS
    assert work[f"{call}_base_ns"] == REQUESTS
    if call == "poll":
        assert work["poll_copy_ns"] == descriptors * REQUESTS
    else:
        words = -(-(descriptors + 3) // 64)  # 0, 1 and 2 are taken
        assert work["select_word_ns"] == 2 * words * REQUESTS


@pytest.mark.parametrize("model", ["epoll_loop", "epoll_edge"])
def test_epoll_looks_at_what_is_ready_however_many_are_idle(model: str) -> None:
    few, many = (work_of(one_at_a_time(model, clients)) for clients in (1, 2000))
    assert few == many
    assert few["epoll_event_ns"] == few["epoll_wait_ns"] == REQUESTS


def test_a_level_is_looked_at_again_an_edge_is_not() -> None:
    """A returned level goes back to the ready list, and the next epoll_wait finds that it is over."""
    assert work_of(one_at_a_time("epoll_loop", 5))["epoll_recheck_ns"] == REQUESTS
    assert "epoll_recheck_ns" not in work_of(one_at_a_time("epoll_edge", 5))


def test_an_edge_is_read_until_nothing_is_left() -> None:
    assert work_of(one_at_a_time("epoll_edge", 5))["read_empty_ns"] == REQUESTS
    assert "read_empty_ns" not in work_of(one_at_a_time("epoll_loop", 5))


def work_of_one_call(call: Callable[[list[int]], Awaitable[object]], fds: int, ready: list[int]) -> dict[str, int]:
    """The work of a program that has ``fds`` connections, of which those are ready, and calls once."""

    async def program() -> None:
        listener = await socket()
        await bind(listener, ("127.0.0.1", 0))
        await listen(listener)
        conns = []
        for number in range(fds):
            client = await socket()
            await connect(client, await getsockname(listener))
            conns.append(await accept4(listener))
            if number in ready:
                await write(client, b"x")
        await call(conns)

    kernel = execute(program())
    return {name: units for name, units in zip(KIND_NAMES, snapshot(kernel).units, strict=True) if units}


async def call_select(fds: list[int], timeout_ms: int = -1) -> None:
    readers = FdSet()
    for fd in fds:
        readers.add(fd)
    await select(readers, FdSet(), timeout_ms)


async def call_poll(fds: list[int], timeout_ms: int = -1) -> None:
    await poll(PollFds(dict.fromkeys(fds, POLLIN)), timeout_ms)


@pytest.mark.parametrize(("ready", "rank"), [([0], 1), ([7], 8), ([29], 30), ([4, 20], 5)])
@pytest.mark.parametrize("call", [call_select, call_poll])
def test_one_pass_that_registers_up_to_the_first_ready(
    call: Callable[[list[int]], Awaitable[object]], ready: list[int], rank: int
) -> None:
    work = work_of_one_call(call, 30, ready)
    scan = "select_scan_ns" if call is call_select else "poll_scan_ns"
    assert work[scan] == 30
    assert work["register_ns"] == work["unregister_ns"] == rank


@pytest.mark.parametrize("call", [call_select, call_poll])
def test_a_look_registers_nothing_and_a_time_out_scans_twice(
    call: Callable[..., Awaitable[object]],
) -> None:
    scan = "select_scan_ns" if call is call_select else "poll_scan_ns"
    look = work_of_one_call(lambda fds: call(fds, 0), 30, [])
    assert look[scan] == 30
    assert "register_ns" not in look
    wait = work_of_one_call(lambda fds: call(fds, 5), 30, [])
    assert wait[scan] == 60
    assert wait["register_ns"] == wait["unregister_ns"] == 30


def test_every_event_costs_a_sleeper_in_select_a_pass() -> None:
    """Two descriptors become ready at once: one wake-up, one second pass."""

    async def program() -> None:
        listener = await socket()
        await bind(listener, ("127.0.0.1", 0))
        await listen(listener)
        clients, conns = [], []
        for _ in range(10):
            client = await socket()
            await connect(client, await getsockname(listener))
            clients.append(client)
            conns.append(await accept4(listener))

        async def two() -> None:
            await nanosleep(MS)
            await write(clients[3], b"x")
            await write(clients[5], b"x")

        await clone(two)
        await call_poll(conns)

    kernel = execute(program())
    units = dict(zip(KIND_NAMES, snapshot(kernel).units, strict=True))
    assert units["poll_scan_ns"] == 20
    assert units["register_ns"] == units["unregister_ns"] == 10


@pytest.mark.parametrize(
    ("call", "figure", "later"),
    [
        ("poll", "unregister_ns", 101),  # poll_freewait
        ("poll", "register_ns", 0),
        ("select", "select_base_ns", 1),  # the answer is read
        ("select", "select_call_ns", 0),  # the bitmaps are made
    ],
)
def test_what_a_sleeper_does_before_its_call_returns_is_latency(call: str, figure: str, later: int) -> None:
    """And what it did on its way to sleep is not."""

    def mean_ns(costs: Costs) -> float:
        load = Load(clients=100, think_ns=5 * MS, active=0.01, requests=REQUESTS)
        return run(f"{call}_loop", load, costs=costs).latency_ns["mean"] or 0.0

    dearer = LATE.replace(**{figure: LATE.at(figure) + 10})
    assert mean_ns(dearer) == mean_ns(LATE) + 10 * later


def test_a_cpu_that_was_idle_for_longer_takes_longer_to_be_there() -> None:
    """Tiers by microseconds of idleness, met by requests at constant distances."""
    costs = Costs(idle_exit_ns=((1_000.0, 5_000.0), (10_000.0, 45_000.0)))

    def median_ns(rate_per_s: float) -> float:
        load = Load(clients=1, rate_per_s=rate_per_s, arrivals="constant", requests=300)
        return run("blocking", load, costs=costs).latency_ns["p50"] or 0.0

    quick_ns = median_ns(2000)
    assert median_ns(10) == pytest.approx(quick_ns + 40_000, abs=100)
    # prices are kept for idle times that differ by an eighth, and the CPU is idle a little less than 4 ms
    assert 40_000 * math.log10(4 / 1.14) < median_ns(250) - quick_ns < 40_000 * math.log10(4)
