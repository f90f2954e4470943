"""The command line. Exit status: 0 done, 1 the run failed, 2 bad arguments, 130 stopped by Ctrl-C.

Whatever goes wrong is told in one line on stderr. Heavy modules are loaded by the command that needs them.
"""

import json
import os
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.text import Text

from iosim import show, show_worlds
from iosim.cli_options import JSON_HELP, Asked, output_file, with_options
from iosim.cli_progress import Bar, bar
from iosim.programs import Model, bind_params, find, models, names

if TYPE_CHECKING:
    from iosim.results import Run

UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""The base of everything that typer says of a command line; its home differs between typer's versions."""
STOPPED = 130

app = typer.Typer(
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""[bold]To begin with[/]
  iosim study                     a report of this machine, in three minutes
  iosim list                      the I/O models
  iosim run epoll_loop --clients 1000 --rate 20000
  iosim compare select_loop epoll_loop --clients 900 --active 0.01

Durations take a unit: 20us, 1.5ms, 2s. `iosim COMMAND --help` tells more.""",
)

ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="a name from `iosim list`, or ./FILE.py", show_default=False)
]
ModelsArgument = Annotated[
    list[str],
    typer.Argument(metavar="MODEL...", help="names from `iosim list`, ./FILE.py, or all", show_default=False),
]
WORLDS = {"sim": ("sim",), "real": ("real",), "both": ("sim", "real")}
WorldOption = Annotated[
    str, typer.Option("--world", metavar="KIND", help="sim; real: measure on this host; or both, side by side")
]
JsonOption = Annotated[bool, typer.Option("--json", help=JSON_HELP)]
QuickOption = Annotated[bool, typer.Option("--quick", help="fewer repetitions: sooner, and less sure")]


def _command(examples: str, *, shared: Literal["all", "real", "none"] = "none") -> Callable[..., Any]:
    """Makes a function the command of its name, with the shared options of a simulation or of a real run."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        name = function.__name__.strip("_")
        complete = function if shared == "none" else with_options(function, simulated=shared == "all")
        app.command(name, epilog=examples)(complete)
        return function

    return decorate


@app.callback(invoke_without_command=True)
def _about(context: typer.Context) -> None:
    """How servers do I/O: one short program, in a simulated kernel, on real sockets, and beside theory."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@_command("iosim study --quick\niosim study --output results/tonight")
def _study(
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FOLDER", help="where to [dim]\\[results/study-...][/]")
    ] = None,
    quick: QuickOption = False,
    as_json: JsonOption = False,
) -> None:
    """This machine in one report: the models in theory, in simulation and on real sockets, in the same pictures."""
    from iosim.study import study

    with bar() as progress:
        result = study(output, quick=quick, progress=progress)
    if as_json:
        print(json.dumps({"path": str(result.path), "report": str(result.report)}))
        return
    from iosim.report import Findings
    from iosim.report_words import Words

    findings = Findings(table=result.table, costs=result.costs, skips=result.skips, quick=quick)
    _print(show.sentences(Words(findings).summary()))
    print(f"The report is {result.report}")


@_command("iosim list --json")
def _list(as_json: JsonOption = False) -> None:
    """The I/O models: what each is, its parameters, and whether this host can run it for real."""
    from iosim.real.abilities import obstacle

    found = [(model, obstacle(model.calls)) for model in models()]
    if as_json:
        print(json.dumps([_described(model, reason) for model, reason in found]))
    else:
        _print(show.catalogue(found))


def _described(model: Model, reason: str | None) -> dict[str, Any]:
    return {
        "name": model.name,
        "kind": model.kind,
        "thesis": model.thesis,
        "manual_pages": model.manual_pages,
        "timing_dependent": model.timing_dependent,
        "params": {name: default for name, (_, default) in model.params.items()},
        "measurable": reason is None,
        "obstacle": reason,
    }


@_command(
    "iosim run epoll_loop --clients 1000 --rate 20000\n"
    "iosim run prefork --set workers=16 --think 1ms --work 20us --cpus 4\n"
    "iosim run epoll_loop --costs host.toml --runtime asyncio\n"
    "iosim run ./mine.py --json",
    shared="all",
)
def _run(model: ModelArgument, asked: Asked) -> None:
    """Simulate one model under one load."""
    _one(_simulated, model, asked)


@_command(
    "iosim measure epoll_loop --clients 100 --rate 5000 --duration 2s\n"
    "iosim measure epoll_loop --runtime uvloop --clients 100 --rate 5000",
    shared="real",
)
def _measure(model: ModelArgument, asked: Asked) -> None:
    """Run one model on this host: real sockets on 127.0.0.1, the clients in a process of their own."""
    _one(_measured, model, asked)


@_command(
    "iosim compare select_loop poll_loop epoll_loop --clients 900 --active 0.01\n"
    "iosim compare threads epoll_loop --world real --clients 50 --rate 2000\n"
    "iosim compare all --world both --costs host.toml --clients 20 --rate 1000",
    shared="all",
)
def _compare(models: ModelsArgument, asked: Asked, world: WorldOption = "sim") -> None:
    """Several models under the same load, side by side. A parameter goes to the models that know it."""
    if world not in WORLDS:
        raise ValueError(f"--world: came {world!r}, expected 'sim', 'real' or 'both'")
    refused = [flag for flag in asked.simulated_only if not (world == "both" and flag == "--costs")]
    if world != "sim" and refused:
        raise ValueError(f"{refused[0]}: a real run takes this from its host; leave it out")
    every = models == ["all"]
    chosen = names() if every else models
    found = [find(name) for name in chosen]
    unknown = [name for name in asked.params if not any(name in model.params for model in found)]
    if unknown:
        raise ValueError(f"--set: none of {', '.join(models)} has a parameter {unknown[0]!r}")
    if world != "sim" and not every:  # of all, those that this host forbids are told of beside the others
        from iosim.real.abilities import require

        for model in found:
            require(model)
    known = [{key: value for key, value in asked.params.items() if key in model.params} for model in found]
    bound = [bind_params(model, params) for model, params in zip(found, known, strict=True)]
    results: list[Run] = []
    failures: list[str] = []
    try:
        with bar() as progress:
            for (name, params), one in product(zip(chosen, bound, strict=True), WORLDS[world]):
                try:
                    results.append((_simulated if one == "sim" else _measured)(name, asked, params, progress))
                except (OSError, RuntimeError, LookupError) as error:
                    if not every:
                        raise
                    failures.append(f"{name}: {error}")
    finally:  # Ctrl-C, or a model that fails, loses no finished run
        if results:
            _show(results, asked, failures)


def _simulated(model: str, asked: Asked, params: dict[str, Any], progress: Bar) -> "Run":
    from iosim.run import run

    return run(
        model,
        asked.load,
        seed=asked.seed,
        costs=asked.costs,
        runtime=asked.runtime,
        machine=asked.machine,
        params=params,
        progress=lambda fraction: progress(f"simulating {model}", fraction),
    )


def _measured(model: str, asked: Asked, params: dict[str, Any], progress: Bar) -> "Run":
    from iosim.real.measure import measure

    progress.busy(f"measuring {model}")
    return measure(model, asked.load, seed=asked.seed, cpus=asked.machine.cpus, runtime=asked.runtime, params=params)


def _one(world: Callable[..., "Run"], model: str, asked: Asked) -> None:
    params = bind_params(find(model), asked.params)
    with bar() as progress:
        result = world(model, asked, params, progress)
    if asked.as_json:
        print(result.to_json())
    else:
        _print(show.screen(result))


def _show(results: "list[Run]", asked: Asked, failures: list[str]) -> None:
    if asked.as_json:
        print(json.dumps([result.to_dict() for result in results]))
        for failure in failures:
            print("iosim:", failure, file=sys.stderr)
        return
    both = len({result.world for result in results}) > 1
    _print(show_worlds.side_by_side(results) if both else show.comparison(results))
    for remark in [*failures, *show.remarks(results)]:
        _print(Text(remark, style="yellow"))


def _print(renderable: Any) -> None:
    Console(highlight=False).print(renderable)


@_command("iosim calibrate --output host.toml\niosim run epoll_loop --costs host.toml")
def _calibrate(
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="write the price list there, as TOML")
    ] = None,
    quick: QuickOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure what this host's system calls cost: a price list for the option --costs."""
    target = output_file(output) if output else None
    from iosim.calibrate import calibrate

    with bar() as progress:
        costs = calibrate(quick=quick, progress=progress)
    if target:
        whole = target.with_name(f".{target.name}.part")  # a list is there whole, or not at all
        whole.write_text(costs.to_toml())
        whole.replace(target)
        print(f"iosim: wrote {target}", file=sys.stderr)
    if as_json:
        print(costs.model_dump_json())
    elif not target:
        _print(show.price_list(costs))


def main(arguments: list[str] | None = None) -> int:
    """The command line's exit status; ``arguments`` are those of the process when None."""
    try:
        status = app(arguments, prog_name="iosim", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        status = STOPPED
    except UsageError as error:
        return _told(_usage(error, arguments or sys.argv[1:]), 2)
    except (KeyError, IndexError, UnicodeError, NotImplementedError):
        raise  # our own bug, whatever it derives from: a traceback is what its report needs
    except (ValueError, LookupError, FileExistsError) as error:
        return _told(str(error), 2)
    except BrokenPipeError:  # `iosim list | head`: the reader has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (RuntimeError, OSError) as error:
        return _told(str(error), 1)
    if status == STOPPED:
        return _told("stopped", STOPPED)
    return status if isinstance(status, int) else 0


def _told(message: str, status: int) -> int:
    print("iosim:", " ".join(message.split()), file=sys.stderr)
    return status


def _usage(error: Any, arguments: list[str]) -> str:
    """What typer says of the command line, in one line, and where help is."""
    message = error.format_message().strip().rstrip(".")
    context = error.ctx.command_path if error.ctx else "iosim"
    hint = f"that is a model: `iosim run {arguments[0]}`" if arguments[0] in names() else f"see `{context} --help`"
    return f"{message[:1].lower()}{message[1:]}; {hint}"


if __name__ == "__main__":
    sys.exit(main())
