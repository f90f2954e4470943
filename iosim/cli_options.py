"""The options that the commands share: read off ``Load`` and ``Machine``, so that one description serves both."""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

import typer

from iosim.costs import Costs, load_costs
from iosim.costs_runtime import Runtime
from iosim.load import Load
from iosim.machine import Machine
from iosim.units import duration_text, parse_duration_ns


class Flag(NamedTuple):
    """One option and the field that it sets."""

    name: str
    home: type[Load] | type[Machine]
    field: str
    metavar: str


FLAGS = (
    Flag("--clients", Load, "clients", "N"),
    Flag("--active", Load, "active", "FRACTION"),
    Flag("--rate", Load, "rate_per_s", "R"),
    Flag("--arrivals", Load, "arrivals", "KIND"),
    Flag("--think", Load, "think_ns", "T"),
    Flag("--think-distribution", Load, "think", "KIND"),
    Flag("--request-bytes", Load, "request_bytes", "B"),
    Flag("--response-bytes", Load, "response_bytes", "B"),
    Flag("--work", Load, "work_ns", "T"),
    Flag("--work-distribution", Load, "work", "KIND"),
    Flag("--duration", Load, "duration_ns", "T"),
    Flag("--warmup", Load, "warmup_ns", "T"),
    Flag("--requests", Load, "requests", "N"),
    Flag("--cpus", Machine, "cpus", "N"),
    Flag("--network", Machine, "network", "KIND"),
    Flag("--latency", Machine, "latency_ns", "T"),
)
SIMULATED_ONLY = ("network", "latency_ns", "costs")
"""What a real run takes from its host."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the shared options said, checked."""

    load: Load
    machine: Machine
    seed: int
    costs: Costs
    runtime: str | None
    params: dict[str, str]
    as_json: bool
    simulated_only: tuple[str, ...]
    """The options given that only a simulation can obey."""


def with_options(command: Callable[..., None], *, simulated: bool = True) -> Callable[..., None]:
    """The command, its parameter ``asked`` replaced by the shared options.

    typer reads a signature; this gives it one, so that no two commands spell the same twenty options.
    """
    shared = [p for p in _parameters() if simulated or p.name not in SIMULATED_ONLY]
    own = [p for p in inspect.signature(command).parameters.values() if p.name != "asked"]

    @wraps(command)
    def wrapper(**values: Any) -> None:
        options = {p.name: values.pop(p.name) for p in shared}
        command(asked=_asked(options), **values)

    wrapper.__dict__["__signature__"] = inspect.Signature([*own, *shared])
    return wrapper


def _parameters() -> list[inspect.Parameter]:
    """The shared options as keyword-only parameters. All values come as text, so that one place refuses them all."""
    fixed: dict[str, Any] = {
        "seed": (str, "1", typer.Option("--seed", metavar="S", help="equal seeds give equal runs")),
        "costs": (str | None, None, typer.Option("--costs", metavar="FILE", help=_COSTS_HELP)),
        "runtime": (str | None, None, typer.Option("--runtime", metavar="KIND", help=_RUNTIME_HELP)),
        "params": (list[str] | None, None, typer.Option("--set", metavar="KEY=VALUE", help=_SET_HELP)),
        "as_json": (bool, False, typer.Option("--json", help=JSON_HELP)),
    }
    return [_parameter(f.field, str | None, None, _option(f)) for f in FLAGS] + [
        _parameter(name, kind, default, option) for name, (kind, default, option) in fixed.items()
    ]


JSON_HELP = "print JSON on stdout; all else goes to stderr"
_COSTS_HELP = "the price list that `iosim calibrate --output FILE` wrote"
_RUNTIME_HELP = f"what the server is written in: {' or '.join(get_args(Runtime))} [dim]\\[that of the costs][/]"
_SET_HELP = "a parameter of the model, as workers=8; may be repeated"


def _parameter(name: str, kind: Any, default: Any, option: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])


def _option(flag: Flag) -> Any:
    """The typer option of a field, which itself holds the default."""
    field = flag.home.model_fields[flag.field]
    default = getattr(flag.home(), flag.field)
    shown = f"{default:,g}" if isinstance(default, int | float) else default
    if flag.field.endswith("_ns") and default is not None:
        shown = duration_text(default)
    choices = f": {' or '.join(get_args(field.annotation))}" if get_origin(field.annotation) is Literal else ""
    return typer.Option(
        flag.name,
        metavar=flag.metavar,
        help=f"{field.description}{choices}" + ("" if default is None else rf" [dim]\[{shown}][/]"),
        show_default=False,
        rich_help_panel="The clients" if flag.home is Load else "The server's machine",
    )


def _asked(options: Mapping[str, Any]) -> Asked:
    given = {name: value for name, value in options.items() if value is not None}
    return Asked(
        load=_made(Load, given),
        machine=_made(Machine, given),
        seed=_seed(options["seed"]),
        costs=load_costs(options.get("costs")),
        runtime=options["runtime"],
        params=dict(map(_key_and_value, options["params"] or [])),
        as_json=options["as_json"],
        simulated_only=tuple(_flag_of(name) for name in SIMULATED_ONLY if name in given),
    )


def _made(home: type[Load] | type[Machine], given: Mapping[str, Any]) -> Any:
    """The Load or the Machine of the options. A fault is told in the words of the command line."""
    values = {}
    for flag in FLAGS:
        if flag.home is home and flag.field in given:
            value = given[flag.field]
            values[flag.field] = duration(flag.name, value) if flag.field.endswith("_ns") else value
    try:
        return home(**values)
    except ValueError as error:
        raise ValueError("; ".join(_in_options(fault, given) for fault in str(error).split("; "))) from None


def duration(option: str, text: str) -> int:
    """The nanoseconds that the option says. Raises ValueError that names the option."""
    try:
        return parse_duration_ns(text)
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from None


def _in_options(fault: str, given: Mapping[str, Any]) -> str:
    """``Load.work_ns: came 5, expected …`` → ``--work: came '5ns', expected …``."""
    match = re.fullmatch(r"(?:Load|Machine)\.(\w+): came .*, expected (.*)", fault)
    if match and match[1] in given:
        field, expected = match.groups()
        if field.endswith("_ns"):
            expected = re.sub(r"\d+", lambda number: duration_text(int(number[0])), expected)
        return f"{_flag_of(field)}: came {given[field]!r}, expected {expected}"
    return re.sub(r"\w+", lambda word: _flag_of(word[0]), re.sub(r"^(Load|Machine): ", "", fault))


def _flag_of(field: str) -> str:
    return next((f.name for f in FLAGS if f.field == field), "--costs" if field == "costs" else field)


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"--seed: came {text!r}, expected a whole number, 0 or more")
    return int(text)


def _key_and_value(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key.strip() and equals):
        raise ValueError(f"--set: came {text!r}, expected KEY=VALUE, as workers=8")
    return key.strip(), value.strip()


def output_file(path: Path) -> Path:
    """The path, if a file can be written there; checked before work starts. Raises ValueError."""
    if path.is_dir():
        raise ValueError(f"--output: {path} is a folder, expected a file")
    if not path.parent.is_dir():
        raise ValueError(f"--output: the folder {path.parent} does not exist")
    return path
