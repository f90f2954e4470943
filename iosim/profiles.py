"""Runtime profiles: what asyncio and uvloop add in user mode, from peers and models that are fed alike.

A turn of a loop that answers ``batch`` requests costs one readiness call and ``batch`` times a request. Batches of two
sizes tell them apart. What the kernel does in it is the same under every runtime, so it cancels against the model under
the driver of ``iosim.real``, whose own share is known (``iosim.fits``).
"""

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Mapping

from iosim.costs import Costs
from iosim.programs import find
from iosim.real.peers import PEERS, missing
from iosim.real.processes import Child

FEW, MANY = 1, 16
IDLE = 256
"""Connections that never ask: their numbers stay below FD_SETSIZE."""
PROBE_S = 20.0
FEWEST_ROUNDS = 3
SCANNED = {"poll_loop": "pollfd_ns", "select_loop": "descriptor_ns"}
"""Models whose readiness call is handed every descriptor → the figure of one."""
DRIVER = ""

Probe = tuple[str, str, int, int]
"""(runtime, model, batch, idle)."""


def profiles(
    costs: Costs, cpu: int, seconds: float, progress: Callable[[float], None] = lambda _fraction: None
) -> dict[str, dict[str, float]]:
    """Runtime → the figures that differ from those of the driver, in ``costs``. Those not installed are left out.

    Raises RuntimeError in one line when a server could not be fed.
    """
    runtimes = [runtime for runtime in PEERS if not missing(runtime)]
    probes = [(runtime, "epoll_loop", batch, 0) for runtime in (DRIVER, *runtimes) for batch in (FEW, MANY)]
    probes += [
        (runtime, model, FEW, idle) for runtime in (DRIVER, "asyncio") for model in SCANNED for idle in (0, IDLE)
    ]
    found: dict[Probe, list[Mapping[str, float]]] = defaultdict(list)
    begun_s, rounds = time.monotonic(), 0
    while (past_s := time.monotonic() - begun_s) < seconds or rounds < FEWEST_ROUNDS:
        progress(min(1.0, past_s / seconds))
        for probe in probes:
            found[probe].append(_fed(*probe, cpu))
        rounds += 1
    turns = {probe: statistics.median(each["turn_ns"] for each in answers) for probe, answers in found.items()}
    answers = [each for several in found.values() for each in several]
    framing_ns, plain_ns = (statistics.median(each[name] for each in answers) for name in ("framing_ns", "call_ns"))
    made = {}
    for runtime in runtimes:
        # uvloop calls from C; asyncio through the wrappers of socket and select
        call_ns = 0.0 if runtime == "uvloop" else max(0.0, plain_ns - costs.at("entry_ns"))
        made[runtime] = _profile(costs, turns, runtime, call_ns, framing_ns)
    return made


def _fed(runtime: str, model: str, batch: int, idle: int, cpu: int) -> Mapping[str, float]:
    """One measurement, in a process of its own."""
    child = Child("iosim.real.feeding", inherit=())
    try:
        child.say({"runtime": runtime, "model": str(find(model).path), "batch": batch, "idle": idle, "cpu": cpu})
        give_up_s = time.monotonic() + PROBE_S
        while time.monotonic() < give_up_s and (lines := child.lines()) is not None:
            if lines:
                return lines[0]
            child.wait(0.1)
        reason = child.stderr.strip().rpartition("\n")[2] or "it did not answer"
        raise RuntimeError(f"calibrating {runtime or 'the driver'}: {reason}")
    finally:
        child.end()


def _profile(
    costs: Costs, turns: Mapping[Probe, float], runtime: str, call_ns: float, framing_ns: float
) -> dict[str, float]:
    def request(runtime: str) -> float:
        return (turns[runtime, "epoll_loop", MANY, 0] - turns[runtime, "epoll_loop", FEW, 0]) / (MANY - FEW)

    def turn(runtime: str) -> float:
        return turns[runtime, "epoll_loop", FEW, 0] - FEW * request(runtime)

    driver = 2 * costs.at("call_ns") + costs.at("event_ns") + costs.at("request_ns")
    added = request(runtime) - request(DRIVER) + driver - 2 * call_ns
    request_ns = min(framing_ns, max(0.0, added))
    figures = {
        "call_ns": call_ns,
        "turn_ns": max(0.0, turn(runtime) - turn(DRIVER) + costs.at("call_ns") - call_ns),
        "event_ns": max(0.0, added - request_ns),
        "request_ns": request_ns,
        "select_call_ns": 0.0,
        "descriptor_ns": 0.0,
        "pollfd_ns": 0.0,
    }
    if runtime != "uvloop":  # the loops of asyncio share their selectors
        for model, figure in SCANNED.items():
            figures[figure] = costs.at(figure) + max(0.0, _scan(turns, "asyncio", model) - _scan(turns, DRIVER, model))
    return {name: float(f"{ns:.4g}") for name, ns in figures.items()}


def _scan(turns: Mapping[Probe, float], runtime: str, model: str) -> float:
    """Of one idle descriptor."""
    return (turns[runtime, model, FEW, IDLE] - turns[runtime, model, FEW, 0]) / IDLE
