"""Run: one immutable result of either world, with what made it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

FORMAT = 1
PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p999": 99.9}
SAMPLES_BEYOND = 100
"""A percentile with fewer samples beyond it is not given."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one model did under one load. ``None`` stands for what this world cannot know.

    Fractions of ``cpu`` are of all server CPU time and sum to 1; ``latency_parts_ns`` are means and sum to
    ``latency_ns["mean"]``; ``requests["issued"]`` is the sum of completed, in_flight, dropped and failed.
    """

    model: str
    world: Literal["sim", "real"]
    load: Mapping[str, Any]
    seed: int
    costs: str | None
    machine: Mapping[str, Any]
    params: Mapping[str, Any]
    requests: Mapping[str, int]
    throughput_per_s: float
    latency_ns: Mapping[str, float | None]
    latency_parts_ns: Mapping[str, float] | None
    cpu: Mapping[str, float | None]
    cpu_ns_per_request: float | None
    syscalls: Mapping[str, int]
    context_switches: Mapping[str, int | None]
    wakeups: int | None
    memory_bytes: Mapping[str, float | None]
    events: int | None
    wall_s: float
    digest: str | None
    warnings: tuple[str, ...] = ()
    cpu_causes_ns: Mapping[str, int] | None = None
    """CPU time by cause over the measured time, all CPUs."""
    work: Mapping[str, int] | None = None
    """Units of kernel work by figure of Costs over the measured time (``poll_scan_ns`` → descriptors scanned)."""
    window_syscalls: Mapping[str, int] = field(default_factory=dict)
    """``syscalls`` counts the whole run, from start to close; this counts the measured time only."""
    host: Mapping[str, Any] = field(default_factory=dict)
    """Real world: what disturbed the run (steal, hiccups), and on what machine."""
    histogram: str = ""
    """The latencies as an encoded HDR histogram (three digits)."""

    def __str__(self) -> str:
        from iosim.show import text_of  # shown by whoever asks; a server under measurement loads no tables

        return text_of(self)

    def _repr_html_(self) -> str:
        from iosim.show import html_of

        return html_of(self)

    def to_dict(self) -> dict[str, Any]:
        """The object that ``--json`` prints."""
        return {"format": FORMAT, **asdict(self), "warnings": list(self.warnings)}

    def to_json(self) -> str:
        return json.dumps(self.to_dict())

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Run":
        """The inverse of ``to_dict``. Raises ValueError when the format is another."""
        values = dict(values)
        if values.pop("format", None) != FORMAT:
            raise ValueError(f"a result of format {FORMAT} is expected; run it again with this iosim")
        return cls(**{**values, "warnings": tuple(values["warnings"])})
