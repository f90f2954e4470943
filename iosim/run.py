"""Run a model in the simulated world."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from iosim.costs import Costs, load_costs
from iosim.load import Load
from iosim.machine import Machine
from iosim.programs import bind_params, fault_of, find
from iosim.results import Run
from iosim.sim.core import Tracer
from iosim.sim.world import simulate


def run(
    model: str,
    load: Load | None = None,
    *,
    seed: int = 1,
    costs: Costs | str | Path | None = None,
    runtime: str | None = None,
    machine: Machine | None = None,
    params: Mapping[str, Any] | None = None,
    coalesce: bool = True,
    tracer: Tracer | None = None,
    progress: Callable[[float], None] | None = None,
) -> Run:
    """Simulate one model (by name or path) under one load.

    ``runtime``: what the program is written in (default: what the costs were measured with), one of those that the
    costs know. Equal arguments give an equal ``digest``. ``progress`` is told the finished fraction now and then;
    ``tracer`` is called as (time in ns, thread, call) when a call returns; ``coalesce=False`` gives every burst of CPU
    time an event of its own, which is slower and changes nothing.

    Raises LookupError (no such model or costs file), ValueError (a bad value), RuntimeError (the program failed),
    each in one line.
    """
    found = find(model)
    table, bound = load_costs(costs), bind_params(found, params or {})
    if runtime is not None:
        table = table.under(runtime)
    try:
        return simulate(
            found.name,
            found.server,
            load or Load(),
            seed=seed,
            costs=table,
            machine=machine or Machine(),
            params=bound,
            reuse_port=found.reuse_port,
            coalesce=coalesce,
            tracer=tracer,
            progress=progress,
        )
    except Exception as error:
        if fault := fault_of(found, error):
            raise RuntimeError(fault) from error
        raise


def compare(models: Sequence[str], load: Load | None = None, **options: Any) -> list[Run]:
    """The same load on several models, in the order given. Options as for ``run``."""
    return [run(model, load, **options) for model in models]
