"""sigio on real sockets when the queue of signals is short: it falls back to poll, and loses nothing."""

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from iosim.load import Load
from iosim.programs import find
from iosim.real.measure import measure
from iosim.syscalls import RLIMIT_SIGPENDING

pytestmark = pytest.mark.real

BURST = Load(clients=40, think_ns=0, requests=2000)


@pytest.fixture(params=[0, 1, 5])
def short_queue(request: pytest.FixtureRequest) -> Iterator[int]:
    """RLIMIT_SIGPENDING of this process and so of the server, above what the user's other processes have queued."""
    before = resource.getrlimit(RLIMIT_SIGPENDING)
    (others,) = (line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "SigQ" in line)
    limit: int = request.param
    resource.setrlimit(RLIMIT_SIGPENDING, (limit + int(others.partition("/")[0]), before[1]))
    yield limit
    resource.setrlimit(RLIMIT_SIGPENDING, before)


@pytest.mark.usefixtures("short_queue")
def test_a_burst_beyond_the_queue_is_answered_by_poll() -> None:
    run = measure("sigio", BURST)
    assert run.requests["completed"] == run.requests["issued"] == 2000
    assert run.syscalls["poll"] > 5
    assert run.syscalls["sigtimedwait"] > 1
    assert run.syscalls["close"] == 40


def test_a_server_that_forgot_to_block_its_signal_is_ended_by_it(tmp_path: Path) -> None:
    text = find("sigio").path.read_text()
    model = tmp_path / "forgetful.py"
    model.write_text(text.replace("await sigprocmask(SIG_BLOCK, (SIGIO, SIGRTMIN))", "pass"))
    with pytest.raises(RuntimeError, match="the process of the server ended: signal 34 did it"):
        measure(str(model), BURST)


def test_with_room_in_the_queue_poll_is_called_once() -> None:
    run = measure("sigio", BURST)
    assert run.requests["completed"] == 2000
    assert run.syscalls["poll"] == 1
    assert "sigtimedwait" not in run.syscalls
