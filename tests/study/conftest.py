"""A study's table made up from theory: the simulation 3 % above it, the measurement 8 % below, with some noise."""

import random
from typing import Any

import pandas as pd
import pytest

from iosim.costs import Costs
from iosim.report import Findings
from iosim.study_grid import FULL, Plan, grid
from iosim.study_table import row_of_prediction, table_of
from iosim.theory import predict


def made_up(plan: Plan, models: tuple[str, ...], noise: float = 0.02) -> Findings:
    """Findings without a simulation or a socket."""
    costs = Costs(call_ns=700, request_ns=900, event_ns=300, name="made-up")
    points, skips = grid(plan, 2000.0, models)
    rng = random.Random(7)
    rows: list[dict[str, Any]] = []
    for point in points:
        theory = row_of_prediction(point, predict(point.model, point.load, costs=costs, params=point.params), costs)
        measured = (point.load.clients, point.load.active, point.kind) in plan.measured
        rows.append(theory)
        for world, repetitions, shift in (("sim", 1, 1.03), ("real", 2 if measured else 0, 0.92)):
            for repetition in range(repetitions):
                row = theory | {"world": world, "repetition": repetition, "seed": 1, "warnings": "a warning of 7 s"}
                for column, value in theory.items():
                    if value is not None and column.startswith(("cause_", "cpu_ns", "latency_", "throughput")):
                        row[column] = value * shift * rng.lognormvariate(0, noise)
                rows.append(row)
    return Findings(table=table_of(rows), costs=costs, skips=tuple(skips), quick=True)


@pytest.fixture(scope="session")
def findings() -> Findings:
    return made_up(FULL, ("blocking", "threads", "prefork", "nonblocking", "select_loop", "poll_loop", "epoll_loop"))


@pytest.fixture
def table(findings: Findings) -> pd.DataFrame:
    return findings.table.copy()
