"""Peers: stock servers of asyncio and uvloop answer the same clients; and the profiles that are read off them."""

import pytest

from iosim.costs import Costs
from iosim.load import Load
from iosim.profiles import profiles
from iosim.real import peers
from iosim.real.host import share_cpus
from iosim.real.measure import measure
from iosim.real.peers import PEERS, missing
from iosim.run import run

pytestmark = pytest.mark.real

ALL = [
    pytest.param(runtime, model, marks=pytest.mark.skipif(missing(runtime), reason=f"{runtime} is not installed"))
    for runtime, models in PEERS.items()
    for model in models
]
REQUESTS = 60


@pytest.mark.parametrize(("runtime", "model"), ALL)
def test_a_peer_answers_every_request(runtime: str, model: str) -> None:
    load = Load(clients=5, think_ns=0, requests=REQUESTS, work_ns=20_000, request_bytes=3000, response_bytes=70_000)
    result = measure(model, load, runtime=runtime)
    assert result.requests == {"issued": REQUESTS, "completed": REQUESTS, "in_flight": 0, "dropped": 0, "failed": 0}
    assert (result.model, result.params, result.syscalls) == (model, {"runtime": runtime}, {})
    assert result.cpu_ns_per_request is not None
    assert result.cpu_ns_per_request > 20_000, "the work that a request asks for is done"


@pytest.mark.parametrize(
    ("runtime", "model", "reason"),
    [("uvloop", "threads", "it has no threads"), ("asyncio", "prefork", "no prefork"), ("c", "epoll_loop", "knows")],
)
def test_what_no_peer_does_is_refused_in_one_line(runtime: str, model: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as raised:
        measure(model, Load(), runtime=runtime)
    assert "\n" not in str(raised.value)


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "find_spec", lambda _name: None)
    with pytest.raises(LookupError, match="pip install uvloop"):
        measure("epoll_loop", Load(), runtime="uvloop")


def test_a_price_list_tells_which_runtimes_it_knows() -> None:
    with pytest.raises(ValueError, match=r"know c; .*calibrate"):
        run("epoll_loop", runtime="asyncio")
    measured = Costs(name="mine", runtime="cpython", call_ns=600, runtimes={"asyncio": {"call_ns": 140}})
    assert measured.under("asyncio").at("call_ns") == 140
    assert measured.under("asyncio").runtime == "asyncio"
    assert measured.under("c").at("call_ns") == 0
    assert measured.under("c").runtime == "c"
    assert measured.under("cpython") is measured


def test_profiles_of_this_host() -> None:
    """asyncio adds more to a request than uvloop does, streams more than a Protocol: in microseconds."""
    (cpu,), _, _ = share_cpus(1)
    costs = Costs(runtime="cpython", call_ns=600, event_ns=200, request_ns=1100)
    found = profiles(costs, cpu, seconds=0.1)
    known = costs.replace(runtimes=found)
    assert set(found) == {runtime for runtime in PEERS if not missing(runtime)}
    user_ns = {
        name: sum(profile[figure] for figure in ("turn_ns", "event_ns", "request_ns"))
        for name, profile in found.items()
    }
    assert 1000 < user_ns["asyncio"] < user_ns["asyncio_streams"] < 200_000
    if "uvloop" in found:
        assert user_ns["uvloop"] < user_ns["asyncio"]
    load = Load(clients=16, think_ns=0, duration_ns=10_000_000)
    throughputs = [run("epoll_loop", load, costs=known, runtime=runtime).throughput_per_s
                   for runtime in ("c", "asyncio", "asyncio_streams")]  # fmt: skip
    assert throughputs == sorted(throughputs, reverse=True)
