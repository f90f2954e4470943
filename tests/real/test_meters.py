"""The meters of other processes, held against what a process says of itself."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from iosim.real.host import host_description, share_cpus
from iosim.real.meters import cpu_time_ns, descriptors, group_members, read_slow

pytestmark = pytest.mark.real

BUSY = """
import os, sys, threading, time
def burn():
    end = time.thread_time() + 0.1
    while time.thread_time() < end: pass
thread = threading.Thread(target=burn); thread.start(); thread.join()
held = [open("/dev/null") for _ in range(10)]
print(time.process_time_ns(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other() -> Iterator[subprocess.Popen[str]]:
    """A process that has used CPU time in a thread that ended, and now waits."""
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    yield process
    process.kill()
    process.communicate()


def test_cpu_time_of_another_process_counts_threads_that_ended(other: subprocess.Popen[str]) -> None:
    assert other.stdout is not None
    said_ns = int(other.stdout.readline())
    assert said_ns > 100_000_000
    assert said_ns <= cpu_time_ns([other.pid]) < said_ns + 20_000_000
    assert descriptors([other.pid]) == 13
    assert group_members(other.pid) == [other.pid]
    slow = read_slow([other.pid], [0])
    assert abs((slow.user_ticks + slow.system_ticks) / os.sysconf("SC_CLK_TCK") - said_ns / 1e9) < 0.05
    os.kill(other.pid, signal.SIGKILL)
    time.sleep(0.05)
    assert group_members(other.pid) == []  # dead, though not reaped


def test_every_sleep_is_a_voluntary_switch() -> None:
    before = read_slow([os.getpid()], [0])
    for _ in range(50):
        time.sleep(0.0001)
    after = read_slow([os.getpid()], [0])
    assert before.switches is not None
    assert after.switches is not None
    assert 50 <= after.switches[0] - before.switches[0] < 100


def test_the_server_gets_the_first_cpus_and_the_clients_the_last() -> None:
    allowed = sorted(os.sched_getaffinity(0))
    server, clients, warnings = share_cpus(1)
    assert server == allowed[:1]
    assert clients == allowed[-1]
    assert bool(warnings) == (len(allowed) == 1)
    assert host_description()["cpus"] == len(allowed)
