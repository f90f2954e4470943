"""iosim: how servers do I/O. The same short program in a simulated kernel, on real sockets, and beside theory.

    import iosim
    print(iosim.run("epoll_loop", iosim.Load(clients=1000, rate_per_s=50_000), seed=1))

Every name below is loaded when it is first used: ``import iosim`` alone is quick, and a server under measurement
carries no plotting library.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from iosim.calibrate import calibrate
    from iosim.costs import Costs, load_costs
    from iosim.load import Load
    from iosim.machine import Machine
    from iosim.programs import Model, models
    from iosim.real.measure import measure
    from iosim.results import Run
    from iosim.run import compare, run
    from iosim.study import study

__all__ = [
    "Costs",
    "Load",
    "Machine",
    "Model",
    "Run",
    "calibrate",
    "compare",
    "load_costs",
    "measure",
    "models",
    "run",
    "study",
]

_HOME = {
    "Costs": "iosim.costs",
    "Load": "iosim.load",
    "Machine": "iosim.machine",
    "Model": "iosim.programs",
    "Run": "iosim.results",
    "calibrate": "iosim.calibrate",
    "compare": "iosim.run",
    "load_costs": "iosim.costs",
    "measure": "iosim.real.measure",
    "models": "iosim.programs",
    "run": "iosim.run",
    "study": "iosim.study",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'iosim' has no attribute {name!r}; it has: {', '.join(__all__)}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """This module. ``iosim.run`` is the function: when the import system binds the module ``iosim/run.py`` to the same
    name (as it does for every submodule), the function stays. ``from iosim.run import …`` works as ever."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
