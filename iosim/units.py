"""Units: durations as people write them (``20us``, ``1.5ms``, ``2s``), and figures as they read them."""

import re
from decimal import Decimal

NOTHING = "-"
"""What stands for a figure that is not known."""
UNITS_NS = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "min": 60_000_000_000}
_DURATION = re.compile(r"([0-9]{0,12}(?:\.[0-9]{1,12})?)\s*([a-zµ]*)")


def parse_duration_ns(text: str) -> int:
    """Integer nanoseconds of a duration with its unit: ns, us (or µs), ms, s, min. Only 0 needs none.

    Raises ValueError in one line: what came, what was expected.
    """
    match = _DURATION.fullmatch(text.strip().replace("\u03bc", "µ"))  # the Greek letter looks the same
    number, unit = match.groups() if match else ("", "")
    if not number or (unit not in UNITS_NS and (unit or Decimal(number))):
        raise ValueError(f"came {text!r}, expected a duration with its unit, as 20us, 1.5ms or 2s")
    nanoseconds = Decimal(number) * UNITS_NS.get(unit, 1)
    if nanoseconds != int(nanoseconds):
        raise ValueError(f"came {text!r}, expected whole nanoseconds")
    return int(nanoseconds)


def duration_text(duration_ns: float | None) -> str:
    """Three digits and a unit: ``31.2 µs``; ``1 s`` for a whole number that is an integer; a dash for None."""
    if duration_ns is None:
        return NOTHING
    unit = next((unit for unit in ("ns", "µs", "ms") if abs(duration_ns) < 999.5 * UNITS_NS[unit]), "s")
    if isinstance(duration_ns, int) and duration_ns % UNITS_NS[unit] == 0:
        return f"{duration_ns // UNITS_NS[unit]:,} {unit}"
    return f"{_three_digits(duration_ns / UNITS_NS[unit])} {unit}"


def bytes_text(size_bytes: float | None) -> str:
    """``3.89 kB``: decimal units, three digits; a dash for None."""
    if size_bytes is None:
        return NOTHING
    power = next((power for power in range(3) if size_bytes < 999.5 * 1000**power), 3)
    if not power:
        return f"{size_bytes:.0f} B"
    return f"{_three_digits(size_bytes / 1000**power)} {('B', 'kB', 'MB', 'GB')[power]}"


def rate_text(rate_per_s: float) -> str:
    """``49,987 /s``."""
    return f"{rate_per_s:,.0f} /s" if rate_per_s >= 99.5 else f"{_three_digits(rate_per_s)} /s"


def share_text(share: float | None) -> str:
    """``12.5 %``; a dash for None."""
    return NOTHING if share is None else f"{100 * share:.1f} %"


def _three_digits(value: float) -> str:
    if value == 0 or abs(value) >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 9.995 else f"{value:.2f}"
