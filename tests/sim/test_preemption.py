"""Time slices that end in the middle of anything: nothing is done before it is paid for, and nothing is lost."""

from pathlib import Path

import pytest

from iosim.costs import Costs
from iosim.load import Load
from iosim.machine import Machine
from iosim.run import run

MS = 1_000_000
TINY_NS = 1000  # less than a switch
CALLS = """
from contextlib import suppress
from iosim.protocol import Conversation, respond, send_some
from iosim.syscalls import *
"""
EPOLL_IN_THREADS = """
async def server(listener):
    await fcntl(listener, F_SETFL, O_NONBLOCK)
    for _ in range(3):
        await clone(worker, listener)
    await worker(listener)


async def worker(listener):
    epoll = await epoll_create()
    await epoll_ctl(epoll, EPOLL_CTL_ADD, listener, EPOLLIN)
    conversations = {}
    while True:
        for fd, _ in await epoll_wait(epoll):
            if fd == listener:
                with suppress(BlockingIOError):
                    conn = await accept4(listener, SOCK_NONBLOCK)
                    conversations[conn] = Conversation()
                    await epoll_ctl(epoll, EPOLL_CTL_ADD, conn, EPOLLIN)
            else:
                for request in conversations[fd].requests(await read(fd)):
                    conversations[fd].unsent += await respond(request)
                await send_some(fd, conversations[fd])
"""


@pytest.mark.parametrize("network", ["loopback", "nic"])
@pytest.mark.parametrize("cpus", [1, 2])
def test_the_shortest_slice_gets_something_done(cpus: int, network: str) -> None:
    """A slice begins after the switch, and a softirq that delays the switch does not end it."""
    load = Load(clients=20, think_ns=0, work_ns=10_000, requests=200)
    result = run("threads", load, machine=Machine(cpus=cpus, slice_ns=TINY_NS, network=network))
    assert result.requests["completed"] == 200
    assert result.cpu_causes_ns is not None
    assert result.cpu_causes_ns["compute"] == 200 * 10_000
    assert (result.context_switches["involuntary"] or 0) > 200 * 10


def test_a_preempted_write_leaves_when_its_work_is_done() -> None:
    """Two writes of 100 us share a CPU in slices of 30 us: they end at 190 and 200 us."""
    costs = Costs().scaled_to_zero().replace(write_ns=100_000)
    load = Load(clients=2, think_ns=0, think="constant", requests=2)
    result = run("threads", load, costs=costs, machine=Machine(slice_ns=30_000))
    assert result.latency_ns["max"] == 200_000
    assert result.latency_ns["mean"] == 195_000


@pytest.mark.parametrize("slice_ns", [1000, 3000, 20_000])
@pytest.mark.parametrize("think_ns", [0, 20_000])
def test_threads_that_are_preempted_in_their_readiness_call(think_ns: int, slice_ns: int, tmp_path: Path) -> None:
    model = tmp_path / "epoll_in_threads.py"
    model.write_text(CALLS + EPOLL_IN_THREADS)
    load = Load(clients=30, think_ns=think_ns, duration_ns=5 * MS, warmup_ns=0)
    one, other = (
        run(str(model), load, machine=Machine(slice_ns=slice_ns), coalesce=coalesce) for coalesce in (True, False)
    )
    assert one.digest == other.digest
    assert one.latency_parts_ns is not None
    assert min(one.latency_parts_ns.values()) >= 0


def test_an_ended_program_closes_each_connection_once(tmp_path: Path) -> None:
    """shutdown and then close tell the client one end, and what it asks after it has failed."""
    model = tmp_path / "hasty.py"
    model.write_text(
        CALLS + "\nasync def server(listener):\n    while True:\n        conn = await accept4(listener)\n"
        "        request = await read(conn)\n        await write(conn, await respond(request))\n"
        "        await shutdown(conn)\n        await close(conn)\n"
    )
    result = run(str(model), Load(clients=3, rate_per_s=10_000, requests=30))
    assert result.requests == {"issued": 30, "completed": 3, "in_flight": 0, "dropped": 0, "failed": 27}
