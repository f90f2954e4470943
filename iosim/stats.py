"""Latencies in an HDR histogram: three digits, mergeable, and no percentile that the samples do not carry."""

from collections.abc import Iterable

import numpy as np
from hdrh.histogram import HdrHistogram

from iosim.results import PERCENTILES, SAMPLES_BEYOND

HIGHEST_NS = 3_600_000_000_000
DIGITS = 3
SIGNIFICANT_BITS = 11
"""2048 buckets per power of two carry three digits."""


class Latencies:
    """A growing sample of latencies in ns. Mean and maximum are exact; percentiles have three digits."""

    def __init__(self) -> None:
        self.count = 0
        self.sum_ns = 0
        self.max_ns = 0
        self._histogram = HdrHistogram(1, HIGHEST_NS, DIGITS)

    def record(self, latencies_ns: Iterable[int]) -> None:
        """Add many at once (that is far cheaper than one by one)."""
        values = np.fromiter(latencies_ns, dtype=np.int64)
        if not len(values):
            return
        self.count += len(values)
        self.sum_ns += int(values.sum())
        self.max_ns = max(self.max_ns, int(values.max()))
        # the histogram keeps SIGNIFICANT_BITS of a value: what is one bucket is recorded at once (tests/bench)
        dropped_bits = np.maximum(np.frexp(values)[1] - SIGNIFICANT_BITS, 0)
        kept = values >> dropped_bits << dropped_bits
        for value, count in zip(*np.unique(kept, return_counts=True), strict=True):
            self._histogram.record_value(max(1, int(value)), int(count))

    def summary(self) -> tuple[dict[str, float | None], list[str]]:
        """{"mean", "p50", "p90", "p99", "p999", "max"} in ns, None where the sample is too small, and why."""
        summary: dict[str, float | None] = {"mean": self.sum_ns / self.count if self.count else None}
        warnings = []
        for name, percentile in PERCENTILES.items():
            beyond = self.count * (100 - percentile) / 100
            if beyond >= SAMPLES_BEYOND:
                summary[name] = float(min(self._histogram.get_value_at_percentile(percentile), self.max_ns))
            else:
                summary[name] = None
                warnings.append(
                    f"{name} is not given: it needs {SAMPLES_BEYOND} samples beyond it, this run has {beyond:.0f}"
                )
        summary["max"] = float(self.max_ns) if self.count else None
        return summary, warnings

    def encode(self) -> str:
        """The histogram as HDR text (HdrHistogram.decode reads it)."""
        encoded = self._histogram.encode()
        return encoded.decode() if isinstance(encoded, bytes) else str(encoded)
