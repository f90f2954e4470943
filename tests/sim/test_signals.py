"""Signal-driven I/O in whole runs: order, overflow, memory, prices. What one program sees is in tests/conformance."""

from pathlib import Path

import pytest

from iosim.costs import Costs
from iosim.load import Load
from iosim.machine import Machine
from iosim.results import Run
from iosim.run import run
from iosim.sim.world import execute
from iosim.syscalls import (
    F_SETFL,
    F_SETOWN,
    F_SETSIG,
    O_ASYNC,
    SIG_BLOCK,
    SIGIO,
    SIGRTMIN,
    accept4,
    bind,
    clone,
    connect,
    fcntl,
    getpid,
    getsockname,
    listen,
    nanosleep,
    sigprocmask,
    sigtimedwait,
    sigwaitinfo,
    socket,
    write,
)

MS = 1_000_000
SIGNALS = (SIGIO, SIGRTMIN)


async def pairs(count: int) -> list[tuple[int, int]]:
    """Connections of a program with itself, whose accepted ends raise signals."""
    listener = await socket()
    await bind(listener, ("127.0.0.1", 0))
    await listen(listener)
    address = await getsockname(listener)
    await sigprocmask(SIG_BLOCK, SIGNALS)
    made = []
    for _ in range(count):
        client = await socket()
        await connect(client, address)
        conn = await accept4(listener)
        await fcntl(conn, F_SETOWN, await getpid())
        await fcntl(conn, F_SETSIG, SIGRTMIN)
        await fcntl(conn, F_SETFL, O_ASYNC)
        made.append((client, conn))
    return made


# --- the queue


def test_signals_of_many_connections_are_taken_in_order_of_arrival() -> None:
    """Each connection its turn, however often another one has more to say: the queue is the fairest of the models."""
    turns = [number * 7919 % 500 for number in range(2000)]
    taken: list[int] = []

    async def program() -> None:
        made = await pairs(500)
        position = {conn: number for number, (_, conn) in enumerate(made)}
        for turn in turns:
            await write(made[turn][0], b"x")
        for _ in turns:
            taken.append(position[(await sigwaitinfo(SIGNALS)).fd])

    execute(program())
    assert taken == turns


@pytest.mark.parametrize(("limit", "events"), [(1, 2), (10, 30), (1000, 1000), (1000, 3000)])
def test_the_queue_holds_its_limit_and_one_sigio(limit: int, events: int) -> None:
    taken: list[int] = []

    async def program() -> None:
        ((client, _),) = await pairs(1)
        for _ in range(events):
            await write(client, b"x")
        try:
            while True:
                taken.append((await sigtimedwait(SIGNALS, 0)).signo)
        except BlockingIOError:
            pass

    execute(program(), machine=Machine(sigpending=limit))
    assert taken == [SIGIO] * (events > limit) + [SIGRTMIN] * min(limit, events)


SLEEPER = """
from iosim.syscalls import (
    F_SETFL, F_SETOWN, F_SETSIG, O_ASYNC, SIG_BLOCK, SIGRTMIN, fcntl, getpid, nanosleep, sigprocmask
)

async def server(listener: int, *, flags: int = O_ASYNC) -> None:
    await sigprocmask(SIG_BLOCK, (SIGRTMIN,))
    await fcntl(listener, F_SETOWN, await getpid())
    await fcntl(listener, F_SETSIG, SIGRTMIN)
    await fcntl(listener, F_SETFL, flags)
    while True:
        await nanosleep(10**9)
"""


def test_a_queued_signal_takes_80_bytes(tmp_path: Path) -> None:
    """Fifty connections come to a server that never looks."""
    model = tmp_path / "sleeper.py"
    model.write_text(SLEEPER)
    load = Load(clients=50, rate_per_s=1000, requests=1)
    queued, none = (run(str(model), load, params={"flags": flags}).memory_bytes for flags in (O_ASYNC, 0))
    assert queued is not None
    assert none is not None
    assert (queued["total"] or 0) - (none["total"] or 0) == 50 * 80


def test_a_socket_that_raises_signals_takes_112_bytes_more() -> None:
    load = Load(clients=100, rate_per_s=1000, duration_ns=10 * MS)
    sigio, select = (run(name, load).memory_bytes for name in ("sigio", "select_loop"))
    assert sigio is not None
    assert select is not None
    assert (sigio["total"] or 0) - (select["total"] or 0) == (100 + 1) * 112  # and the listener


def test_the_end_of_a_process_frees_its_queue() -> None:
    async def program() -> None:
        for client, _ in await pairs(20):
            await write(client, b"x")

    assert execute(program()).user.queued == 0


# --- waking


def test_a_signal_wakes_one_of_many_threads() -> None:
    async def waiter() -> None:
        while True:
            await sigwaitinfo(SIGNALS)

    async def program(signals: int) -> None:
        ((client, _),) = await pairs(1)
        for _ in range(8):
            await clone(waiter)
        await nanosleep(MS)
        for _ in range(signals):
            await write(client, b"x")
            await nanosleep(MS)

    none, some = (execute(program(signals)).scheduler.wakeups for signals in (0, 5))
    assert some - none == 5 + 5  # one thread each, and the caller after its nanosleep


# --- whole runs

BURST = Load(clients=200, rate_per_s=400_000, arrivals="poisson", requests=4000)


def sigio(sigpending: int, load: Load = BURST, network: str = "loopback") -> Run:
    machine = Machine.model_validate({"sigpending": sigpending, "network": network})
    return run("sigio", load, machine=machine)


def test_a_burst_beyond_the_queue_is_answered_by_poll() -> None:
    roomy, tight = sigio(62_500), sigio(8)
    for result in (roomy, tight):
        assert result.requests["completed"] == result.requests["issued"] == 4000
    assert roomy.syscalls["poll"] == 1  # at the start
    assert tight.syscalls["poll"] > 100
    assert tight.syscalls["sigtimedwait"] > 8


def test_after_an_overflow_it_goes_on_with_signals() -> None:
    """A burst at the start, then a rate that the queue is large enough for: polls come with the burst only."""
    slow = Load(clients=50, rate_per_s=1000, requests=500)
    calm = sigio(60, slow)
    assert calm.requests["completed"] == 500
    assert calm.syscalls["poll"] <= 5


@pytest.mark.parametrize("sigpending", [0, 1, 2, 3, 17])
def test_no_request_is_lost_however_short_the_queue(sigpending: int) -> None:
    result = sigio(sigpending)
    assert result.requests["completed"] == result.requests["issued"] == 4000
    assert not [warning for warning in result.warnings if "answers no more" in warning]


def test_large_requests_and_replies_pass() -> None:
    """More than one read, more than one write: POLL_OUT comes as a signal."""
    load = Load(clients=4, think_ns=0, think="constant", requests=40, request_bytes=200_000, response_bytes=300_000)
    for sigpending in (0, 62_500):
        assert sigio(sigpending, load).requests["completed"] == 40


def test_every_arrival_is_one_signal_whatever_the_server_does() -> None:
    """No batching: as many waits as arrivals, however many are ready at once. The ends raise two more each, the
    connections one, and the last wait is still under way."""
    result = sigio(62_500)
    assert result.syscalls["sigwaitinfo"] == 4000 + 200 + 2 * 200 + 1


def test_a_nic_s_interrupt_pays_for_the_signal() -> None:
    load = Load(clients=10, rate_per_s=10_000, duration_ns=50 * MS)
    nic, loopback = (sigio(62_500, load, network).work for network in ("nic", "loopback"))
    assert nic is not None
    assert loopback is not None
    assert nic["signal_send_ns"] == nic["input_ns"]
    assert "signal_send_ns" not in loopback  # the client's CPU does


def test_the_latency_knows_the_wait_for_a_signal() -> None:
    load = Load(clients=10, rate_per_s=50_000, duration_ns=50 * MS)
    dear = run("sigio", load, costs=Costs(signal_take_ns=5000))
    cheap = run("sigio", load, costs=Costs(signal_take_ns=0))
    assert dear.latency_parts_ns is not None
    assert cheap.latency_parts_ns is not None
    assert dear.latency_parts_ns["readiness"] > cheap.latency_parts_ns["readiness"] + 3000


def test_a_server_that_forgot_to_block_its_signal_is_ended_by_it(tmp_path: Path) -> None:
    model = tmp_path / "forgetful.py"
    model.write_text(SLEEPER.replace("(SIGRTMIN,)", "()"))
    with pytest.raises(RuntimeError, match=r"forgetful\.py: a signal that it does not block, 34, ended it"):
        run(str(model), Load(clients=1, rate_per_s=1000, requests=1))


def test_one_request_is_one_signal_taken_after_one_sleep() -> None:
    """Exact work of a request: wait, take, read, write; nothing is scanned or registered."""
    load = Load(clients=1, think_ns=MS, think="constant", requests=20)
    work = run("sigio", load, costs=Costs(client_receive_ns=10 * MS)).work
    assert work is not None
    once = ("signal_wait_ns", "signal_take_ns", "read_ns", "write_ns", "sleep_ns", "switch_ns")
    assert {work[name] for name in once} == {20}
    assert work["entry_ns"] == 3 * 20
