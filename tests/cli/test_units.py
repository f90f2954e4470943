"""Durations as people write them, and figures as they read them."""

import pytest

from iosim.units import bytes_text, duration_text, parse_duration_ns, rate_text, share_text


@pytest.mark.parametrize(
    ("text", "expected_ns"),
    [
        ("20us", 20_000),
        ("20µs", 20_000),
        ("20\u03bcs", 20_000),
        ("1.5ms", 1_500_000),
        (" 2 s ", 2_000_000_000),
        (".5s", 500_000_000),
        ("7ns", 7),
        ("3min", 180_000_000_000),
        ("0", 0),
        ("0.000000001s", 1),
    ],
)
def test_durations(text: str, expected_ns: int) -> None:
    assert parse_duration_ns(text) == expected_ns


@pytest.mark.parametrize(
    "text", ["", "5", "us", "1e3us", "-1s", "1 2s", "1.s.s", "5 parsecs", "nan", "infs", "1S", "٣s"]
)
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration with its unit, as 20us") as told:
        parse_duration_ns(text)
    assert str(told.value).startswith(f"came {text!r}")


def test_a_part_of_a_nanosecond_is_none() -> None:
    with pytest.raises(ValueError, match=r"came '1.5ns', expected whole nanoseconds"):
        parse_duration_ns("1.5ns")


@pytest.mark.parametrize(
    ("duration_ns", "expected"),
    [
        (None, "-"),
        (0, "0 ns"),
        (999.4, "999 ns"),
        (999.6, "1.00 µs"),
        (41_234.5, "41.2 µs"),
        (1_000_000_000, "1 s"),
        (1_000_000_000.0, "1.00 s"),
        (86_400_000_000_000, "86,400 s"),
    ],
)
def test_duration_text(duration_ns: float | None, expected: str) -> None:
    assert duration_text(duration_ns) == expected


def test_other_figures() -> None:
    assert [bytes_text(n) for n in (None, 0, 205, 3894, 3.9e9)] == ["-", "0 B", "205 B", "3.89 kB", "3.90 GB"]
    assert [rate_text(n) for n in (0.5, 49_987.4)] == ["0.50 /s", "49,987 /s"]
    assert [share_text(n) for n in (None, 0.125, 1)] == ["-", "12.5 %", "100.0 %"]
