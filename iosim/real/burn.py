"""burn: a given amount of this thread's CPU time, in user mode.

Discussion: which clock? The monotonic clock is cheap to read, but it runs on while the thread is preempted, or waits
for the interpreter's lock: ten threads that "compute" 1 ms each would finish together after 1 ms, on one CPU. So the
time is the thread's own (CLOCK_THREAD_CPUTIME_ID). Reading that is a system call of some 0.5 us, and a loop of nothing
but readings would burn *system* time. So the loop spins in user mode for most of the rest, at a rate that is measured
once, looks at the clock, and goes on; the last, short rest is spun without another look.
"""

import time
from collections.abc import Callable
from functools import lru_cache
from itertools import repeat
from typing import NamedTuple

_CAREFUL = 0.75
"""Spin for this much of the rest, then look: the rate wavers (caches, the other hyper-thread)."""
_TRIAL_NS = 20_000


class _Pace(NamedTuple):
    """What this interpreter does in a nanosecond, and what asking and calling cost."""

    turns_per_ns: float
    reading_ns: float
    overhead_ns: float


def burn(work_ns: int) -> None:
    """Use ``work_ns`` nanoseconds of this thread's CPU time, this call included (it needs some 2 us at least)."""
    _burn(work_ns, _pace())


def _burn(work_ns: int, pace: _Pace) -> None:
    turns_per_ns, reading_ns, overhead_ns = pace
    end_ns = time.thread_time_ns() + work_ns - overhead_ns
    while (rest_ns := end_ns - time.thread_time_ns()) > 3 * reading_ns:
        _spin((rest_ns * _CAREFUL - reading_ns) * turns_per_ns)
    _spin(rest_ns * turns_per_ns)


def _spin(turns: float) -> None:
    for _ in repeat(None, max(0, int(turns))):
        pass


@lru_cache(maxsize=1)
def _pace() -> _Pace:
    """Measured once per process, the best of several: what disturbs only ever adds."""
    turns = 2000
    reading_ns = _least_ns(lambda: None)
    spin_ns = _least_ns(lambda: _spin(turns)) - reading_ns
    pace = _Pace(turns / max(spin_ns, 1.0), reading_ns, 0.0)
    return pace._replace(overhead_ns=_least_ns(lambda: _burn(_TRIAL_NS, pace)) - reading_ns - _TRIAL_NS)


def _least_ns(action: Callable[[], None]) -> int:
    """The CPU time of ``action`` and one reading of the clock."""
    least_ns = 1 << 62
    for _ in range(20):
        start_ns = time.thread_time_ns()
        action()
        least_ns = min(least_ns, time.thread_time_ns() - start_ns)
    return least_ns
