"""What it costs to sleep and to be woken: what is left of a server's CPU time when its hot calls are taken off.

One client asks ``blocking`` for one request after another, so each request is one sleep. Of the CPU time per request,
the calls and the runtime are known from hot loops (``iosim.fits``); the rest is the sleep: leaving the CPU, coming
back (measured apart, by two processes on one CPU), and finding caches and branch predictors in others' hands. That last
part grows with the time that the CPU was idle, and so does the time until an idle CPU is there (a virtual machine's
host first waits, then takes the CPU for others), so both are taken at four rates.
"""

import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

from iosim.fits import TINY_NS, Figures, Fitted, fitted, shares
from iosim.load import Load
from iosim.pingpong import MS, Served, Server, on_one_cpu
from iosim.primitives import MESSAGE

OFTEN_PER_S = 5000.0
RARE_PER_S = 1000.0
SELDOM_PER_S = 200.0
BUSY_CLIENTS = 16
SEGMENT_NS = 20 * MS
WARMUP_NS = 6 * MS
SETTLING_NS = 30 * MS
"""A host that polls for a while before it takes an idle virtual CPU away adapts that while to the sleeps it sees: only
after this time is a sleeper as quick as it stays (Linux, Documentation/virt/kvm/halt-polling.rst)."""
RARE_SEGMENT_NS = 40 * MS
SELDOM_SEGMENT_NS = 100 * MS
ROUND_TRIPS = 300
AWAKE, ASLEEP = 0.1, 0.95
"""Sleeps per request: a sleeper with fewer than ``ASLEEP`` had queues, so others had the CPU; a busy server with more
than ``AWAKE`` had pauses, so others had the clients' CPU."""
FEWEST_SLEEPS = 0.3
"""With fewer sleeps per request, their cost is not divided by that number: it would be noise."""
QUEUED = 1.5
"""So had one with latencies so many times those of the quick ones."""


Tiers = list[tuple[float, float]]
"""(µs that the CPU was idle, ns)."""


class Segments:
    """Short measurements of servers, taken in turns with the hot loops, so that both see the same host."""

    def __init__(self, server_cpu: int, client_cpu: int, stack: ExitStack) -> None:
        self._cpus = server_cpu, client_cpu
        self._sleeper = stack.enter_context(Server("blocking", server_cpu))
        self._busy = stack.enter_context(Server("epoll_loop", server_cpu, BUSY_CLIENTS))
        self._crowd = stack.enter_context(Server("threads", server_cpu, BUSY_CLIENTS))
        self._spinner = stack.enter_context(Server("nonblocking", server_cpu))
        self.closed: list[Served] = []
        """blocking, asked again at once: the CPU is idle as long as the client takes."""
        self.often: list[Served] = []
        self.rare: list[Served] = []
        self.seldom: list[Served] = []
        self.awake: list[Served] = []
        """nonblocking, which never sleeps: what is left of its latency is the client's own."""
        self.busy: list[Served] = []
        """epoll_loop, with so many clients that it does not sleep."""
        self.crowd: list[Served] = []
        """threads, the same: the CPU goes from thread to thread and is never idle."""
        self.one_cpu_ns: list[float] = []

    def measure(self, pin: Callable[[int], None]) -> None:
        """One of each. ``pin`` moves this process."""
        server_cpu, client_cpu = self._cpus
        pin(client_cpu)
        for kept, server, load in (
            (self.closed, self._sleeper, _load(None, SEGMENT_NS, warmup_ns=SETTLING_NS)),
            (self.often, self._sleeper, _load(OFTEN_PER_S, SEGMENT_NS, warmup_ns=SETTLING_NS)),
            (self.rare, self._sleeper, _load(RARE_PER_S, RARE_SEGMENT_NS)),
            (self.seldom, self._sleeper, _load(SELDOM_PER_S, SELDOM_SEGMENT_NS)),
            (self.busy, self._busy, _load(None, SEGMENT_NS, BUSY_CLIENTS)),
            (self.crowd, self._crowd, _load(None, SEGMENT_NS, BUSY_CLIENTS)),
            (self.awake, self._spinner, _load(None, SEGMENT_NS)),
        ):
            if served := server.measure(load):
                kept.append(served)
        pin(server_cpu)
        self.one_cpu_ns.append(on_one_cpu(ROUND_TRIPS))

    @property
    def disturbed(self) -> float:
        """The fraction of the sleepers' segments in which another process had one of the two CPUs."""
        measured = [*self.closed, *self.often, *self.rare, *self.seldom]
        return 1 - sum(_undisturbed(each) for each in measured) / max(1, len(measured))


def _load(rate_per_s: float | None, duration_ns: int, clients: int = 1, warmup_ns: int = WARMUP_NS) -> Load:
    return Load(
        clients=clients,
        rate_per_s=rate_per_s,
        think_ns=0 if rate_per_s is None else None,
        arrivals="constant",
        request_bytes=len(MESSAGE),
        response_bytes=len(MESSAGE),
        duration_ns=duration_ns,
        warmup_ns=warmup_ns,
    )


def settle(figures: Figures, segments: Segments) -> tuple[Figures, dict[str, Tiers]]:
    """(the hot figures, with those of messages made right for clients on another CPU, and with those of waking,
    sleeping and switching, and the clients' delays; what depends on how long the CPU was idle, as (idle µs, ns))."""
    figures = figures | _switching(figures, segments.one_cpu_ns)
    figures |= _messages(figures, _clean(segments.busy))
    figures |= _crowd(figures, _quiet(segments.crowd))
    figures |= _clients(figures, _clean(segments.awake))
    sleepers = [_clean(each) for each in (segments.closed, segments.often, segments.rare, segments.seldom)]
    cold = [_cold(figures, each) for each in sleepers]
    exits = [_idle_exit(figures, each, *at) for each, at in zip(sleepers, cold, strict=True)]
    return figures, {"cold_ns": [(1.0, TINY_NS), *_growing(cold)], "idle_exit_ns": _growing(exits)}


def _growing(tiers: Tiers) -> Tiers:
    """By idle time, and never less for a longer one: that is noise."""
    grown: Tiers = []
    for idle_us, ns in sorted(tiers):
        last_us, last_ns = grown[-1] if grown else (1.0, TINY_NS)
        grown.append((max(idle_us, last_us + 1), max(ns, last_ns)))
    return grown


def _cold(figures: Figures, segments: Sequence[Served]) -> tuple[float, float]:
    """(µs that the CPU was idle, what is left of one sleep's CPU time when calls, sleep and switch are taken off)."""
    asleep_ns = sum(figures[name].ns for name in ("read_empty_ns", "sleep_ns", "switch_ns"))
    slept = [(each.cpu_ns - _served_ns(figures)) / max(FEWEST_SLEEPS, each.sleeps) - asleep_ns for each in segments]
    return statistics.median(each.idle_ns for each in segments) / 1000, fitted(slept).ns


def _switching(figures: Figures, one_cpu_ns: Sequence[float]) -> Figures:
    """Two processes in turns on one CPU: what is left of a round trip, halved, is one wake-up, sleep and switch."""
    hot_ns = 2 * _served_ns(figures) - figures["request_ns"].ns + 2 * figures["read_empty_ns"].ns
    rest = fitted([(total - hot_ns) / 2 for total in one_cpu_ns])
    how = "two processes in turns on one CPU: round trip less hot calls, halved; its share as in the default table"
    parts = shares("wake_ns", "sleep_ns", "switch_ns", "process_switch_ns")
    return {name: Fitted(max(TINY_NS, rest.ns * share), rest.spread, how) for name, share in parts.items()}


def _messages(figures: Figures, busy: Sequence[Served]) -> Figures:
    """Sockets that two CPUs share cost more than hot loops on one: what a busy server shows beyond them is laid on
    read, write and input, in proportion."""
    waiting_ns = _trap_ns(figures) + figures["epoll_wait_ns"].ns
    event_ns = figures["event_ns"].ns + figures["epoll_event_ns"].ns + figures["epoll_recheck_ns"].ns
    hot_ns = _served_ns(figures) + event_ns
    beyond = fitted([each.cpu_ns - hot_ns - each.calls["epoll_wait"] * waiting_ns for each in busy])
    names = ("read_ns", "write_ns", "input_ns")
    times = 1 + beyond.ns / sum(figures[name].ns for name in names)
    return {
        name: figures[name]._replace(
            ns=figures[name].ns * times,
            how=f"{figures[name].how}; times {times:.2f}, as epoll_loop shows whose clients have another CPU",
        )
        for name in names
    }


def _crowd(figures: Figures, crowd: Sequence[Served]) -> Figures:
    """A switch between threads that clients on another CPU have woken: Linux interrupts this CPU to say so, which two
    processes in turns do not show. Nothing new where others had the CPUs: their switches would be in it."""
    warm_ns = _served_ns(figures) + figures["read_empty_ns"].ns + figures["sleep_ns"].ns
    how = f"threads, {BUSY_CLIENTS} clients that ask again at once: CPU time less hot calls and sleep"
    return {"switch_ns": fitted([each.cpu_ns - warm_ns for each in crowd], how)} if crowd else {}


def _idle_exit(figures: Figures, segments: Sequence[Served], idle_us: float, cold_ns: float) -> tuple[float, float]:
    """(µs that the CPU was idle before the wake-up, the median latency less the clients' delays and the server's CPU
    time)."""
    clients_ns = figures["client_send_ns"].ns + figures["client_receive_ns"].ns
    # the sleeper had entered its read before the request came
    woken_ns = cold_ns + figures["switch_ns"].ns + _served_ns(figures) - _trap_ns(figures)
    exit_ns = fitted([each.latency_ns - clients_ns - woken_ns for each in segments]).ns
    return max(1.0, idle_us - exit_ns / 1000), exit_ns


def _clients(figures: Figures, awake: Sequence[Served]) -> Figures:
    """The clients' own delays."""
    turn_ns = 2 * (_trap_ns(figures) + figures["read_empty_ns"].ns + figures["error_ns"].ns)
    clients = fitted([each.latency_ns - _served_ns(figures) - turn_ns / 2 for each in awake])
    how = "nonblocking, one client: median latency less its calls and half a turn; its share as in the default table"
    parts = shares("client_send_ns", "client_receive_ns")
    return {name: Fitted(clients.ns * share, clients.spread, how) for name, share in parts.items()}


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
    """The quiet ones; if there are none, the quickest quarter, and of its latencies the lower decile."""
    if not segments:
        raise RuntimeError("no server could answer in time: this host is too busy to be calibrated")
    quickest = sorted(segments, key=lambda each: each.quick_ns)[: 1 + len(segments) // 4]
    return _quiet(segments) or [replace(each, latency_ns=each.quick_ns) for each in quickest]


def _quiet(segments: Sequence[Served]) -> Sequence[Served]:
    """Those in which no other process had one of the two CPUs."""
    ordered = sorted(each.quick_ns for each in segments)
    return [each for each in segments if _undisturbed(each) and each.latency_ns < QUEUED * ordered[len(ordered) // 4]]


def _undisturbed(segment: Served) -> bool:
    """The clients had their CPU all the time, and the server slept before each request, or before none."""
    return not segment.hiccups and not AWAKE < segment.sleeps < ASLEEP
