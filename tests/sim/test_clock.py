"""Actors of SimPy and callbacks of the clock share one time."""

from collections.abc import Generator
from typing import Any

import pytest
import simpy
from simpy.core import EmptySchedule

from iosim.sim.clock import Clock


def run_out(clock: Clock) -> None:
    with pytest.raises(EmptySchedule):
        clock.steps(1000)


def test_a_simpy_process_and_alarms_take_turns_by_time() -> None:
    clock = Clock()
    seen: list[tuple[str, int, float]] = []

    def process() -> Generator[simpy.Event, Any, None]:
        for _ in range(3):
            yield clock.environment.timeout(100)
            seen.append(("process", clock.now, clock.environment.now))

    clock.environment.process(process())
    for when_ns in (50, 150, 250):
        clock.call_at(when_ns, lambda _alarm: seen.append(("alarm", clock.now, clock.environment.now)))
    run_out(clock)
    assert seen == [
        ("alarm", 50, 50),
        ("process", 100, 100),
        ("alarm", 150, 150),
        ("process", 200, 200),
        ("alarm", 250, 250),
        ("process", 300, 300),
    ]


def test_a_timeout_that_an_alarm_asks_for_counts_from_the_alarm() -> None:
    clock = Clock()
    done = []

    def ask(_alarm: object) -> None:
        clock.environment.timeout(30).callbacks.append(lambda _event: done.append(clock.now))

    clock.call_at(1000, ask)
    run_out(clock)
    assert done == [1030]


def test_equal_times_come_in_the_order_of_scheduling() -> None:
    clock = Clock()
    seen: list[str] = []
    clock.call_at(10, lambda _alarm: seen.append("first"))
    clock.environment.timeout(10).callbacks.append(lambda _event: seen.append("second"))
    clock.call_at(10, lambda _alarm: seen.append("third"))
    run_out(clock)
    assert seen == ["first", "second", "third"]


def test_nobody_passes_time_that_another_has_claimed() -> None:
    clock = Clock()
    clock.call_at(100, lambda _alarm: None)
    assert clock.pass_time(99)
    assert not clock.pass_time(100)
    assert clock.now == 99
