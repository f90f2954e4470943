"""The process that calibrates: ``python -m iosim.calibration``, started by ``iosim.calibrate``.

It stands apart because it pins itself, raises its descriptor limit, stops the garbage collector and forks servers, none
of which the caller (a notebook, a test) should notice. What it reads and writes is said in ``iosim.real.processes``:
the spec has ``seconds``, ``scanned``, ``server_cpu`` and ``client_cpu``; it answers lines with ``progress`` and one
with ``figures``, ``tiers``, ``pace`` (an empty C call: how fast this CPU was) and ``disturbed`` (the fraction of
segments in which others had the CPUs).

Rounds of hot loops and of servers take turns until the time is up, so that both see the same host.
"""

import gc
import os
import resource
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, TypeVar

from iosim.aio_rates import AioBench, aio_figures
from iosim.fits import Figures, Fitted, fitted, hot
from iosim.primitives import Bench, fork_ns
from iosim.real.processes import die_with, read_spec, tell
from iosim.ring_rates import RingBench, crowded, ring_figures
from iosim.runtime_share import serve
from iosim.waking import Segments, settle

Made = TypeVar("Made")
HOT_ROUNDS = 3
"""Of hot loops, per round of servers."""
FEWEST_ROUNDS = 4
FORKS = 10


def main() -> None:
    spec = read_spec()
    die_with(spec["parent"])
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    gc.disable()
    scanned = tuple(spec["scanned"])
    figures, tiers, pace, disturbed = _measure(spec, scanned)
    tell(
        figures={name: tuple(each) for name, each in figures.items()},
        tiers=tiers,
        pace=tuple(pace),
        disturbed=disturbed,
    )


def _measure(spec: dict[str, Any], scanned: tuple[int, ...]) -> tuple[Figures, dict[str, Any], Fitted, float]:
    _pin(spec["server_cpu"])
    begun_s = time.monotonic()
    rounds = 0
    with ExitStack() as stack:
        segments = Segments(spec["server_cpu"], spec["client_cpu"], stack)  # forks before there are many descriptors
        forks = fork_ns(FORKS)
        bench = Bench(scanned)
        rings, aio = _if_allowed(RingBench, bench), _if_allowed(AioBench, bench)
        while (past_s := time.monotonic() - begun_s) < spec["seconds"] or rounds < FEWEST_ROUNDS:
            tell(progress=min(1.0, past_s / spec["seconds"]))
            for _ in range(HOT_ROUNDS):
                bench.round()
                serve(bench.rounds, bench.zero, bench.null)
                if rings is not None:
                    rings.round()
                if aio is not None:
                    aio.round()
            segments.measure(_pin)
            rounds += 1
    hot_figures, tiers = hot(bench.rounds, scanned)
    figures = dict(hot_figures)
    figures["fork_ns"] = fitted(
        forks, "the parent's share, through the driver; of an interpreter with numpy, so more than a small program pays"
    )
    figures, by_idleness = settle(figures, segments)
    if rings is not None:
        figures |= ring_figures(bench.rounds, hot_figures, figures)
        tiers |= crowded(figures)
    if aio is not None:
        figures |= aio_figures(bench.rounds, hot_figures)
    return figures, tiers | by_idleness, fitted(bench.rounds["no call"]), segments.disturbed


def _if_allowed(kind: Callable[[Bench], Made], bench: Bench) -> Made | None:
    """A bench of calls that a host may forbid; None where it does: then their default prices stand."""
    try:
        return kind(bench)
    except OSError:
        return None


def _pin(cpu: int) -> None:
    os.sched_setaffinity(0, [cpu])


if __name__ == "__main__":
    main()
