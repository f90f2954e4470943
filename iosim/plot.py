"""Pictures, in one look: each model keeps its colour and its marker; theory is a broad line, the simulation hollow
markers on a line, the measurement filled markers with bars from the least to the largest repetition.

The only module that imports matplotlib, and through its object-oriented interface alone: no window, no global state.
Every function returns a ``matplotlib.figure.Figure`` about 7 inches wide; ``save`` writes it as PNG and SVG.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from iosim.study_table import QUANTITIES, Quantity, causes_in, medians, ratios

WIDTH_IN = 7.2
DPI = 160
INK = "#222222"
FAINT = "#d9d9d9"
LOOK: Any = {  # matplotlib's stubs list every key as a Literal
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "axes.labelsize": 8,
    "axes.edgecolor": "#888888",
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#ececec",
    "grid.linewidth": 0.6,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "text.color": INK,
    "axes.labelcolor": INK,
    "legend.frameon": False,
    "svg.hashsalt": "iosim",
    "svg.fonttype": "path",
}
# Okabe and Ito (2008), with Tol's indigo in place of yellow, which is lost on white
STYLES: dict[str, tuple[str, str]] = {
    "blocking": ("#444444", "o"),
    "threads": ("#E69F00", "s"),
    "prefork": ("#D55E00", "D"),
    "nonblocking": ("#CC79A7", "X"),
    "select_loop": ("#56B4E9", "^"),
    "poll_loop": ("#0072B2", "v"),
    "epoll_loop": ("#009E73", "P"),
    "epoll_edge": ("#332288", "h"),
}
CAUSE_COLOURS = {
    "compute": "#1b4965",
    "runtime": "#62a0ca",
    "entry": "#8c510a",
    "readiness call": "#bf812d",
    "readiness scan": "#dfa75a",
    "registration": "#f1d19b",
    "wake-up": "#b2182b",
    "network stack": "#35978f",
    "copy": "#80cdc1",
    "protocol input": "#01665e",
    "context switch": "#762a83",
    "cold caches": "#c2a5cf",
    "connection": "#969696",
}
OTHER = "#bdbdbd"


def in_order(models: Iterable[str]) -> list[str]:
    """These models, each once, in the order of every picture: the known ones first."""
    given = list(dict.fromkeys(models))
    return [m for m in STYLES if m in given] + [m for m in given if m not in STYLES]


def style_of(model: str) -> tuple[str, str]:
    """(colour, marker) of a model, the same in every picture; models of your own are dark red crosses."""
    return STYLES.get(model, ("#882255", "d"))


@mpl.rc_context(LOOK)
def save(figure: Figure, stem: Path) -> tuple[Path, Path]:
    """Write ``stem``.png and ``stem``.svg; both are the same bytes for the same figure."""
    png, svg = stem.with_suffix(".png"), stem.with_suffix(".svg")
    figure.set_dpi(DPI)  # text is a little wider at another resolution: lay it out at the one that is written
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # the layout stands now; finding it again for each file would double the time
    figure.savefig(png, dpi=DPI, metadata={"Software": None})
    figure.savefig(svg, metadata={"Date": None})
    return png, svg


@mpl.rc_context(LOOK)
def compared(table: pd.DataFrame, quantity: Quantity, activity: float) -> Figure:
    """``quantity`` against connections, one panel per model, theory, simulation and measurement in the same axes.

    The other models' simulated curves stand faintly behind. ``table`` is the tidy table of a study; a point with one
    connection belongs to every ``activity``.
    """
    shown = medians(table)
    chosen = (shown.kind == quantity.kind) & ((shown.activity == activity) | (shown.connections == 1))
    shown = shown[chosen].sort_values("connections")
    scale, unit = (1.0, "requests/s") if quantity.column == "throughput_per_s" else (1e-3, "µs")
    models = in_order(table.model)
    figure, panels = _panels(len(models))
    for axes, model in zip(panels, models, strict=True):
        for other in models:
            ghost = shown[(shown.model == other) & (shown.world == "sim")]
            axes.plot(ghost.connections, ghost[quantity.column] * scale, color=FAINT, linewidth=0.9, zorder=1)
        _three_worlds(axes, shown[shown.model == model], quantity.column, scale, style_of(model))
        axes.set_title(model, color=style_of(model)[0], loc="left")
    _connections_axis(panels, sorted(shown.connections.unique()))
    _log_axis(panels)
    figure.supylabel(f"{_axis_name(quantity)}, {unit}", fontsize=8.5)
    for axes in panels[-4:]:
        axes.set_xlabel("open connections")
    figure.suptitle(load_line(table, quantity.kind, activity), fontsize=8.5, x=0.01, ha="left")
    figure.legend(handles=_world_handles(), loc="outside lower center", ncols=4, fontsize=8)
    return figure


@mpl.rc_context(LOOK)
def cpu_by_cause(table: pd.DataFrame, connections: int, activity: float) -> Figure:
    """Where the simulated server's CPU goes: one bar per model, stacked by cause, in µs per request at the steady load.

    A model that burns its CPU while it waits is cut at the edge, and its bar says how long it would be.
    """
    here = (table.world == "sim") & (table.kind == "steady") & (table.connections == connections)
    rows = table[here & ((table.activity == activity) | (table.connections == 1))].set_index("model")
    models = in_order(rows.index)[::-1]
    columns = [c for c in causes_in(table) if rows[c].fillna(0).sum() > 0]
    columns.sort(key=lambda c: list(CAUSE_COLOURS).index(n) if (n := cause_name(c)) in CAUSE_COLOURS else 99)
    totals = rows[columns].sum(axis=1) / 1e3
    edge = 1.12 * totals.sort_values().iloc[-2] if len(totals) > 2 and totals.max() > 3 * totals.median() else None
    figure = Figure(figsize=(WIDTH_IN, 1.5 + 0.34 * len(models)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    left = pd.Series(0.0, index=models)
    for column in columns:
        widths = rows.loc[models, column].fillna(0) / 1e3
        name = cause_name(column)
        colour = CAUSE_COLOURS.get(name, OTHER)
        axes.barh(models, widths, left=left, color=colour, label=name, height=0.72, edgecolor="white", linewidth=0.3)
        left += widths
    if edge:
        axes.set_xlim(0, edge)
    for place, model in enumerate(models):
        cut = edge is not None and totals[model] > edge
        end = axes.get_xlim()[1] if cut else totals[model]
        text = f"{totals[model]:,.0f} µs ▸ " if cut else f" {totals[model]:,.1f}"
        ink = "white" if cut else INK
        axes.text(end, place, text, va="center", ha="right" if cut else "left", fontsize=7.5, color=ink)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("simulated CPU time per request, µs")
    axes.margins(x=0.1)
    figure.suptitle(load_line(table, "steady", activity, connections), fontsize=8.5, x=0.01, ha="left")
    figure.legend(loc="outside lower center", ncols=5, fontsize=7.5, handlelength=1, columnspacing=1.2)
    return figure


@mpl.rc_context(LOOK)
def error_picture(table: pd.DataFrame, floor: Mapping[str, float]) -> Figure:
    """Simulation over measurement, one panel per quantity, one marker per point; 1 is agreement. The band is the noise
    floor (``floor``: title of a quantity → fraction): inside it nothing can be told apart. Hollow markers stand for
    points that do not count because the measured server was not saturated."""
    shown = ratios(table)
    shown = shown[shown.pair == "sim / real"]
    titles = [quantity.title for quantity in QUANTITIES]
    models = in_order(table.model)[::-1]
    figure = Figure(figsize=(WIDTH_IN, 1.4 + 0.26 * len(models) * 2), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 2, sharex=True, sharey=True).ravel()
    for axes, title in zip(panels, titles, strict=True):
        band = floor.get(title)
        if band is not None and band == band:
            axes.axvspan(1 / (1 + band), 1 + band, color="#f0e6c8", zorder=0, linewidth=0)
        axes.axvline(1, color="#777777", linewidth=0.8, zorder=1)
        for place, model in enumerate(models):
            colour, marker = style_of(model)
            for row in shown[(shown.model == model) & (shown.quantity == title)].itertuples():
                face = "none" if row.limit else colour
                axes.plot(row.ratio, place, marker, color=colour, markerfacecolor=face, markersize=5, alpha=0.85)
        axes.set_title(title, loc="left")
        axes.set_xscale("log")
        axes.set_yticks(range(len(models)), models)
        axes.set_ylim(-0.6, len(models) - 0.4)
    widest = max([1.5, *shown.ratio, *(1 / shown.ratio)]) * 1.1
    panels[0].set_xlim(1 / widest, widest)
    _ratio_axis(panels, widest)
    figure.supxlabel("simulated / measured", fontsize=8.5)
    return figure


def load_line(table: pd.DataFrame, kind: str, activity: float, connections: int | None = None) -> str:
    """The load in words: open or closed loop, how many are active, what they ask."""
    row = table[table.kind == kind].iloc[0]
    asks = f"{row.request_bytes} B → {row.response_bytes} B"
    who = f"{100 * activity:.0f} % of {connections or 'the'} connections active"
    if kind == "steady":
        return f"open loop, {row.rate_per_s:,.0f} requests/s in all, {who}, {asks}"
    return f"closed loop without thinking time, {who}, {asks}"


def cause_name(column: str) -> str:
    """``cause_readiness_scan_ns`` → ``readiness scan``; ``wake-up`` keeps its hyphen."""
    return column.removeprefix("cause_").removesuffix("_ns").replace("_", " ")


# --- parts -------------------------------------------------------------------------------------------------------


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    columns = min(4, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(WIDTH_IN, 1.0 + 1.75 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for spare in panels[count:]:
        spare.set_visible(False)
    return figure, list(panels[:count])


def _three_worlds(axes: Axes, rows: pd.DataFrame, column: str, scale: float, style: tuple[str, str]) -> None:
    colour, marker = style
    theory, sim, real = (rows[rows.world == world].dropna(subset=[column]) for world in ("theory", "sim", "real"))
    axes.plot(theory.connections, theory[column] * scale, color=colour, linewidth=2.6, alpha=0.35, zorder=2)
    if len(theory) == 1:
        # a line of one point would not be seen
        axes.plot(theory.connections, theory[column] * scale, "_", color=colour, markersize=16, alpha=0.5, zorder=2)
    hollow: dict[str, Any] = {"markerfacecolor": "white", "markersize": 6, "markeredgewidth": 1.1}
    axes.plot(sim.connections, sim[column] * scale, marker + "-", color=colour, linewidth=0.9, zorder=3, **hollow)
    bars = [(real[column] - real[f"{column}_min"]) * scale, (real[f"{column}_max"] - real[column]) * scale]
    axes.errorbar(
        real.connections,
        real[column] * scale,
        yerr=bars,
        fmt=marker,
        color=colour,
        markersize=5,
        markeredgecolor="black",
        markeredgewidth=0.6,
        capsize=2,
        elinewidth=0.9,
        zorder=4,
    )


def _world_handles() -> list[Line2D]:
    return [
        Line2D([], [], color=INK, linewidth=2.6, alpha=0.35, label="theory"),
        Line2D([], [], color=INK, marker="o", markerfacecolor="white", linewidth=0.9, markersize=6, label="simulation"),
        Line2D([], [], color=INK, marker="o", linestyle="none", markersize=5, label="measurement (min to max)"),
        Line2D([], [], color=FAINT, linewidth=1.2, label="other models, simulated"),
    ]


def _connections_axis(panels: Sequence[Axes], connections: Sequence[int]) -> None:
    for axes in panels:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator([float(n) for n in connections]))
        axes.xaxis.set_major_formatter(FuncFormatter(_plain))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlim(min(connections) / 1.8, max(connections) * 1.8)


def _log_axis(panels: Sequence[Axes]) -> None:
    """A logarithmic y axis with labels at 1, 2, 5 while it spans less than two decades."""
    for axes in panels:
        axes.set_yscale("log")
    low, high = panels[0].get_ylim()
    subs = (1.0, 2.0, 5.0) if high / low < 200 else (1.0,)
    for axes in panels:
        axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=12))
        axes.yaxis.set_major_formatter(FuncFormatter(_plain))
        axes.yaxis.set_minor_locator(NullLocator())


def _ratio_axis(panels: Sequence[Axes], widest: float) -> None:
    """Ticks at 1 and at equal factors to both sides of it, as many as are legible."""
    steps = (1.25, 1.5, 2.0) if widest < 2.5 else (2.0, 5.0) if widest < 12 else (3.0, 10.0, 30.0, 100.0, 1000.0)
    above = [step for step in steps if step <= widest]
    ticks = [1 / step for step in reversed(above)] + [1.0] + above
    for axes in panels:
        axes.xaxis.set_major_locator(FixedLocator(ticks))
        axes.xaxis.set_major_formatter(
            FuncFormatter(lambda value, _place: f"{value:.2g}" if value < 1 else f"{value:g}")
        )
        axes.xaxis.set_minor_locator(NullLocator())


def _axis_name(quantity: Quantity) -> str:
    names = {"cpu_ns_per_request": "CPU time per request", "throughput_per_s": "throughput"}
    return names.get(quantity.column, "median latency")


def _plain(value: float, _place: int | None = None) -> str:
    """1, 30, 2k, 150k, 3M: short enough for a small panel."""
    for factor, letter in ((1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:g}{letter}"
    return f"{value:g}"
