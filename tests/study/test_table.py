"""The tidy table, the noise floor and the errors."""

import pandas as pd
import pytest

from iosim.study_table import NOT_SATURATED, POINT, QUANTITIES, disturbed, errors, medians, noise_floor, quiet, ratios


def test_a_row_is_a_model_a_point_a_world_and_a_repetition(table: pd.DataFrame) -> None:
    assert not table.duplicated([*POINT, "world", "repetition"]).any()
    assert set(table.world) == {"theory", "sim", "real"}
    for column in ("rate_per_s", "think_ns", "request_bytes", "workers", "seed", "costs", "duration_ns"):
        assert column in table


def test_a_run_of_either_world_becomes_a_row() -> None:
    from iosim.results import Run
    from iosim.study_grid import FULL, grid
    from iosim.study_table import row_of_run

    point = grid(FULL, 2000.0, ["epoll_loop"])[0][0]
    run = Run(
        model="epoll_loop", world="sim", load=point.load.model_dump(), seed=3, costs="c", machine={}, params={},
        requests={"issued": 10, "completed": 10, "in_flight": 0, "dropped": 0, "failed": 0}, throughput_per_s=5.0,
        latency_ns={"mean": 9.0, "p50": 8.0, "p90": None, "p99": None, "p999": None, "max": 11.0}, latency_parts_ns={},
        cpu={"user": 0.1, "system": 0.2, "softirq": 0.1, "switch": 0.1, "idle": 0.5}, cpu_ns_per_request=70.0,
        syscalls={}, context_switches={}, wakeups=1, memory_bytes={}, events=1, wall_s=0.1, digest="d",
        warnings=("p99 is not given: …", "a host of warnings"), cpu_causes_ns={"readiness scan": 400, "copy": 300},
    )  # fmt: skip
    row = row_of_run(point, run, 0)
    assert row["cause_readiness_scan_ns"] == 40
    assert row["latency_p50_ns"] == 8
    assert row["utilization"] == 0.5
    assert row["warnings"] == "a host of warnings"


def test_the_noise_floor_comes_from_pairs_of_equal_measurements(table: pd.DataFrame) -> None:
    floors = noise_floor(table).set_index("title")
    assert (floors.pairs >= 6).all()
    assert ((floors.typical > 0) & (floors.typical <= floors.floor) & (floors.floor < 0.2)).all()


def test_without_pairs_there_is_no_noise_floor(table: pd.DataFrame) -> None:
    floors = noise_floor(table[table.repetition == 0])
    assert (floors.pairs == 0).all()
    assert floors.floor.isna().all()


def test_errors_find_what_was_put_in(table: pd.DataFrame) -> None:
    found = errors(table).groupby("pair").typical.median()
    assert found["sim / real"] == pytest.approx(1.03 / 0.92 - 1, abs=0.03)
    assert found["theory / sim"] == pytest.approx(1 / 1.03 - 1, abs=0.03)
    assert set(errors(table).quantity) == {quantity.title for quantity in QUANTITIES}


def test_a_measured_server_that_was_not_saturated_has_no_saturation_throughput(table: pd.DataFrame) -> None:
    table.loc[(table.world == "real") & (table.model == "threads"), "utilization"] = 0.5
    found = ratios(table)
    limited = found[found.limit == NOT_SATURATED]
    assert set(limited.model) == {"threads"}
    assert set(limited.quantity) == {"saturation throughput"}
    gone = errors(table)
    many = gone[(gone.model == "threads") & (gone.quantity == "saturation throughput") & (gone.pair == "sim / real")]
    assert many.points.sum() < 4


def test_a_run_is_disturbed_when_others_took_a_twentieth_of_its_time(table: pd.DataFrame) -> None:
    assert not disturbed(table).any()
    real = table.index[table.world == "real"]
    table.loc[real[:3], "others_ns"] = 0.06 * table.loc[real[:3], "duration_ns"]
    table.loc[real[3:5], "hiccup_ns"] = 0.04 * table.loc[real[3:5], "duration_ns"]
    assert disturbed(table).sum() == 3


def test_a_disturbed_run_does_not_count_where_there_is_a_quiet_one(table: pd.DataFrame) -> None:
    pair = table.index[(table.world == "real") & (table.model == "threads") & (table.kind == "steady")][:2]
    table.loc[pair[0], "hiccup_ns"] = 0.5 * table.loc[pair[0], "duration_ns"]
    assert pair[0] not in quiet(table).index
    assert len(quiet(table)) == len(table) - 1
    table.loc[pair[1], "hiccup_ns"] = 0.5 * table.loc[pair[1], "duration_ns"]
    assert len(quiet(table)) == len(table)


def test_medians_keep_least_and_most(table: pd.DataFrame) -> None:
    real = medians(table).query("world == 'real'").dropna(subset=["throughput_per_s"])
    assert (real.throughput_per_s_min <= real.throughput_per_s).all()
    assert (real.throughput_per_s_max >= real.throughput_per_s).all()
