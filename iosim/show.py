"""How results look: one run as one screen, several as one table; in a terminal, as plain text, in a notebook."""

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from io import StringIO

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from iosim.costs import FIGURES, Costs
from iosim.figures import Figure
from iosim.programs import Model
from iosim.results import SAMPLES_BEYOND, Run
from iosim.units import NOTHING, bytes_text, duration_text, rate_text, share_text

WIDTH = 80
BAR = 20
OWNERS = ("user", "system", "softirq", "switch", "idle")
LABEL = 12
MOST = 6
FEW = 3


def text_of(run: Run) -> str:
    """The run as one screen of plain text, 80 columns wide: what ``print(run)`` shows."""
    return plain(screen(run))


def html_of(run: Run) -> str:
    """The run for a notebook: the same screen as a small table."""
    rows = "".join(
        f"<tr><th style='text-align:left;vertical-align:top'>{escape(label)}</th>"
        f"<td style='text-align:left;white-space:pre-wrap'>{escape(_joined(lines))}</td></tr>"
        for label, lines in _rows(run)
    )
    caption = "<br>".join(escape(line) for line in (heading(run), *_load(run)))
    return f"<table><caption style='text-align:left'>{caption}</caption>{rows}</table>"


def plain(renderable: RenderableType) -> str:
    """Anything of this module as text without colour, 80 columns wide."""
    text = StringIO()
    Console(file=text, width=WIDTH, color_system=None, force_terminal=False, legacy_windows=False).print(renderable)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def screen(run: Run) -> RenderableType:
    """The run as a rich renderable."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, lines in _rows(run):
        grid.add_row(label, Text(_joined(lines), style="yellow" if label == "warning" else ""))
    return Group(Text(heading(run), style="bold cyan"), Text(_joined(_load(run)), style="dim"), grid)


def heading(run: Run) -> str:
    """``epoll_loop · simulated · seed 1 · costs default``."""
    world = "simulated" if run.world == "sim" else "measured on real sockets"
    params = [f"{name}={value}" for name, value in run.params.items()]
    cpus = run.machine.get("cpus")
    costs = [f"costs {run.costs}"] if run.costs else []
    machine = [f"{cpus} CPU{'s' if cpus != 1 else ''}"] if cpus else []
    return " · ".join([run.model, *params, world, *machine, f"seed {run.seed}", *costs])


def comparison(runs: Sequence[Run]) -> Table:
    """Several runs side by side, one a row."""
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold", caption=_COMPARED, caption_justify="left")
    table.add_column("model", style="bold cyan", no_wrap=True)
    for title in ("done/s", "mean", "p50", "p99", "busy", "CPU", "calls", "memory"):
        table.add_column(title, justify="right", no_wrap=True)
    for run in runs:
        table.add_row(
            run.model,
            f"{run.throughput_per_s:,.0f}",
            *(duration_text(run.latency_ns.get(key)) for key in ("mean", "p50", "p99")),
            share_text(_busy(run)),
            duration_text(run.cpu_ns_per_request),
            calls_per_request(run),
            bytes_text(run.memory_bytes.get("total")),
        )
    return table


_COMPARED = "busy: of all CPU time; CPU, calls: per completed request; memory: kernel's"


KINDS = ("blocking", "non-blocking", "multiplexing", "signal-driven", "asynchronous")
"""Stevens' order."""


def catalogue(models: Sequence[tuple[Model, str | None]]) -> Table:
    """The models, by kind, one a row; with each the reason why this host cannot run it for real, if there is one."""
    table = Table(box=None, padding=(0, 1), header_style="bold", caption=_LISTED, caption_justify="left")
    table.add_column("model", style="cyan", no_wrap=True)
    table.add_column("real", no_wrap=True)
    table.add_column("what it is, its parameters, its manual pages")
    kinds = dict.fromkeys((*KINDS, *(model.kind for model, _ in models)))
    for kind in kinds:
        of_kind = [(model, reason) for model, reason in models if model.kind == kind]
        if of_kind:
            table.add_row(Text(kind or "of no kind", style="bold"))
        for model, reason in of_kind:
            params = "".join(f"\n--set {name}={default}" for name, (_, default) in model.params.items())
            pages = "\n" + ", ".join(model.manual_pages) if model.manual_pages else ""
            why = f"\nnot for real: {reason}" if reason else ""
            described = Text.assemble(model.thesis, (params, "green"), (pages, "dim"), (why, "yellow"))
            table.add_row(f"  {model.name}", Text("no", "yellow") if reason else "yes", described)
    return table


_LISTED = "real: can this host run it with `iosim measure`?"


def price_list(costs: Costs) -> Table:
    """Every figure of a price list beside the default one."""
    table = Table(box=None, padding=(0, 1), header_style="bold", title=f"costs {costs.name}", title_justify="left")
    table.add_column("figure", style="bold cyan", no_wrap=True)
    table.add_column("ns", justify="right")
    table.add_column("default", justify="right", style="dim")
    table.add_column("of")
    default = Costs()
    for name in FIGURES:
        unit = Costs.model_fields[name].description or ""
        table.add_row(name, _figure(getattr(costs, name)), _figure(getattr(default, name)), unit)
    return table


def _figure(figure: Figure) -> str:
    """One number, or one line per tier: ``65 at 100``."""
    if isinstance(figure, tuple):
        return "\n".join(f"{ns:,.4g} at {objects:,.0f}" for objects, ns in figure)
    return f"{figure:,.0f}" if figure >= 1000 else f"{figure:.4g}"


def sentences(told: Iterable[tuple[str, str]]) -> Table:
    """(subject, sentence) in two columns."""
    grid = Table.grid(padding=(0, 2, 1, 0))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column()
    for subject, sentence in told:
        grid.add_row(subject, Text(sentence))
    return grid


def remarks(runs: Iterable[Run]) -> list[str]:
    """Every warning of the runs, once, with the models that it is of; of those that differ in their numbers, one."""
    of: dict[str, dict[str, str]] = {}
    for run in runs:
        for warning in _condensed(run.warnings):
            of.setdefault(re.sub(r"[\d.]+", "0", warning), {})[run.model] = warning
    return [f"{_named(list(found))}: {next(iter(found.values()))}" for found in of.values()]


def _named(models: Sequence[str]) -> str:
    """``a, b, c``, or ``a and 7 more``."""
    return ", ".join(models) if len(models) <= FEW else f"{models[0]} and {len(models) - 1} more"


def _condensed(warnings: Iterable[str]) -> list[str]:
    """The warnings; those of single percentiles, which a dash shows already, as one."""
    others = [warning for warning in warnings if " is not given: it needs" not in warning]
    dashes = len(others) < len(tuple(warnings))
    return [*others, f"a dash: fewer than {SAMPLES_BEYOND} samples lie beyond that percentile"] if dashes else others


def _rows(run: Run) -> list[tuple[str, list[str]]]:
    """Label and lines of every row of the screen."""
    requests = run.requests
    outcome = " + ".join(f"{requests[key]:,} {key.replace('_', ' ')}" for key in _OUTCOMES if requests.get(key))
    latency = [(shown, duration_text(run.latency_ns.get(key))) for key, shown in _LATENCIES.items()]
    cpu = [f"{owner} {share_text(run.cpu[owner])}" for owner in OWNERS if run.cpu.get(owner) is not None]
    price = "" if run.cpu_ns_per_request is None else f", at {duration_text(run.cpu_ns_per_request)} of CPU a request"
    calls = sorted(run.syscalls.items(), key=lambda call: -call[1])
    return [
        ("requests", [f"{requests['issued']:,} issued = {outcome or '0'}"]),
        ("throughput", [rate_text(run.throughput_per_s) + price]),
        ("latency", ["".join(f"{cell:<11}" for cell in line).rstrip() for line in zip(*latency, strict=True)]),
        *([("", _bars(run.latency_parts_ns))] if run.latency_parts_ns else []),
        ("CPU", _packed(cpu)),
        *([("busy with", _causes(run.cpu_causes_ns))] if run.cpu_causes_ns else []),
        ("calls", _packed([f"{name} {count:,}" for name, count in calls if count])),
        *_machine_rows(run),
        *(("warning", [warning]) for warning in _condensed(run.warnings)),
    ]


_OUTCOMES = ("completed", "in_flight", "dropped", "failed")
_LATENCIES = {"mean": "mean", "p50": "p50", "p90": "p90", "p99": "p99", "p999": "p99.9", "max": "max"}


def _causes(causes_ns: Mapping[str, int]) -> list[str]:
    """What the busy CPU did, the most first: ``network stack 41.0 %  copy 9.1 %``."""
    busy = {cause: ns for cause, ns in causes_ns.items() if cause != "idle" and ns}
    largest = sorted(busy.items(), key=lambda cause: -cause[1])[:MOST]
    return _packed([f"{cause} {share_text(ns / sum(busy.values()))}" for cause, ns in largest])


def _packed(items: Sequence[str]) -> list[str]:
    """The items in as few lines as they need, none broken."""
    lines = [""]
    for item in items:
        if lines[-1] and len(lines[-1]) + 2 + len(item) > WIDTH - LABEL:
            lines.append("")
        lines[-1] += f"  {item}" if lines[-1] else item
    return lines if items else [NOTHING]


def _machine_rows(run: Run) -> list[tuple[str, list[str]]]:
    switches = [f"{count:,} {kind}" for kind, count in run.context_switches.items() if count is not None]
    if run.wakeups is not None:
        switches.append(f"{run.wakeups:,} wake-ups")
    memory = run.memory_bytes
    rows = [("switches", [", ".join(switches) or NOTHING])]
    if memory.get("total") is not None:
        rows.append(("memory", [f"{bytes_text(memory.get('per_connection'))} a connection, in all "
                                f"{bytes_text(memory['total'])}"]))  # fmt: skip
    took = f"{run.wall_s:.2f} s"
    if run.events is not None:
        took += f" for {run.events:,} events"
    if run.digest:
        took += f", digest {run.digest[:12]}"
    return [*rows, ("took", [took])]


def _bars(parts_ns: Mapping[str, float]) -> list[str]:
    """One line a part: a bar, the time, the share, the name; parts of nothing are left out."""
    whole = sum(parts_ns.values()) or 1
    return [
        f"{_bar(ns / whole):<{BAR}} {duration_text(ns):>9} {share_text(ns / whole):>7}  {name.replace('_', ' ')}"
        for name, ns in parts_ns.items()
        if ns
    ]


def _bar(share: float) -> str:
    eighths = round(share * BAR * 8)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def _load(run: Run) -> list[str]:
    load = run.load
    active = "all active" if load["active"] == 1 else f"{100 * load['active']:g} % active"
    if load.get("rate_per_s") is not None:
        loop = f"open loop, {rate_text(load['rate_per_s'])} {load['arrivals']}"
    else:
        loop = f"closed loop, thinking {duration_text(load['think_ns'])} ({load['think']})"
    work = f"{duration_text(load['work_ns'])} of work" if load["work_ns"] else "no work"
    sizes = f"{load['request_bytes']} B → {load['response_bytes']} B"
    span = f"{duration_text(load['duration_ns'])} measured after {duration_text(load['warmup_ns'])}"
    return [f"{load['clients']:,} clients, {active} · {loop}", f"{sizes}, {work} · {span}"]


def _busy(run: Run) -> float | None:
    idle = run.cpu.get("idle")
    return None if idle is None else 1 - idle


def calls_per_request(run: Run) -> str:
    """System calls of the window per completed request."""
    calls = run.window_syscalls or run.syscalls  # none: of a stock runtime they are not known
    kernel = sum(count for name, count in calls.items() if name != "compute")
    done = run.requests["completed"]
    return f"{kernel / done:.2f}" if done and calls else NOTHING


def _joined(lines: list[str]) -> str:
    return "\n".join(lines)
