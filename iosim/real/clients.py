"""The clients' process: ``main`` opens the connections, asks, and reads the meters.

What it reads and writes is said in ``iosim.real.processes``: the spec has ``port``, ``server`` (its process group),
``load``, ``seed``, ``census`` (descriptor), ``cpus`` (the server's) and ``cpu`` (its own); the answer is one line with
``report`` or ``error``. It spins from the first request to the last, so it needs a CPU of its own. It keeps its
connections until it is killed, so that no reset reaches a program whose run is over.
"""

import gc
import os
import resource
import socket
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from iosim.load import Load
from iosim.real.asking import NEVER, plan
from iosim.real.census import Census
from iosim.real.connecting import connect_all
from iosim.real.loop import Loop
from iosim.real.meters import asleep, cpu_time_ns, descriptors, group_members, read_slow
from iosim.real.processes import die_with, read_spec, tell
from iosim.stats import Latencies

MS = 1_000_000
FIRST_CALL_S = 1.0
SETTLED_S = 0.03
MANY_CALLS = 1000
QUIET_S = 0.1
BOUND_S = 10.0
STALL_NS = 1000 * MS
"""No reply and no call of the server for so long: it will not answer any more."""


def main() -> None:
    spec = read_spec()
    die_with(spec["parent"])
    os.sched_setaffinity(0, [spec["cpu"]])
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    gc.disable()
    load = Load(**spec["load"])
    try:
        measurement = _Measurement(spec, load)  # held to the end: its sockets close with it
        tell(report=measurement.run())
    except (RuntimeError, OSError) as error:
        tell(error=" ".join(str(error).split()))
    sys.stdin.readline()  # until the parent kills us


class _Measurement:
    """One run as the clients see it."""

    def __init__(self, spec: Mapping[str, Any], load: Load) -> None:
        self._spec, self._load = spec, load
        self._census = Census(spec["census"])
        self._sockets = self._connect()
        self._pids = group_members(spec["server"])

    def _connect(self) -> list[socket.socket | None]:
        _until_started(self._census, self._spec["server"])
        pids = group_members(self._spec["server"])
        before = descriptors(pids)
        return connect_all(self._spec["port"], self._load.clients, lambda: descriptors(pids) - before)

    def run(self) -> dict[str, Any]:
        """Ask as the load says; everything that was counted, as plain numbers."""
        watched = sorted({*self._spec["cpus"], self._spec["cpu"]})
        slow_before = read_slow(self._pids, watched)
        start_ns = time.perf_counter_ns()
        loop = Loop(self._sockets, plan(self._load, self._spec["seed"], start_ns), self._load.response_bytes)
        fixed_number = self._load.requests is not None
        if not fixed_number:
            loop.run(start_ns + self._load.warmup_ns)
        begin_ns = start_ns if fixed_number else start_ns + self._load.warmup_ns
        loop.start_measuring(begin_ns)
        before_ns, cpu_before_ns, calls_before = time.perf_counter_ns(), cpu_time_ns(self._pids), self._census.counts()
        stall = _Stall(self._load, loop)
        end_ns = loop.run(NEVER, stall) if fixed_number else loop.run(start_ns + self._load.end_ns)
        after_ns, cpu_after_ns, calls = time.perf_counter_ns(), cpu_time_ns(self._pids), self._census.counts()
        loop.stop_measuring(end_ns)
        slow_after = read_slow(self._pids, watched)
        report = _figures(loop, end_ns - begin_ns)
        if fixed_number and not stall.stalled:
            self._close_all()
        return report | {
            "asked_ns": end_ns - start_ns,
            "metered_ns": after_ns - before_ns,
            "cpu_ns": cpu_after_ns - cpu_before_ns,
            "ticks": [
                slow_after.user_ticks - slow_before.user_ticks,
                slow_after.system_ticks - slow_before.system_ticks,
            ],
            "switches": _difference(slow_before.switches, slow_after.switches),
            "steal_ns": slow_after.steal_ns - slow_before.steal_ns,
            "others_ns": max(0, slow_after.others_ns - slow_before.others_ns),
            "syscalls": self._census.counts() if fixed_number else calls,
            "window_syscalls": {
                name: grown for name, count in calls.items() if (grown := count - calls_before.get(name, 0))
            },
            "stalled": stall.stalled,
            "silent": loop.unanswered > 0 and loop.last_reply_ns < (begin_ns + end_ns) / 2,
            "connected": sum(one is not None for one in self._sockets),
        }

    def _close_all(self) -> None:
        """End every conversation, and wait until the server has taken note: it makes no call any more, or, if it is
        one that asks in vain for ever, closes nothing any more."""
        for one in self._sockets:
            if one is not None:
                one.close()
        if not _until_still(self._census.counts, QUIET_S, 2 * QUIET_S):
            _until_still(lambda: self._census.counts().get("close", 0), QUIET_S, BOUND_S)


class _Stall:
    """Notices that the server will not answer any more."""

    def __init__(self, load: Load, loop: Loop) -> None:
        self._loop = loop
        self._patience_ns = STALL_NS + 20 * load.work_ns
        self._seen = (0, 0)
        self._since_ns = self._looked_ns = 0
        self.stalled = False

    def __call__(self, now_ns: int) -> bool:
        if now_ns - self._looked_ns < 50 * MS:
            return False
        self._looked_ns = now_ns
        seen = (self._loop.replies, self._loop.issued)
        if seen != self._seen or not self._loop.unanswered:
            self._seen, self._since_ns = seen, now_ns
        self.stalled = now_ns - self._since_ns > self._patience_ns
        return self.stalled


def _until_started(census: Census, group: int) -> None:
    """Until the server has made its first call, has all its workers, and they sleep: whoever connects while a worker
    has yet to make its listener stands in the queue of another. A server that never sleeps is there when it has made
    many calls."""
    give_up_s = time.monotonic() + FIRST_CALL_S
    while not census.counts() and time.monotonic() < give_up_s:
        time.sleep(0.002)
    _until_still(lambda: [census.counts().get(call) for call in ("fork", "clone")], SETTLED_S, BOUND_S)
    give_up_s = time.monotonic() + FIRST_CALL_S
    calls = sum(census.counts().values())
    while not asleep(group_members(group)) and time.monotonic() < give_up_s:
        if sum(census.counts().values()) > calls + MANY_CALLS:
            break
        time.sleep(0.002)


def _until_still(look: Callable[[], object], quiet_s: float, bound_s: float) -> bool:
    """Wait until ``look()`` has not changed for ``quiet_s`` (True), or ``bound_s`` have passed (False)."""
    start_s = since_s = time.monotonic()
    seen = look()
    while (now_s := time.monotonic()) - since_s < quiet_s:
        if now_s - start_s > bound_s:
            return False
        time.sleep(0.002)
        if (now := look()) != seen:
            seen, since_s = now, time.monotonic()
    return True


def _figures(loop: Loop, window_ns: int) -> dict[str, Any]:
    """What the loop has counted."""
    latencies = Latencies()
    latencies.record(loop.latencies_ns)
    summary, warnings = latencies.summary()
    lateness = np.array(loop.lateness_ns, dtype=np.int64)
    return {
        "requests": {
            "issued": loop.issued,
            "completed": len(loop.latencies_ns),
            "in_flight": loop.in_flight,
            "dropped": loop.dropped,
            "failed": loop.failed,
        },
        "replies": loop.replies,
        "window_ns": window_ns,
        "latency_ns": summary,
        "warnings": warnings,
        "histogram": latencies.encode() if latencies.count else "",
        "hiccups": {
            "count": len(loop.hiccups_ns),
            "total_ns": sum(loop.hiccups_ns),
            "max_ns": max(loop.hiccups_ns, default=0),
        },
        "client_busy": 1 - loop.idle_ns / window_ns,
        "lateness_ns": {
            "mean": float(lateness.mean()) if len(lateness) else None,
            "p99": float(np.percentile(lateness, 99)) if len(lateness) else None,
        },
    }


def _difference(before: tuple[int, int] | None, after: tuple[int, int] | None) -> list[int] | None:
    return [after[0] - before[0], after[1] - before[1]] if before and after else None
