"""The models of several threads and processes: whom a connection wakes, what handing on costs, what spinning buys."""

from functools import partial
from pathlib import Path

import pytest

from iosim.costs import Costs
from iosim.load import SECOND_NS, Load
from iosim.machine import Machine
from iosim.programs import find
from iosim.results import Run
from iosim.run import run
from iosim.sim.files import Table
from iosim.sim.sockets import Stream
from iosim.sim.thread import Thread
from iosim.sim.world import execute
from iosim.syscalls import EPOLL_CTL_MOD, Address, Call, bind, connect, fork, getsockname, listen, nanosleep, socket

MS = 1_000_000
CONNECTIONS = 6


# --- prefork_epoll: the herd


def connect_to_workers(workers: int, exclusive: int, connections: int) -> tuple[int, list[int]]:
    """Connections come one after the other to idle workers, and stay: threads woken in all, and how many connections
    each worker has."""

    async def program() -> None:
        listener = await socket()
        await bind(listener, ("127.0.0.1", 0))
        await listen(listener)
        await fork(partial(find("prefork_epoll").server, workers=workers, exclusive=exclusive), listener)
        await fork(caller, await getsockname(listener))
        await nanosleep(SECOND_NS)

    async def caller(address: Address) -> None:
        await nanosleep(100 * MS)
        for _ in range(connections):
            await connect(await socket(), address)
            await nanosleep(MS)
        await nanosleep(9 * SECOND_NS)

    kernel = execute(program(), machine=Machine(cpus=2))
    tables = [process.table for process in kernel.processes.values() if process.table.epolls]
    return kernel.scheduler.wakeups, [streams_of(table) for table in tables]


def streams_of(table: Table) -> int:
    return sum(isinstance(file, Stream) for file in table.files)


@pytest.mark.parametrize("workers", [1, 4, 16, 64])
@pytest.mark.parametrize("exclusive", [0, 1])
def test_workers_woken_per_connection(exclusive: int, workers: int) -> None:
    none, some = (connect_to_workers(workers, exclusive, connections)[0] for connections in (0, CONNECTIONS))
    sleeps_of_the_caller = CONNECTIONS
    assert some - none - sleeps_of_the_caller == CONNECTIONS * (1 if exclusive else workers)


def test_the_first_exclusive_worker_takes_every_connection() -> None:
    assert connect_to_workers(4, 1, CONNECTIONS)[1] == [CONNECTIONS, 0, 0, 0]


# --- shared_epoll


@pytest.mark.parametrize("cpus", [1, 4])
def test_no_two_threads_have_one_socket_in_hand(cpus: int) -> None:
    """From its read until it is armed again, a socket is one thread's; and several threads serve."""
    holder: dict[int, Thread] = {}
    served: set[Thread] = set()

    def trace(_when_ns: int, thread: Thread, call: Call) -> None:
        if call[0] in ("read", "write"):
            fd = call[1][0]
            assert holder.setdefault(fd, thread) is thread
            served.add(thread)
        elif call[0] == "epoll_ctl" and call[1][1] == EPOLL_CTL_MOD:
            holder.pop(call[1][2], None)

    load = Load(clients=30, think_ns=20_000, work_ns=10_000, work="exponential", duration_ns=20 * MS)
    result = run("shared_epoll", load, machine=Machine(cpus=cpus, slice_ns=50_000), tracer=trace)
    assert result.requests["completed"] > 500
    assert len(served) == 4


# --- reactor_workers, and any program whose threads hand requests on


def test_a_request_s_way_to_a_worker_and_back() -> None:
    """Three threads are woken for it: the loop by the request, a worker by futex, the loop by eventfd."""
    load = Load(clients=1, think_ns=MS, think="constant", requests=50, work_ns=10_000)
    result = run("reactor_workers", load)
    assert result.window_syscalls == {
        "epoll_wait": 2 * 50,
        "read": 2 * 50,
        "futex_wake": 50,
        "futex_wait": 50,
        "compute": 50,
        "write": 2 * 50,
        "epoll_ctl": 50,
    }
    assert result.wakeups == 3 * 50


@pytest.mark.parametrize("cpus", [1, 2, 4])
@pytest.mark.parametrize("clients", [1, 7, 40])
def test_work_done_by_a_worker_is_compute(clients: int, cpus: int) -> None:
    load = Load(clients=clients, think_ns=50_000, work_ns=20_000, duration_ns=30 * MS)
    result = run("reactor_workers", load, machine=Machine(cpus=cpus))
    parts = parts_of(result)
    assert parts["compute"] == 20_000
    assert parts["handover"] > 0
    assert parts["read"] == 0  # it is part of handing over


HANDED_ON = '''"""One thread reads, one works, a third answers."""

from iosim.protocol import respond
from iosim.queues import Queue
from iosim.syscalls import accept4, clone, read, write

async def server(listener: int) -> None:
    read_by_one, done = Queue(4), Queue(4)
    await clone(worker, read_by_one, done)
    await clone(writer, done)
    while conn := await accept4(listener):
        while data := await read(conn):
            await read_by_one.put((conn, data))

async def worker(requests: Queue, done: Queue) -> None:
    while True:
        conn, request = await requests.get()
        await done.put((conn, await respond(request)))

async def writer(done: Queue) -> None:
    while True:
        await write(*await done.get())
'''


@pytest.mark.parametrize("work_ns", [0, 10_000])
@pytest.mark.parametrize("cpus", [1, 2])
def test_read_by_one_thread_worked_on_by_another_answered_by_a_third(tmp_path: Path, cpus: int, work_ns: int) -> None:
    model = tmp_path / "handed_on.py"
    model.write_text(HANDED_ON)
    load = Load(clients=1, think_ns=MS, think="constant", requests=20, work_ns=work_ns)
    parts = parts_of(result := run(str(model), load, machine=Machine(cpus=cpus), costs=Costs(idle_exit_ns=0)))
    assert parts["compute"] == work_ns
    assert parts["handover"] >= 2 * Costs().at("switch_ns")  # to the worker, and to the writer
    assert min(parts.values()) >= 0
    assert sum(parts.values()) == pytest.approx(result.latency_ns["mean"])


def test_a_worker_that_keeps_its_connection_hands_nothing_over() -> None:
    load = Load(clients=6, think_ns=20_000, work_ns=10_000, duration_ns=20 * MS)
    pool, forked = (parts_of(run(model, load)) for model in ("thread_pool", "prefork"))
    assert pool["handover"] == forked["handover"] == 0
    assert pool["read"] == forked["read"]


# --- thread_pool


def test_a_full_queue_of_connections_leaves_the_others_to_the_kernel() -> None:
    """One worker, room for two, five clients: the worker sleeps when they come; the acceptor sleeps with the third in
    hand until the worker has taken the first, then with the fourth; the fifth is not accepted."""
    result = run(
        "thread_pool", Load(clients=5, rate_per_s=1000, duration_ns=50 * MS), params={"workers": 1, "queue": 2}
    )
    assert result.syscalls["accept4"] == 4
    assert result.syscalls["futex_wait"] == 1 + 2


# --- hybrid_poll


def at_low_load(spins: int, think_ns: int) -> Run:
    load = Load(clients=1, think_ns=think_ns, think="constant", duration_ns=SECOND_NS // 10)
    return run("hybrid_poll", load, params={"spins": spins})


def parts_of(result: Run) -> dict[str, float]:
    assert result.latency_parts_ns is not None
    return dict(result.latency_parts_ns)


def idle(result: Run) -> float:
    assert result.cpu["idle"] is not None
    return result.cpu["idle"]


def mean_ns(result: Run) -> float:
    assert result.latency_ns["mean"] is not None
    return result.latency_ns["mean"]


COSTS = Costs()


def test_spinning_buys_the_wake_up_and_costs_the_cpu() -> None:
    """1000 requests a second: who spins long enough is there when they come, at the price of a whole CPU."""
    sleeps, spins = at_low_load(0, MS), at_low_load(10_000, MS)
    assert idle(sleeps) > 0.95
    assert idle(spins) == 0
    assert parts_of(sleeps)["wakeup"] == COSTS.at("idle_exit_ns") + COSTS.at("switch_ns")
    assert parts_of(spins)["wakeup"] == 0
    saved_ns = mean_ns(sleeps) - mean_ns(spins)
    one_look_ns = COSTS.at("entry_ns") + COSTS.at("epoll_wait_ns")
    assert 0 < parts_of(sleeps)["wakeup"] - saved_ns < 2 * one_look_ns  # the rest of a look in vain, then a whole one
    assert spins.context_switches["voluntary"] == 0


def test_too_few_spins_cost_and_buy_nothing() -> None:
    """50 looks are over long before the next request comes."""
    sleeps, spins = at_low_load(0, MS), at_low_load(50, MS)
    assert mean_ns(spins) == mean_ns(sleeps)
    vain_ns = 50 * (COSTS.at("entry_ns") + COSTS.at("epoll_wait_ns"))
    asleep_ns = sleeps.cpu_ns_per_request or 0
    one_cut_by_the_window_ns = vain_ns / spins.requests["completed"]
    assert spins.cpu_ns_per_request == pytest.approx(asleep_ns + vain_ns, abs=one_cut_by_the_window_ns)


def test_few_spins_suffice_where_requests_follow_at_once() -> None:
    sleeps, spins = at_low_load(0, 0), at_low_load(50, 0)
    assert parts_of(sleeps)["wakeup"] > parts_of(spins)["wakeup"] == 0
    assert spins.throughput_per_s > 1.5 * sleeps.throughput_per_s
