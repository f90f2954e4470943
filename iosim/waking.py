"""What it costs to sleep and to be woken: what is left of a server's CPU time when its hot calls are taken off.

One client asks ``blocking`` for one request after another, so each request is one sleep. Of the CPU time per request,
the calls and the runtime are known from hot loops (``iosim.fits``); the rest is the sleep: leaving the CPU, coming
back, and finding caches and branch predictors in others' hands. That rest grows with the time that the CPU was idle;
the table has one figure for it, taken at ``REFERENCE_PER_S``, and its source tells the curve.
"""

import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

from iosim.fits import TINY_NS, Figures, Fitted, fitted, shares
from iosim.load import Load
from iosim.pingpong import MS, Served, Server, on_one_cpu
from iosim.primitives import MESSAGE

REFERENCE_PER_S = 5000.0
RARE_PER_S = 1000.0
SEGMENT_NS = 20 * MS
RARE_SEGMENT_NS = 40 * MS
ROUND_TRIPS = 300
SLEEPS = 0.95
"""A segment with fewer sleeps per request had queues: others had the CPU."""
QUEUED = 1.5
"""So had one with latencies so many times those of the quick ones."""


class Segments:
    """Short measurements of servers, taken in turns with the hot loops, so that both see the same host."""

    def __init__(self, server_cpu: int, client_cpu: int, stack: ExitStack) -> None:
        self._cpus = server_cpu, client_cpu
        self._sleeper = stack.enter_context(Server("blocking", server_cpu))
        self._spinner = stack.enter_context(Server("nonblocking", server_cpu))
        self.closed: list[Served] = []
        """blocking, asked again at once: the CPU is idle as long as the client takes."""
        self.reference: list[Served] = []
        self.rare: list[Served] = []
        self.awake: list[Served] = []
        """nonblocking, which never sleeps: what is left of its latency is the client's own."""
        self.one_cpu_ns: list[float] = []

    def measure(self, pin: Callable[[int], None]) -> None:
        """One of each. ``pin`` moves this process."""
        server_cpu, client_cpu = self._cpus
        pin(client_cpu)
        for kept, server, load in (
            (self.closed, self._sleeper, _load(None, SEGMENT_NS)),
            (self.reference, self._sleeper, _load(REFERENCE_PER_S, SEGMENT_NS)),
            (self.rare, self._sleeper, _load(RARE_PER_S, RARE_SEGMENT_NS)),
            (self.awake, self._spinner, _load(None, SEGMENT_NS)),
        ):
            if served := server.measure(load):
                kept.append(served)
        pin(server_cpu)
        self.one_cpu_ns.append(on_one_cpu(ROUND_TRIPS))

    @property
    def disturbed(self) -> float:
        """The fraction of the sleepers' segments in which another process had one of the two CPUs."""
        measured = [*self.closed, *self.reference, *self.rare]
        return 1 - sum(_undisturbed(each) for each in measured) / max(1, len(measured))


def _load(rate_per_s: float | None, duration_ns: int) -> Load:
    return Load(
        clients=1,
        rate_per_s=rate_per_s,
        think_ns=0 if rate_per_s is None else None,
        arrivals="constant",
        request_bytes=len(MESSAGE),
        response_bytes=len(MESSAGE),
        duration_ns=duration_ns,
        warmup_ns=0,
    )


def asleep(figures: Figures, segments: Segments) -> Figures:
    """The figures of waking, sleeping and switching, and the clients' delays."""
    served_ns = _served_ns(figures)
    closed, reference, rare = (_clean(each) for each in (segments.closed, segments.reference, segments.rare))
    switching = fitted([(total - 2 * served_ns + figures["request_ns"].ns) / 2 for total in segments.one_cpu_ns])
    parts = shares("wake_ns", "sleep_ns", "switch_ns", "process_switch_ns")
    how = "two processes in turns on one CPU: round trip less hot calls, halved; its share as in the default table"
    found = {
        name: Fitted(max(TINY_NS, switching.ns * parts[name]), switching.spread, how)
        for name in ("wake_ns", "switch_ns", "process_switch_ns")
    }
    curve = ", ".join(
        f"{statistics.mean(each.cpu_ns for each in some) - served_ns:.0f} ns after "
        f"{statistics.mean(each.idle_ns for each in some) / 1000:.0f} µs"
        for some in (closed, reference, rare)
    )
    slept = fitted([each.cpu_ns - served_ns - found["switch_ns"].ns for each in reference])
    found["sleep_ns"] = slept._replace(
        how=f"blocking, one client, {REFERENCE_PER_S:.0f} requests/s: CPU time less hot calls and switch; it grows "
        f"with the time that the CPU was idle (with the switch: {curve})"
    )
    return found | _delays(figures, segments.awake, reference, slept.ns + found["switch_ns"].ns)


def _delays(figures: Figures, awake: Sequence[Served], reference: Sequence[Served], asleep_ns: float) -> Figures:
    """The delays that are nobody's CPU time: the clients' own, and an idle CPU's way back."""
    served_ns, trap_ns = _served_ns(figures), _trap_ns(figures)
    asked_in_vain_ns = 2 * (trap_ns + figures["read_empty_ns"].ns)
    clients = fitted([each.latency_ns - served_ns - asked_in_vain_ns / 2 for each in _clean(awake)])
    # the sleeper had entered its read before the request came
    woken_ns = asleep_ns + served_ns - trap_ns
    idle_exit = fitted([each.latency_ns - clients.ns - woken_ns for each in reference])
    how = "nonblocking, one client: median latency less its calls and half a turn; its share as in the default table"
    parts = shares("client_send_ns", "client_receive_ns")
    return {
        **{name: Fitted(clients.ns * share, clients.spread, how) for name, share in parts.items()},
        "idle_exit_ns": idle_exit._replace(
            how=f"blocking, one client, {REFERENCE_PER_S:.0f} requests/s: median latency less the clients' delays and "
            "the server's CPU time"
        ),
    }


def _trap_ns(figures: Figures) -> float:
    return figures["call_ns"].ns + figures["entry_ns"].ns


def _served_ns(figures: Figures) -> float:
    """Hot CPU time of one request of ``blocking``."""
    return (
        2 * _trap_ns(figures)
        + len(MESSAGE) * (figures["read_byte_ns"].ns + figures["write_byte_ns"].ns)
        + sum(figures[name].ns for name in ("read_ns", "write_ns", "input_ns", "request_ns"))
    )


def _clean(segments: Sequence[Served]) -> Sequence[Served]:
    """Those in which no other process had one of the two CPUs; if there is none such, the quickest quarter, and of its
    latencies the lower decile."""
    if not segments:
        raise RuntimeError("no server could answer in time: this host is too busy to be calibrated")
    ordered = sorted(segments, key=lambda each: each.quick_ns)
    usual_ns = ordered[len(ordered) // 4].quick_ns
    clean = [each for each in ordered if _undisturbed(each) and each.latency_ns < QUEUED * usual_ns]
    return clean or [replace(each, latency_ns=each.quick_ns) for each in ordered[: 1 + len(ordered) // 4]]


def _undisturbed(segment: Served) -> bool:
    """The clients had their CPU all the time, and the server answered each request before the next came: it slept."""
    return not segment.hiccups and (segment.sleeps >= SLEEPS or not segment.sleeps)
