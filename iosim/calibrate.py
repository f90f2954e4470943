"""calibrate: what the system calls of this host cost, as a table of ``iosim.Costs``.

*Measures*: the primitives hot, in a loop (``iosim.primitives``, read by ``iosim.fits``), and what a sleep adds, in
servers on a CPU of their own (``iosim.pingpong``, read by ``iosim.waking``); all of it through the same driver and
kernel class as ``iosim measure``. The interpreter's share has figures of its own, so ``Costs.in_c()`` is this host
under a server written in C; what other runtimes add is found by ``iosim.profiles``.
*Does not measure*: memory, ``fcntl_ns``, ``select_word_ns``, ``poll_copy_ns``, ``uring_setup_ns``,
``uring_sq_pass_ns``, and nothing of io_uring where the host forbids it (the defaults stand); and where a source speaks
of a share, the default table divides a sum that cannot be measured apart.
"""

import hashlib
import json
import select
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from iosim.costs import Costs
from iosim.profiles import profiles
from iosim.real.host import host_description, share_cpus
from iosim.real.processes import Child

QUICK_S, FULL_S = 7.0, 30.0
QUICK_SCANNED, FULL_SCANNED = (10, 100, 400, 1000), (10, 100, 400, 1000, 4000)
"""Descriptors that select and poll are asked about."""
START_S = 20.0
CALLS_SHARE = 0.75
"""Of the whole time, roughly, goes to system calls and sleeps; the rest to runtimes."""
PATIENCE = 4
"""A busy host may take so many times as long."""
NOISY = 0.2
PROFILED = "peers of iosim.real.peers fed in batches of 1 and 16, less the driver's epoll_loop fed alike"
_SCAN = "idle connections, time-out 0, per descriptor, by how many there are"
TIERED = {
    "poll_scan_ns": _SCAN,
    "select_scan_ns": _SCAN,
    "cold_ns": "blocking, one client: CPU time less calls, sleep and switch, by the µs that the CPU was idle",
    "idle_exit_ns": "blocking, one client: median latency less CPU time and the clients' delays, by the same µs",
}

Progress = Callable[[str, float], None]


def calibrate(*, quick: bool = False, seconds: float | None = None, progress: Progress | None = None) -> Costs:
    """The cost table of this host, with a source and a spread for each figure.

    ``quick`` takes about 10 s instead of half a minute; ``seconds`` sets the time of measuring itself.
    ``progress(label, fraction)`` is told how far it is. ``host`` says on what machine, and how steady it was. Raises
    RuntimeError in one line when this host cannot be measured; the caller's process is left as it is.
    """
    if not sys.platform.startswith("linux"):
        raise RuntimeError(f"calibrating needs Linux, this is {sys.platform}: use the default costs")
    wanted_s = seconds if seconds is not None else QUICK_S if quick else FULL_S
    if not 0 < wanted_s <= 3600:
        raise ValueError(f"calibrate: came seconds={seconds}, expected more than 0 and at most 3600")
    (server_cpu,), client_cpu, warnings = share_cpus(1)
    spec = {
        "seconds": wanted_s,
        "scanned": QUICK_SCANNED if quick else FULL_SCANNED,
        "server_cpu": server_cpu,
        "client_cpu": client_cpu,
    }
    told = progress or (lambda _label, _fraction: None)
    costs = _table(_carry_out(spec, wanted_s, lambda label, done: told(label, CALLS_SHARE * done)), warnings)
    known = profiles(
        costs, server_cpu, wanted_s / 3, lambda done: told("runtimes", CALLS_SHARE + (1 - CALLS_SHARE) * done)
    )
    return Costs(**{**costs.model_dump(), "runtimes": known, "sources": {**costs.sources, "runtimes": PROFILED}})


def _carry_out(spec: Mapping[str, Any], wanted_s: float, progress: Progress) -> Mapping[str, Any]:
    """Start the process that measures, see it to its end; what it found."""
    give_up_s = time.monotonic() + START_S + PATIENCE * wanted_s
    child = Child("iosim.calibration", inherit=())
    try:
        child.say(spec)
        while (lines := child.lines()) is not None:
            for line in lines:
                if "figures" in line:
                    return line
                progress("system calls and sleeps", line["progress"])
            if time.monotonic() > give_up_s:
                raise RuntimeError(
                    f"calibrating took longer than {START_S + PATIENCE * wanted_s:.0f} s: is this host busy?"
                )
            select.select([child.out], [], [], 0.2)
        reason = child.stderr.strip().rpartition("\n")[2] or "it was killed"
        raise RuntimeError(f"calibrating failed: {reason}")
    finally:
        child.end()


def _table(found: Mapping[str, Any], warnings: list[str]) -> Costs:
    """The Costs of what was found: figures are (ns, spread, how), tiers are [(sockets, ns), …]."""
    figures: dict[str, Any] = {name: _digits(ns) for name, (ns, _, _) in found["figures"].items()}
    sources = {name: f"{how}; spread {spread:.0%}" for name, (_, spread, how) in found["figures"].items()}
    for name, tiers in found["tiers"].items():
        figures[name] = tuple((count, _digits(ns)) for count, ns in tiers)
        sources[name] = TIERED.get(name) or f"{sources[name]}; it grows with the sockets as the default does"
    for name in ("descriptor_ns", "pollfd_ns"):
        sources[name] = "0: the driver keeps the array or bitmap between calls"
    sources["turn_ns"] = "0: a model's loop is in event_ns and request_ns"
    entry_ns = figures["entry_ns"]
    figures["lock_wait_ns"] = _digits(entry_ns + figures["sleep_ns"])
    figures["lock_wake_ns"] = _digits(entry_ns + figures["wake_ns"])
    sources["lock_wait_ns"] = "a futex: entry_ns and sleep_ns"
    sources["lock_wake_ns"] = "a futex: entry_ns and wake_ns"
    figures["switch_interval_ns"] = sys.getswitchinterval() * 1e9
    sources["switch_interval_ns"] = "sys.getswitchinterval() of this Python"
    host = host_description()
    pace_ns, pace_spread, _ = found["pace"]
    pace = f"an empty C call takes {pace_ns:.0f} ns ± {pace_spread:.0%}"
    disturbed = f"others had the CPUs in {found['disturbed']:.0%} of the segments"
    if pace_spread > NOISY or found["disturbed"] > 2 * NOISY:
        disturbed += ": noisy, calibrate again when this host is quiet"
    where = f"{host['cpu']}, {host['kernel']}, Python {host['python']}, {host['cpus']} CPUs"
    digest = hashlib.sha256(json.dumps(host, sort_keys=True).encode()).hexdigest()[:6]
    return Costs(
        runtime="cpython",
        name=f"host-{digest}",
        host="; ".join([where, pace, disturbed, *warnings]),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        sources=sources,
        **figures,
    )


def _digits(ns: float) -> float:
    """Four digits: more would pretend."""
    return float(f"{ns:.4g}")
