"""What a person sees: one run on one screen of 80 columns, several in one table."""

from typing import Any

from iosim import show
from iosim.costs import Costs
from iosim.load import Load
from iosim.results import Run

WARNINGS = ("p999 is not given: it needs 100 samples beyond it, this run has 50", "the client was late")
VALUES: dict[str, Any] = {
    "model": "epoll_loop",
    "world": "sim",
    "load": Load(clients=1000, active=0.01, rate_per_s=50_000).model_dump(),
    "seed": 1,
    "costs": "default",
    "machine": {"cpus": 1},
    "params": {},
    "requests": {"issued": 50_004, "completed": 50_001, "in_flight": 3, "dropped": 0, "failed": 0},
    "throughput_per_s": 50_001.0,
    "latency_ns": {"mean": 41_234.5, "p50": 33_023.0, "p90": 71_039.0, "p99": 150_271.0, "p999": None, "max": 4e5},
    "latency_parts_ns": {"network": 8_000.0, "softirq": 1_800.0, "queue": 31_434.5, "compute": 0.0},
    "cpu": {"user": 0.02, "system": 0.31, "softirq": 0.12, "switch": 0.05, "idle": 0.5},
    "cpu_ns_per_request": 9_876.0,
    "syscalls": {"epoll_wait": 33_001, "read": 55_124, "write": 55_123, "accept4": 1000, "close": 0},
    "context_switches": {"voluntary": 33_000, "involuntary": 0},
    "wakeups": 33_000,
    "memory_bytes": {"per_connection": 3_894.0, "total": 3_894_000.0},
    "events": 123_456,
    "wall_s": 0.31,
    "digest": "ab12cd34ef56aa77",
    "warnings": WARNINGS,
    "cpu_causes_ns": {"copy": 100, "entry": 300, "idle": 10_000},
    "window_syscalls": {"epoll_wait": 30_000, "read": 50_001, "write": 50_001},
}
REAL = {
    "world": "real",
    "params": {"workers": 8},
    "costs": None,
    "latency_parts_ns": None,
    "cpu_causes_ns": None,
    "events": None,
    "digest": None,
    "wakeups": None,
    "memory_bytes": {"per_connection": None, "total": None},
    "cpu": {"user": None, "system": None, "softirq": None, "switch": None, "idle": None},
    "warnings": (),
}
SCREEN = """\
epoll_loop · simulated · 1 CPU · seed 1 · costs default
1,000 clients, 1 % active · open loop, 50,000 /s poisson
64 B → 64 B, no work · 1 s measured after 100 ms
requests    50,004 issued = 50,001 completed + 3 in flight
throughput  50,001 /s, at 9.88 µs of CPU a request
latency     mean       p50        p90        p99        p99.9      max
            41.2 µs    33.0 µs    71.0 µs    150 µs     -          400 µs
            ███▉                   8.00 µs  19.4 %  network
            ▉                      1.80 µs   4.4 %  softirq
            ███████████████▎       31.4 µs  76.2 %  queue
CPU         user 2.0 %  system 31.0 %  softirq 12.0 %  switch 5.0 %  idle 50.0 %
busy with   entry 75.0 %  copy 25.0 %
calls       read 55,124  write 55,123  epoll_wait 33,001  accept4 1,000
switches    33,000 voluntary, 0 involuntary, 33,000 wake-ups
memory      3.89 kB a connection, in all 3.89 MB
took        0.31 s for 123,456 events, digest ab12cd34ef56
warning     the client was late
warning     a dash: fewer than 100 samples lie beyond that percentile"""


def test_a_run_is_one_screen() -> None:
    assert show.text_of(Run(**VALUES)) == SCREEN


def test_what_the_real_world_cannot_know_is_left_out() -> None:
    text = show.text_of(Run(**{**VALUES, **REAL}))
    assert text.startswith("epoll_loop · workers=8 · measured on real sockets · 1 CPU · seed 1\n")
    assert "CPU         -\n" in text
    assert "None" not in text
    assert text.endswith("took        0.31 s")


def test_a_run_that_completed_nothing() -> None:
    nothing = dict.fromkeys(VALUES["latency_ns"])
    requests = dict.fromkeys(VALUES["requests"], 0)
    run = Run(**{**VALUES, "requests": requests, "latency_ns": nothing, "cpu_ns_per_request": None, "syscalls": {}})
    assert "requests    0 issued = 0\n" in show.text_of(run)
    row = show.plain(show.comparison([run])).splitlines()[1]
    assert " ".join(row.split()) == "epoll_loop 50,001 - - - 50.0 % - - 3.89 MB"


def test_a_notebook_shows_the_same_rows() -> None:
    html = show.html_of(Run(**{**VALUES, "model": "<b>"}))
    assert html.startswith("<table>")
    assert "&lt;b&gt; · simulated" in html
    assert "the client was late" in html


def test_a_comparison_fits_eighty_columns() -> None:
    busiest = Run(**{**VALUES, "model": "nonblocking", "throughput_per_s": 1_234_567.0})
    lines = show.plain(show.comparison([Run(**VALUES), busiest])).splitlines()
    assert lines[0].split() == ["model", "done/s", "mean", "p50", "p99", "busy", "CPU", "calls", "memory"]
    assert " ".join(lines[1].split()) == "epoll_loop 50,001 41.2 µs 33.0 µs 150 µs 50.0 % 9.88 µs 2.60 3.89 MB"
    assert lines[2].startswith("nonblocking 1,234,567")


def test_equal_warnings_are_told_once() -> None:
    runs = [Run(**VALUES), Run(**{**VALUES, "model": "threads"}), Run(**{**VALUES, "warnings": ()})]
    assert show.remarks(runs) == [
        "epoll_loop, threads: the client was late",
        "epoll_loop, threads: a dash: fewer than 100 samples lie beyond that percentile",
    ]


def test_a_price_list_shows_tiers() -> None:
    lines = show.plain(show.price_list(Costs())).splitlines()
    assert any("poll_scan_ns" in line and "55 at 100" in line for line in lines)
    assert any("421 at 8,000" in line for line in lines)
