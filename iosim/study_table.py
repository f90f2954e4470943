"""The tidy table of a study: one row per model × point × world × repetition; and what follows from it, the noise floor
and the errors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from iosim.costs import CAUSES, Costs
from iosim.results import Run
from iosim.shapes import MODELS
from iosim.study_grid import Point
from iosim.theory import Prediction

if TYPE_CHECKING:
    import pandas as pd

POINT = ["model", "kind", "connections", "activity"]
"""What names a point; with ``world`` and ``repetition`` it names a row."""
SATURATED = 0.9
"""A server busier than this is taken to be the bottleneck of a closed loop."""
UNUSED = ("p90", "p99", "the user and system shares")
"""Beginnings of warnings about figures that a study does not state: its runs are short."""
SEPARATOR = " | "
DISTURBED = 0.05
NOT_SATURATED = "the measured server was not saturated"


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """Something that all three worlds state."""

    column: str
    kind: str
    title: str


QUANTITIES = (
    Quantity(column="cpu_ns_per_request", kind="steady", title="CPU per request, steady load"),
    Quantity(column="cpu_ns_per_request", kind="saturation", title="CPU per request, saturation"),
    Quantity(column="throughput_per_s", kind="saturation", title="saturation throughput"),
    Quantity(column="latency_p50_ns", kind="steady", title="median latency, steady load"),
)
PAIRS = (("sim", "real"), ("theory", "real"), ("theory", "sim"))


def row_of_run(point: Point, run: Run, repetition: int) -> dict[str, Any]:
    """One row: the point, its parameters, and everything that the run says in one number."""
    completed = run.requests.get("completed") or 0
    row = _row(point, run.world, repetition, run.seed)
    row |= {"throughput_per_s": run.throughput_per_s, "cpu_ns_per_request": run.cpu_ns_per_request}
    row |= {f"latency_{name}_ns": run.latency_ns.get(name) for name in ("mean", "p50", "p90", "p99", "max")}
    row |= {f"cpu_{owner}": run.cpu.get(owner) for owner in ("user", "system", "softirq", "switch", "idle")}
    row |= {f"requests_{name}": count for name, count in run.requests.items()}
    if completed and run.cpu_causes_ns is not None:
        row |= {_cause(cause): ns / completed for cause, ns in run.cpu_causes_ns.items()}
    idle = run.cpu.get("idle")
    row["utilization"] = None if idle is None else 1 - idle
    row |= {name: run.host.get(name) for name in ("client_busy", "steal_ns", "others_ns")}
    row["hiccup_ns"] = run.host.get("hiccups", {}).get("total_ns")
    told = [text for text in run.warnings if not text.startswith(UNUSED)]
    return row | {"wall_s": run.wall_s, "costs": run.costs, "warnings": SEPARATOR.join(told)}


def row_of_prediction(point: Point, prediction: Prediction, costs: Costs) -> dict[str, Any]:
    """One row of the world "theory"."""
    row = _row(point, "theory", 0, None)
    row |= {"throughput_per_s": prediction.throughput_per_s, "cpu_ns_per_request": prediction.cpu_ns_per_request}
    row |= {"latency_p50_ns": prediction.p50_ns, "utilization": prediction.utilization, "batch": prediction.batch}
    for figure, ns in prediction.priced_ns.items():
        column = _cause(CAUSES[figure].cause)
        row[column] = row.get(column, 0.0) + ns
    return row | {"costs": costs.name, "warnings": ""}


def _row(point: Point, world: str, repetition: int, seed: int | None) -> dict[str, Any]:
    load = point.load
    row = {"model": point.model, "kind": point.kind, "connections": load.clients, "activity": load.active}
    row |= {"world": world, "repetition": repetition, "seed": seed, "active_clients": load.active_clients}
    fields = ("rate_per_s", "think_ns", "request_bytes", "response_bytes", "work_ns", "duration_ns")
    row |= {name: getattr(load, name) for name in fields}
    return row | {"workers": point.params.get("workers")}


def _cause(cause: str) -> str:
    return f"cause_{cause.replace(' ', '_')}_ns"


def causes_in(table: "pd.DataFrame") -> list[str]:
    """The columns ``cause_…_ns``: CPU time per request by cause."""
    return [column for column in table.columns if column.startswith("cause_")]


def table_of(rows: Sequence[Mapping[str, Any]]) -> "pd.DataFrame":
    """The rows as a tidy frame, in the order model (as in MODELS), kind, connections, activity, world, repetition."""
    import pandas as pd

    table = pd.DataFrame(list(rows))
    for column in ("rate_per_s", "think_ns", "workers", "seed", "batch", "latency_p50_ns", "utilization"):
        # a column of nothing but None would be one of objects
        table[column] = pd.to_numeric(table[column]) if column in table else None
    rank = {model: place for place, model in enumerate([*MODELS, *table.model.unique()][::-1])}
    order = [*POINT, "world", "repetition"]
    return table.sort_values(order, key=lambda c: -c.map(rank) if c.name == "model" else c, ignore_index=True)


def quiet(table: "pd.DataFrame") -> "pd.DataFrame":
    """The table without the disturbed runs of those points that have an undisturbed one."""
    lost = disturbed(table).reindex(table.index, fill_value=False)
    spared = (~lost).groupby([table[column] for column in [*POINT, "world"]]).transform("any")
    return table[~(lost & spared)]


def medians(table: "pd.DataFrame") -> "pd.DataFrame":
    """One row per point and world: the median over the quiet repetitions, and ``…_min``, ``…_max`` of what is drawn."""
    groups = quiet(table).groupby([*POINT, "world"], sort=False)
    middle = groups.median(numeric_only=True)
    for column in sorted({quantity.column for quantity in QUANTITIES}):
        middle[f"{column}_min"] = groups[column].min()
        middle[f"{column}_max"] = groups[column].max()
    return middle.reset_index()


def noise_floor(table: "pd.DataFrame") -> "pd.DataFrame":
    """Per quantity, from A/A pairs (the same real point measured twice): how far two equal measurements differ.

    Columns: title, pairs, typical (the median difference), floor (nine pairs of ten differ by less), as fractions of
    the smaller. A difference below the floor is neither an error nor a success.
    """
    import pandas as pd

    rows, runs = [], quiet(table)
    for quantity in QUANTITIES:
        real = runs[(runs.world == "real") & (runs.kind == quantity.kind)].dropna(subset=[quantity.column])
        groups = real.groupby(POINT)[quantity.column]
        spread = (groups.max() / groups.min() - 1)[groups.count() > 1]
        rows.append(
            {
                "title": quantity.title,
                "pairs": len(spread),
                "typical": spread.median() if len(spread) else None,
                "floor": spread.quantile(0.9) if len(spread) else None,
            }
        )
    return pd.DataFrame(rows)


def ratios(table: "pd.DataFrame") -> "pd.DataFrame":
    """One row per point, quantity and pair of worlds: ``ratio`` = first / second, and ``limit``: why it does not count
    (else ""). In a closed loop the real server may have been idle for a tenth of the time and more although the other
    was not: then something else (its clients, the host) was the bottleneck, and throughputs of different bottlenecks
    are not compared."""
    import pandas as pd

    middle = medians(table)
    parts = []
    for quantity in QUANTITIES:
        of_kind = middle[middle.kind == quantity.kind].set_index(POINT)
        for one, other in PAIRS:
            a, b = of_kind[of_kind.world == one], of_kind[of_kind.world == other]
            part = pd.DataFrame({"ratio": a[quantity.column] / b[quantity.column]}).dropna()
            busy = pd.DataFrame({"one": a.utilization, "other": b.utilization}).reindex(part.index)
            bound = (busy.one >= SATURATED) & (busy.other < SATURATED) & (quantity.column == "throughput_per_s")
            part["limit"] = bound.map({True: NOT_SATURATED, False: ""})
            parts.append(part.assign(quantity=quantity.title, pair=f"{one} / {other}").reset_index())
    return pd.concat(parts, ignore_index=True)[[*POINT, "quantity", "pair", "ratio", "limit"]]


def disturbed(table: "pd.DataFrame") -> "pd.Series[bool]":
    """By real row: was more than a twentieth of the measured time lost, to other processes or to the host? (As
    ``iosim measure`` warns.)"""
    real = table[table.world == "real"]
    lost_ns = real.reindex(columns=["steal_ns", "others_ns", "hiccup_ns"]).max(axis=1)
    return lost_ns > DISTURBED * real.duration_ns


def errors(table: "pd.DataFrame") -> "pd.DataFrame":
    """Per model, quantity and pair of worlds: ``points``, ``typical`` (median signed error) and ``worst`` (the largest
    by size, signed), as fractions of the second world."""
    counted = ratios(table).query("limit == ''")
    error = counted.assign(error=counted.ratio - 1)
    groups = error.groupby(["model", "quantity", "pair"], sort=False)["error"]
    worst = groups.agg(lambda values: max(values, key=abs))
    summary: pd.DataFrame = groups.agg(points="count", typical="median").assign(worst=worst).reset_index()
    return summary
