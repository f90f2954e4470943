"""One fixed workload, both worlds: every model makes the same calls in a simulated kernel and on Linux.

The counts are of calls entered, from the first to the last connection's close. Left out are the calls that the model's
own docstring names as timing-dependent.
"""

from collections.abc import Mapping

import pytest

from iosim.load import Load
from iosim.programs import find, names, workers_for
from iosim.real.measure import measure
from iosim.results import Run
from iosim.run import run

pytestmark = pytest.mark.real

MS = 1_000_000
REQUESTS = 60
LOADS = {
    "in turn": Load(clients=1, think_ns=0, think="constant", requests=REQUESTS),
    "thinking": Load(clients=1, think_ns=MS, think="constant", requests=REQUESTS, work_ns=10_000),
    "large replies": Load(clients=1, think_ns=0, think="constant", requests=20, response_bytes=8192),
    "several": Load(clients=6, think_ns=MS, think="constant", requests=REQUESTS),
    "mostly idle": Load(clients=50, active=0.04, think_ns=MS, think="constant", requests=REQUESTS),
}
ONE_AT_A_TIME = "blocking"
"""Serves no second connection before the first has ended."""
ASK_IN_VAIN = ("nonblocking", "hybrid_poll")
"""How often depends on the speed of the machine, even for one client."""


def census(result: Run, left_out: tuple[str, ...]) -> dict[str, int]:
    return {call: count for call, count in result.syscalls.items() if call not in left_out}


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("name", names())
def test_both_worlds_make_the_same_calls(name: str, load: str) -> None:
    if name == ONE_AT_A_TIME and LOADS[load].clients > 1:
        pytest.skip("it answers one connection at a time")
    params = workers_for(find(name), LOADS[load].clients)
    simulated, measured = (world(name, LOADS[load], params=params) for world in (run, measure))
    assert simulated.requests == measured.requests
    assert simulated.requests["completed"] == simulated.requests["issued"]
    left_out = find(name).timing_dependent
    assert census(simulated, left_out) == census(measured, left_out)


@pytest.mark.parametrize("load", ["in turn", "thinking"])
@pytest.mark.parametrize("name", [name for name in names() if name not in ASK_IN_VAIN])
def test_one_client_leaves_nothing_to_timing(name: str, load: str) -> None:
    """Where one request comes after the other, even the calls that wait for readiness are equal in number: in one
    measurement of three, for this host may take the CPU away between a reply and the look after it, and then the next
    request (or the end) is there already and saves that look."""
    params = {"accept_ms": 10_000} if name == "posix_aio" else {}  # else it looks at its door every now and then
    expected = run(name, LOADS[load], params=params).syscalls
    measured: list[Mapping[str, int]] = []
    while expected not in measured:
        assert len(measured) < 3, (expected, measured)
        measured.append(measure(name, LOADS[load], params=params).syscalls)


@pytest.mark.parametrize("name", names())
def test_timing_dependent_calls_are_few_and_used(name: str) -> None:
    """A model may name calls as timing-dependent only if it makes them, under one load at least; it never may name
    those that carry replies, unless it asks in vain."""
    model = find(name)
    made = {call for load in LOADS.values() for call in run(name, load).syscalls}
    assert set(model.timing_dependent) <= made
    assert len(model.timing_dependent) < len(made)
