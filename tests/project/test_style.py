"""The habits that a machine can hold: short files and functions, no path of a machine, models of one screen."""

import ast
import re
import sys
from pathlib import Path

import pytest

from iosim.programs import find, names
from iosim.syscalls import VOCABULARY

ROOT = Path(__file__).resolve().parents[2]
FILE_LINES = 400
FUNCTION_LINES = 70
MODEL_LINES = 45
"""Lines of code: without docstrings, imports and blank lines."""
KINDS = {"blocking", "non-blocking", "multiplexing", "signal-driven", "asynchronous"}
"""Stevens' five names."""
PYTHON = sorted(
    path for folder in ("iosim", "models", "experiments", "tests") for path in (ROOT / folder).rglob("*.py")
)
TEXT = [
    *PYTHON,
    *ROOT.glob("*.md"),
    *ROOT.glob("*.toml"),
    *(ROOT / ".ci").iterdir(),
    *(path for suffix in ("*.toml", "*.html", "*.md") for path in (ROOT / "iosim").rglob(suffix)),
    ROOT / "experiments" / "README.md",
]
SOMEBODYS_PATH = re.compile(r"(?<![\w.}])/(?:work|farm|root|tmp|home/\w+|Users/\w+)/")


def test_files_are_short() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in PYTHON}
    long = [f"{path.relative_to(ROOT)}: {n} lines" for path, n in lengths.items() if n >= FILE_LINES]
    assert not long


def test_functions_are_short() -> None:
    long = []
    for path in PYTHON:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines >= FUNCTION_LINES:
                    long.append(f"{path.relative_to(ROOT)}:{node.lineno}: {node.name} has {lines} lines")
    assert not long


def test_no_path_of_a_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in TEXT
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if SOMEBODYS_PATH.search(line)
    ]
    assert not found


def code_lines(tree: ast.Module) -> int:
    """How many lines hold a statement, or a part of one, that is neither a docstring nor an import."""
    statements = [node for node in ast.walk(tree) if isinstance(node, ast.stmt)]
    code = [
        node
        for node in statements
        if not isinstance(node, ast.Import | ast.ImportFrom)
        and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    ]
    first_lines = {node.lineno for node in code}
    ends = {node.end_lineno or node.lineno for node in code}
    return len(first_lines | ends)


@pytest.mark.parametrize("name", names())
def test_a_model_is_one_screen_that_says_what_it_is(name: str) -> None:
    model = find(name)
    tree = ast.parse(model.path.read_text())
    functions = [node for node in tree.body if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef)]
    assert code_lines(tree) <= MODEL_LINES
    assert functions[0].name == "server"
    assert not any(isinstance(node, ast.ClassDef) for node in ast.walk(tree))
    assert name not in sys.stdlib_module_names  # run from its own folder it would shadow that module
    assert model.thesis.endswith(".")
    assert model.kind in KINDS
    assert all(re.fullmatch(r"[a-z_0-9]+\([1-9]\)( [A-Z_]+)*", page) for page in model.manual_pages)
    assert model.manual_pages
    assert set(model.timing_dependent) <= set(VOCABULARY)
