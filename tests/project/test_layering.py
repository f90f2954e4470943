"""Who may import whom: the dependency direction of DESIGN.md, read off the imports."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "iosim"

BASE = {
    "iosim.checked", "iosim.costs", "iosim.figures", "iosim.load",
    "iosim.machine", "iosim.programs", "iosim.protocol", "iosim.queues", "iosim.results",
    "iosim.show", "iosim.stats", "iosim.syscalls", "iosim.trace", "iosim.units",
}  # fmt: skip
"""Modules that both worlds may use; they use each other and nothing above."""
CLOCKLESS = (
    "files",
    "interpreter",
    "sockets",
    "datagrams",
    "ports",
    "epoll",
    "polling",
    "eventfd",
    "signals",
    "aio",
    "aio_library",
    "ring",
)
"""State of the simulated kernel that needs no clock: tested without a simulation."""


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import in the file, wherever it stands."""
    modules = {name_of(file) for file in PACKAGE.rglob("*.py")}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{path}:{node.lineno}: a relative import"
            for alias in node.names:  # `from iosim import show` imports a module, `from iosim.load import Load` a name
                full = f"{node.module}.{alias.name}"
                yield node.lineno, full if full in modules else node.module


def layer(module: str) -> int:
    """0 what both worlds share, 1 a world, 2 what runs worlds, 3 the command line."""
    if module in BASE or module.startswith(("iosim.syscalls.", "iosim.costs_")):
        return 0
    if module.startswith(("iosim.sim", "iosim.real")):
        return 1
    return 3 if module.startswith(("iosim.cli", "iosim.__main__")) else 2


def complaints(path: Path) -> Iterator[str]:
    module = name_of(path)
    for line, imported in imports(path):
        where = f"{path.relative_to(ROOT)}:{line}: {module} imports {imported}"
        if imported.startswith("iosim.") and layer(imported) > layer(module):
            yield where
        for one, other in (("iosim.sim", "iosim.real"), ("iosim.real", "iosim.sim"), ("iosim.real", "simpy")):
            if module.startswith(one) and imported.startswith(other):
                yield where
        top = imported.partition(".")[0]
        if top == "simpy" and not module.startswith("iosim.sim."):
            yield where
        if top == "simpy" and module.rpartition(".")[2] in CLOCKLESS:
            yield where
        if top == "matplotlib" and not module.startswith("iosim.plot"):
            yield where


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=name_of)
def test_imports_point_one_way(path: Path) -> None:
    if path == PACKAGE / "__init__.py":
        pytest.skip("the public names; each is loaded when it is used")
    assert not list(complaints(path))


@pytest.mark.parametrize("path", sorted((ROOT / "models").glob("*.py")), ids=lambda path: path.stem)
def test_a_model_knows_the_vocabulary_and_what_is_made_of_it_only(path: Path) -> None:
    ours = {imported for _, imported in imports(path) if imported.startswith("iosim")}
    assert ours <= {"iosim.syscalls", "iosim.protocol", "iosim.queues"}
