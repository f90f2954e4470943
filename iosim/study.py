"""``iosim study``: this host in one report, in which every model stands as theory, simulation and measurement."""

import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iosim.costs import Costs
from iosim.machine import Machine
from iosim.study_grid import FULL, QUICK, Plan, Point, Skip, grid, measured_points, steady_rate_per_s

if TYPE_CHECKING:
    import pandas as pd

Progress = Callable[[str, float], None]


@dataclass(frozen=True, kw_only=True)
class Study:
    """What a study left behind: ``path`` is its folder, ``report`` the HTML page in it, ``table`` the tidy table (one
    row per model × point × world × repetition), ``skips`` what was left out and why."""

    path: Path
    report: Path
    table: "pd.DataFrame"
    costs: Costs
    skips: tuple[Skip, ...]


def study(
    directory: str | os.PathLike[str] | None = None,
    *,
    quick: bool = False,
    progress: Progress | None = None,
    seed: int = 1,
) -> Study:
    """Calibrate, predict, measure, simulate, and write a folder with table, pictures, costs and report.

    ``directory`` is that folder; without it, ``results/study-`` and the time. It appears when all is done and not
    before: whatever ends the study early leaves nothing. About three minutes on two CPUs, ``quick`` about half a
    minute. ``progress(label, fraction)`` is told how far it is. Raises FileExistsError when the folder is there
    already, and OSError when it cannot be written, both before any work.
    """
    begun_s = time.monotonic()
    plan, shares = (QUICK, (0.3, 0.65, 0.93)) if quick else (FULL, (0.15, 0.75, 0.97))
    target = Path(directory) if directory is not None else Path("results") / f"study-{datetime.now():%Y%m%d-%H%M%S}"
    tell = progress or (lambda _label, _fraction: None)
    with _whole_or_nothing(target) as folder:
        from iosim.calibrate import calibrate

        costs = calibrate(quick=True, progress=lambda label, done: tell(f"calibrating: {label}", done * shares[0]))
        points, skips = grid(plan, steady_rate_per_s(plan, costs))
        rows = _theory(points, costs)
        measured, failed = _measured(plan, points, costs, seed, _within(tell, shares[0], shares[1]))
        rows += measured
        rows += _simulated(points, costs, seed, _within(tell, shares[1], shares[2]))
        tell("drawing and writing", shares[2])
        table = _write(folder, rows, costs, (*skips, *failed), quick, begun_s)
    tell("done", 1.0)
    return Study(path=target, report=target / "report.html", table=table, costs=costs, skips=(*skips, *failed))


def _theory(points: Sequence[Point], costs: Costs) -> list[dict[str, Any]]:
    from iosim.study_table import row_of_prediction
    from iosim.theory import predict

    machine = Machine()
    return [
        row_of_prediction(p, predict(p.model, p.load, costs=costs, machine=machine, params=p.params), costs)
        for p in points
    ]


def _simulated(points: Sequence[Point], costs: Costs, seed: int, tell: Progress) -> list[dict[str, Any]]:
    from iosim.run import run
    from iosim.study_table import row_of_run

    rows = []
    for number, point in enumerate(points):
        tell(f"simulating {point.label}", number / len(points))
        outcome = run(point.model, point.load, seed=seed, costs=costs, params=point.params)
        rows.append(row_of_run(point, outcome, 0))
    return rows


def _measured(
    plan: Plan, points: Sequence[Point], costs: Costs, seed: int, tell: Progress
) -> tuple[list[dict[str, Any]], list[Skip]]:
    """The plan's subset on real sockets, in random order, so that what drifts on the host favours no model. A point
    that this host refuses (descriptors, memory, permission) is left out with the host's own words."""
    from iosim.real.measure import measure
    from iosim.study_table import row_of_run

    jobs = [(p, again) for p in measured_points(plan, points) for again in range(1 + (p.model in plan.repeated))]
    random.Random(seed).shuffle(jobs)
    rows: list[dict[str, Any]] = []
    refused: dict[str, Skip] = {}
    for number, (point, repetition) in enumerate(jobs):
        tell(f"measuring {point.label}", number / len(jobs))
        if point.label in refused:
            continue
        load = point.load.replace(duration_ns=plan.real_ns, warmup_ns=plan.real_warmup_ns)
        try:
            outcome = measure(point.model, load, seed=seed + repetition, params=point.params, costs_name=costs.name)
        except (OSError, RuntimeError, ValueError) as error:
            where = f"on real sockets: {point.label.partition(', ')[2]}"
            refused[point.label] = Skip(model=point.model, where=where, reason=str(error))
        else:
            rows.append(row_of_run(point, outcome, repetition))
    return rows, list(refused.values())


def _write(
    folder: Path, rows: Sequence[dict[str, Any]], costs: Costs, skips: Sequence[Skip], quick: bool, begun_s: float
) -> "pd.DataFrame":
    from iosim.report import Findings, draw, render
    from iosim.study_table import table_of

    table = table_of(rows)
    table.to_parquet(folder / "table.parquet", index=False)
    (folder / "costs.toml").write_text(costs.to_toml())
    findings = Findings(table=table, costs=costs, skips=tuple(skips), quick=quick)
    pictures = draw(findings, folder)
    page = render(findings, pictures, elapsed_s=time.monotonic() - begun_s)
    (folder / "report.html").write_text(page, encoding="utf-8")
    return table


def _within(tell: Progress, low: float, high: float) -> Progress:
    """Progress of a part, which takes the whole from ``low`` to ``high``."""
    return lambda label, done: tell(label, low + done * (high - low))


@contextmanager
def _whole_or_nothing(target: Path) -> Iterator[Path]:
    """A fresh folder beside ``target`` that becomes it at the end; whatever comes between, Ctrl-C too, removes it."""
    if target.exists():
        raise FileExistsError(f"{target} is there already: name another folder with --output, or move this one away")
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield folder
        folder.chmod(0o755)
        folder.rename(target)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
