"""The models of several threads and processes, on this host: whom a connection wakes, and who waits for a worker."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from iosim.load import Load
from iosim.programs import find
from iosim.real.driver import drive
from iosim.real.kernel import RealKernel
from iosim.real.measure import measure
from iosim.syscalls import SOCK_NONBLOCK, bind, connect, fork, getsockname, listen, socket

pytestmark = pytest.mark.real

WORKERS = 4
CONNECTIONS = 6


@pytest.mark.parametrize(("exclusive", "woken"), [(0, [1] * WORKERS), (1, [1, 0, 0, 0])])
def test_whom_a_connection_wakes_in_prefork_epoll(exclusive: int, woken: list[int]) -> None:
    """All idle workers, or the first that sleeps, every time: who is woken goes to sleep once more."""
    worker = find("prefork_epoll").server.__globals__["worker"]
    history: list[list[int]] = []

    async def program() -> None:
        listener = await socket(SOCK_NONBLOCK)
        await bind(listener, ("127.0.0.1", 0))
        await listen(listener)
        for number in range(WORKERS):
            await fork(worker, listener, exclusive)
            until_asleep(number + 1)
        for _ in range(CONNECTIONS):
            before = sleeps()
            await connect(await socket(), await getsockname(listener))
            until_asleep(WORKERS)
            history.append([after - earlier for after, earlier in zip(sleeps(), before, strict=True)])

    opened = os.listdir("/proc/self/fd")
    try:
        drive(RealKernel(), program())
    finally:
        for child in children():
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        for fd in set(os.listdir("/proc/self/fd")) - set(opened):
            with suppress(OSError):  # the one that listed them
                os.close(int(fd))
    assert history == [woken] * CONNECTIONS


def children() -> list[int]:
    """Our own child processes, the oldest first."""
    return [int(child) for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


def sleeps() -> list[int]:
    """How often each child went to sleep so far (voluntary switches, proc(5))."""
    return [int(_status(child)["voluntary_ctxt_switches"]) for child in children()]


def _status(process: int) -> dict[str, str]:
    return dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())


def until_asleep(count: int) -> None:
    """Until so many children sleep, and have for a while."""
    seen = 0
    for _ in range(2000):
        time.sleep(0.002)
        seen = seen + 1 if all(_status(child)["State"].split()[0] == "S" for child in children()) else 0
        if seen == 5 and len(children()) == count:
            return
    raise AssertionError("the workers do not go to sleep")


@pytest.mark.parametrize("model", ["prefork", "thread_pool"])
def test_connections_hold_their_worker(model: str) -> None:
    """Two workers and three clients: the third is not answered before another has gone."""
    params: dict[str, Any] = {"workers": 2}
    run = measure(model, Load(clients=3, think_ns=0, requests=60), params=params)
    assert run.requests["in_flight"] == 1
    assert run.requests["completed"] == run.requests["issued"] - 1
    assert any("answers no more" in warning for warning in run.warnings)
