"""The interpreter's lock, measured and simulated: what an echo thread waits for beside threads that only compute."""

from collections.abc import Callable
from pathlib import Path

import pytest

from iosim.costs import Costs
from iosim.load import Load
from iosim.real.measure import measure
from iosim.results import Run
from iosim.run import run

pytestmark = pytest.mark.real

INTERVAL_NS = 5_000_000
CPYTHON = Costs(runtime="cpython", call_ns=600, request_ns=1100)
LOAD = Load(clients=1, think_ns=0, duration_ns=1_500_000_000)
BESIDE = """
from iosim.protocol import Conversation, respond, write_all
from iosim.syscalls import accept4, clone, close, compute, read


async def server(listener: int, *, burners: int = 0) -> None:
    conn = await accept4(listener)
    for _ in range(burners):
        await clone(burner)
    conversation = Conversation()
    while data := await read(conn):
        for request in conversation.requests(data):
            await write_all(conn, await respond(request))
    await close(conn)


async def burner() -> None:
    while True:
        await compute(1_000_000)
"""


def simulated(model: Path, burners: int) -> Run:
    return run(str(model), LOAD, costs=CPYTHON, params={"burners": burners})


def measured(model: Path, burners: int) -> Run:
    """The quickest of three: what else this host does only ever adds."""
    runs = [measure(str(model), LOAD, params={"burners": burners}) for _ in range(3)]
    return min(runs, key=lambda each: each.latency_ns["mean"] or 0)


@pytest.mark.parametrize("world", [simulated, measured])
def test_an_echo_thread_waits_for_the_switch_interval(world: Callable[[Path, int], Run], tmp_path: Path) -> None:
    """Alone it answers in microseconds, beside one thread that computes at about one interval (and what its turn on the
    CPU takes), beside two at two or more: the first hand-over goes to the other of them."""
    model = tmp_path / "beside.py"
    model.write_text(BESIDE)
    intervals = []
    for burners in range(3):
        mean_ns = world(model, burners).latency_ns["mean"]
        assert mean_ns is not None
        intervals.append(mean_ns / INTERVAL_NS)
    alone, one, two = intervals
    assert alone < 0.1
    assert 0.9 < one < 2
    assert 2 <= two < 5
