"""Every model serves real sockets: the requests add up, and the syscall census is what its text says."""

import pytest

from iosim.load import Load
from iosim.programs import find, names
from iosim.real.measure import measure

pytestmark = pytest.mark.real

REQUESTS = 120
ONE_AT_A_TIME = "blocking"


def closed_loop(clients: int) -> Load:
    return Load(clients=clients, think_ns=0, requests=REQUESTS)


@pytest.mark.parametrize("name", names())
def test_serves_one_client_and_several_with_equal_census(name: str) -> None:
    censuses = []
    for clients in (1, 1) if name == ONE_AT_A_TIME else (1, 5, 5):
        run = measure(name, closed_loop(clients))
        assert run.world == "real"
        assert run.requests == {"issued": REQUESTS, "completed": REQUESTS, "in_flight": 0, "dropped": 0, "failed": 0}
        assert run.syscalls["close"] == clients
        if "io_uring_enter" not in run.syscalls:  # there they are operations, and no calls
            assert run.syscalls["aio_read" if name == "posix_aio" else "read"] >= REQUESTS + clients
            assert run.syscalls["accept4"] >= clients
        timing_dependent = find(name).timing_dependent
        censuses.append({call: count for call, count in run.syscalls.items() if call not in timing_dependent})
    assert censuses[-1] == censuses[-2]


def test_census_counts_calls_entered_finished_or_not() -> None:
    """One accept4 returned, one sleeps when the run ends; one read per request and one that finds the end of file."""
    run = measure("blocking", closed_loop(1))
    assert run.syscalls == {"accept4": 2, "read": REQUESTS + 1, "write": REQUESTS, "close": 1}
    assert run.window_syscalls == {"read": REQUESTS, "write": REQUESTS}


def test_census_of_every_thread_and_worker() -> None:
    threads = measure("threads", closed_loop(7))
    assert threads.syscalls == {
        "accept4": 8,
        "clone": 7,
        "read": REQUESTS + 7,
        "write": REQUESTS,
        "close": 7,
    }
    prefork = measure("prefork", closed_loop(3), params={"workers": "4"})
    assert prefork.params == {"workers": 4}
    assert prefork.syscalls == {
        "fork": 4,
        "wait": 1,
        "accept4": 3 + 4,
        "read": REQUESTS + 3,
        "write": REQUESTS,
        "close": 3,
    }


def test_a_connection_that_blocking_never_accepts_is_left_waiting_and_said() -> None:
    run = measure("blocking", closed_loop(2))
    assert run.requests["completed"] + run.requests["in_flight"] == run.requests["issued"]
    assert run.requests["in_flight"] == 1
    assert any("answers no more" in warning for warning in run.warnings)
