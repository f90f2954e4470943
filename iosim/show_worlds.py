"""The same models in both worlds, as one table."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from rich.table import Table

from iosim.results import Run
from iosim.show import calls_per_request
from iosim.units import NOTHING, duration_text

_EXPLAINED = "sim: simulated, real: measured on this host; CPU, calls: per completed request"
_SHOWN: Mapping[str, Callable[[Run], str]] = {
    "done/s": lambda run: f"{run.throughput_per_s:,.0f}",
    "CPU": lambda run: duration_text(run.cpu_ns_per_request),
    "p50": lambda run: duration_text(run.latency_ns.get("p50")),
    "calls": lambda run: calls_per_request(run),
}


def side_by_side(runs: Sequence[Run]) -> Table:
    """One model a row, each figure simulated and measured."""
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold", caption=_EXPLAINED, caption_justify="left")
    table.add_column("\nmodel", style="bold cyan", no_wrap=True)
    for title in _SHOWN:
        table.add_column(f"{title}\nsim", justify="right", no_wrap=True)
        table.add_column("\nreal", justify="right", no_wrap=True)
    for model, found in _by_model(runs):
        table.add_row(model, *(_cell(found.get(world), text) for text in _SHOWN.values() for world in ("sim", "real")))
    return table


def _by_model(runs: Sequence[Run]) -> Iterable[tuple[str, Mapping[str, Run]]]:
    found: dict[str, dict[str, Run]] = {}
    for run in runs:
        found.setdefault(run.model, {})[run.world] = run
    return found.items()


def _cell(run: Run | None, text: Callable[[Run], str]) -> str:
    return NOTHING if run is None else text(run)
