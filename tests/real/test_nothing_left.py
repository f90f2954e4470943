"""Whatever ends a real run, no process and no port of it is left."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from iosim.load import Load
from iosim.real.measure import measure

pytestmark = pytest.mark.real

MARK = "IOSIM_TEST_MARK"
SHORT = Load(clients=2, rate_per_s=500, duration_ns=100_000_000, warmup_ns=0)

PREFORK = """
from pathlib import Path
from iosim.syscalls import accept4, fork, getsockname, nanosleep, read, wait

async def server(listener, *, note: str = "", then: str = "serve"):
    _, port = await getsockname(listener)
    for _ in range(3):
        await fork(worker, listener)
    await nanosleep(50_000_000)
    Path(note).write_text(str(port))
    if then == "raise":
        raise ValueError("as wanted")
    await wait()

async def worker(listener):
    while conn := await accept4(listener):
        while await read(conn):
            pass
"""


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> str:
    """In the environment of everything that this test starts."""
    value = f"{os.getpid()}-{time.monotonic_ns()}"
    monkeypatch.setenv(MARK, value)
    return value


@pytest.fixture
def prefork(tmp_path: Path) -> str:
    path = tmp_path / "with_workers.py"
    path.write_text(PREFORK)
    return str(path)


def marked(mark: str) -> list[int]:
    """The living processes with that mark in the environment they were started with."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def gone(mark: str, within_s: float = 3.0) -> bool:
    give_up_s = time.monotonic() + within_s
    while marked(mark) and time.monotonic() < give_up_s:
        time.sleep(0.01)
    return not marked(mark)


def refused(note: Path) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(note.read_text()))) != 0


def test_after_a_normal_end(mark: str, prefork: str, tmp_path: Path) -> None:
    descriptors = os.listdir("/proc/self/fd")
    note = tmp_path / "port"
    measure(prefork, SHORT, params={"note": str(note)})
    assert marked(mark) == []  # at once, not soon
    assert refused(note)
    assert len(os.listdir("/proc/self/fd")) == len(descriptors)


def test_after_an_exception_of_the_program(mark: str, prefork: str, tmp_path: Path) -> None:
    note = tmp_path / "port"
    with pytest.raises(RuntimeError, match="as wanted"):
        measure(prefork, SHORT, params={"note": str(note), "then": "raise"})
    assert marked(mark) == []
    assert refused(note)


def test_after_the_watchdog(mark: str, prefork: str, tmp_path: Path) -> None:
    note = tmp_path / "port"
    with pytest.raises(RuntimeError, match="ended after"):
        measure(prefork, Load(duration_ns=60 * 10**9), params={"note": str(note)}, timeout_s=1.0)
    assert marked(mark) == []
    assert refused(note)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_after_a_signal_to_the_one_who_measures(
    number: signal.Signals, mark: str, prefork: str, tmp_path: Path
) -> None:
    note = tmp_path / "port"
    text = (
        "from iosim.load import Load\nfrom iosim.real.measure import measure\n"
        f"measure({prefork!r}, Load(duration_ns=60 * 10**9), params={{'note': {str(note)!r}}})\n"
    )
    measuring = subprocess.Popen([sys.executable, "-c", text], stderr=subprocess.PIPE)
    try:
        give_up_s = time.monotonic() + 10
        while not (note.exists() and len(marked(mark)) >= 6) and time.monotonic() < give_up_s:
            time.sleep(0.02)
        assert len(marked(mark)) >= 6  # it, the server, three workers, the clients
        measuring.send_signal(number)
        measuring.communicate(timeout=10)
    finally:
        measuring.kill()
        measuring.communicate()
    assert gone(mark)
    assert refused(note)
