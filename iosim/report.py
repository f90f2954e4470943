"""The report of a study: one self-contained HTML page, with the pictures inside it and words made from the numbers."""

import base64
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata, resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from iosim.costs import FIGURES, Costs
from iosim.real.host import host_description
from iosim.study_grid import Skip
from iosim.study_table import PAIRS, QUANTITIES, SEPARATOR, errors, medians, noise_floor
from iosim.units import duration_text, rate_text, share_text

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All that a report is made from."""

    table: "pd.DataFrame"
    costs: Costs
    skips: tuple[Skip, ...]
    quick: bool

    @property
    def connections(self) -> int:
        """The largest number of connections of the study."""
        return int(self.table.connections.max())

    @property
    def low(self) -> float:
        """The lowest activity of the study."""
        return float(self.table.activity.min())


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One picture and what it says. ``svg`` is the drawing itself."""

    stem: str
    title: str
    says: str
    svg: bytes

    @property
    def data_uri(self) -> str:
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg).decode()


def draw(findings: Findings, folder: Path) -> list[Picture]:
    """Draw all pictures into ``folder`` (PNG and SVG)."""
    from iosim import plot
    from iosim.report_words import Words

    words = Words(findings)
    table, low = findings.table, findings.low
    cpu, _, throughput, latency = QUANTITIES
    floors = noise_floor(table)
    floor_of = dict(zip(floors.title, floors.floor, strict=True))
    middle = words.common_connections
    few = f"Saturation, {100 * low:.0f} % of the connections active"
    wanted = [
        ("cpu-per-request", "CPU time per request", words.cpu(), plot.compared(table, cpu, low)),
        ("saturation-all", "Saturation, all active", words.saturation(1.0), plot.compared(table, throughput, 1.0)),
        ("saturation-few", few, words.saturation(low), plot.compared(table, throughput, low)),
        ("latency", "Median latency", words.latency(), plot.compared(table, latency, low)),
        ("cpu-by-cause", "Where the CPU time goes", words.causes(middle), plot.cpu_by_cause(table, middle, low)),
        ("errors", "Simulation against measurement", words.agreement(), plot.error_picture(table, floor_of)),
    ]
    pictures = []
    for stem, title, says, figure in wanted:
        _, svg = plot.save(figure, folder / stem)
        pictures.append(Picture(stem=stem, title=title, says=says, svg=svg.read_bytes()))
    return pictures


def render(findings: Findings, pictures: Sequence[Picture], *, elapsed_s: float) -> str:
    """The page. It loads nothing: style and pictures are in it."""
    import jinja2

    from iosim.report_words import Words

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["marked"] = _marker(list(dict.fromkeys(findings.table.model)))
    template = environment.from_string(resources.files("iosim").joinpath("report.html").read_text(encoding="utf-8"))
    words = Words(findings)
    return template.render(
        summary=words.summary(),
        pictures=pictures,
        results=results_tables(findings.table),
        errors=errors_table(findings.table),
        pairs=[f"{one} / {other}" for one, other in PAIRS],
        floors=_floor_rows(findings.table),
        figures=costs_table(findings.costs),
        costs=findings.costs,
        skips=findings.skips,
        warnings=warnings_of(findings.table),
        host=host_lines(),
        command="iosim study --quick" if findings.quick else "iosim study",
        quick=findings.quick,
        rows=len(findings.table),
        made=f"{datetime.now():%Y-%m-%d %H:%M}",
        elapsed=f"{elapsed_s:.0f} s",
        version=metadata.version("iosim"),
    )


# --- tables ------------------------------------------------------------------------------------------------------


def results_tables(table: "pd.DataFrame") -> list[dict[str, Any]]:
    """Per quantity: a title and rows (model, connections, activity, theory, sim, real), as text; the measured
    points only."""
    middle = medians(table)
    tables = []
    for quantity in QUANTITIES:
        wide = middle[middle.kind == quantity.kind].pivot_table(
            index=["model", "connections", "activity"], columns="world", values=quantity.column, sort=False
        )
        if "real" in wide:
            wide = wide[wide["real"].notna()]
        rows = []
        for row in wide.reset_index().to_dict("records"):
            cells = [_text(quantity.column, row.get(world)) for world in ("theory", "sim", "real")]
            rows.append([row["model"], f"{row['connections']:,}", f"{100 * row['activity']:.0f} %", *cells])
        tables.append({"title": quantity.title, "rows": rows})
    return tables


def errors_table(table: "pd.DataFrame") -> list[dict[str, Any]]:
    """Per quantity: a title and rows of model and, per pair of worlds, (typical, worst) as text or None."""
    found = {(row["quantity"], row["model"], row["pair"]): row for row in errors(table).to_dict("records")}
    tables = []
    for quantity in QUANTITIES:
        rows = []
        for model in dict.fromkeys(table.model):
            cells = []
            for one, other in PAIRS:
                key = (quantity.title, model, f"{one} / {other}")
                row = found.get(key)
                cells.append(None if row is None else (percent(row["typical"]), percent(row["worst"]), row["points"]))
            if any(cells):
                rows.append((model, cells))
        if rows:
            tables.append({"title": quantity.title, "rows": rows})
    return tables


def costs_table(costs: Costs) -> list[tuple[str, str, str, str]]:
    """(figure, value, what one unit is, source) of every price."""
    rows = []
    for figure in FIGURES:
        value = getattr(costs, figure)
        tiers = value if isinstance(value, tuple) else None
        text = ", ".join(f"{ns:,.4g} at {objects:,.0f}" for objects, ns in tiers) if tiers else f"{value:,.4g}"
        rows.append((figure, text, Costs.model_fields[figure].description or "", costs.source_of(figure)))
    return rows


def warnings_of(table: "pd.DataFrame") -> list[tuple[str, str, int]]:
    """(warning, one of its points, how many rows carry it), the most frequent first. Warnings that differ in their
    numbers alone are one."""
    seen: dict[str, list[tuple[str, str]]] = {}
    for row in table[table.warnings != ""].to_dict("records"):
        for warning in str(row["warnings"]).split(SEPARATOR):
            where = f"{row['model']}, connections: {row['connections']}, {row['kind']}, {row['world']}"
            seen.setdefault(re.sub(r"[0-9][0-9.,]*", "#", warning), []).append((warning, where))
    return sorted(((*rows[0], len(rows)) for rows in seen.values()), key=lambda item: -item[2])


def host_lines() -> list[tuple[str, str]]:
    """What this machine is, for people."""
    host = host_description()
    return [
        ("CPU", f"{host['cpu']}, {host['cpus']} CPUs"),
        ("Kernel", host["kernel"]),
        ("Runtime of the measured servers", f"CPython {host['python']}"),
        ("Measured server", "pinned to one CPU; its clients, another process, to another"),
    ]


def percent(fraction: float) -> str:
    """``+4.2 %``, with a true minus sign."""
    text = f"{100 * fraction:+.0f} %" if abs(fraction) >= 0.0995 else f"{100 * fraction:+.1f} %"
    return text.replace("-", "\N{MINUS SIGN}")


def _marker(models: Sequence[str]) -> Callable[[str], Markup]:
    """A filter for sentences: the names of models become code."""
    names = re.compile(rf"\b({'|'.join(map(re.escape, models))})\b")
    return lambda text: Markup(names.sub(r"<code>\1</code>", str(escape(text))))


def _floor_rows(table: "pd.DataFrame") -> list[tuple[str, int, str, str]]:
    floors = noise_floor(table)
    columns = (floors.title, floors.pairs, floors.typical, floors.floor)
    return [
        (title, pairs, _share(typical), _share(floor)) for title, pairs, typical, floor in zip(*columns, strict=True)
    ]


def _share(value: float | None) -> str:
    return share_text(None if value is None or value != value else value)


def _text(column: str, value: float | None) -> str:
    if value is None or value != value:
        return "\N{EN DASH}"
    return rate_text(value) if column == "throughput_per_s" else duration_text(value)
