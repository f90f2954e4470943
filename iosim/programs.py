"""Programs: finds a model by its name or by a path, loads it, and reads what its docstring and signature say.

``models/`` is a folder of programs, like a machine's ``/bin``: a model is one file, found by name, never imported by a
dotted path. In a checkout (and an editable install) the folder stands beside the package; a wheel carries it inside.
"""

import inspect
import os
import re
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.util import module_from_spec, spec_from_file_location
from inspect import Parameter
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ConfigDict, PydanticSchemaGenerationError, TypeAdapter, ValidationError

from iosim import syscalls
from iosim.syscalls import VOCABULARY, Program

_STAMP = "__iosim_stamp__"
"""Attribute of a loaded module: which text of its file it is, so that an edited model is loaded anew."""
_EXPECTED = "a model is `async def server(listener: int) -> None`"


@dataclass(frozen=True, kw_only=True)
class Model:
    """One I/O model: the program, and what its file says of it."""

    name: str
    path: Path
    thesis: str
    """The docstring's first paragraph on one line; "" without a docstring."""
    kind: str
    """Stevens' name for it ("blocking", "multiplexing", …); "" where the file does not say."""
    manual_pages: tuple[str, ...]
    timing_dependent: tuple[str, ...]
    """Calls whose count may differ between two runs of one load: the syscall census leaves them out."""
    calls: tuple[str, ...] = field(compare=False)
    """The calls of the vocabulary that the file names, in census order."""
    reuse_port: bool = field(compare=False)
    """It names SO_REUSEPORT: others may join the port of the listener that it is given."""
    params: Mapping[str, tuple[Any, Any]] = field(compare=False)
    """Parameter → (type, default): the keyword-only arguments of ``server``."""
    server: Program = field(compare=False, repr=False)


def models_folder() -> Path:
    """Where the models of this iosim are."""
    package = Path(__file__).resolve().parent
    checkout = package.parent
    return (checkout if (checkout / "pyproject.toml").is_file() else package) / "models"


def names() -> list[str]:
    """The names of all models, in alphabetical order."""
    return sorted(path.stem for path in models_folder().glob("*.py"))


def models() -> list[Model]:
    """All models, in alphabetical order. Raises ValueError as ``find`` does."""
    return [find(name) for name in names()]


def find(name_or_path: str | os.PathLike[str]) -> Model:
    """The model of that name, or in that file (anything with a slash or ending in ``.py`` is a path).

    Raises LookupError (nothing there; lists near names) and ValueError (the file is no model), each in one line.
    """
    given = os.fspath(name_or_path)
    by_path = os.sep in given or given.endswith(".py")
    path = Path(given).expanduser() if by_path else models_folder() / f"{given}.py"
    if not path.is_file():
        raise LookupError(_no_file(given) if by_path else _no_name(given))
    if path.suffix != ".py":
        raise ValueError(f"{given}: a model file ends in .py")
    path = path.resolve()
    module = _load(path)
    server = _server(module, path)
    document = inspect.getdoc(module) or ""
    return Model(
        name=path.stem,
        path=path,
        thesis=" ".join(document.partition("\n\n")[0].split()),
        kind=_field(document, "Kind"),
        manual_pages=_listed(_field(document, "Manual pages")),
        timing_dependent=_listed(re.sub(r"\([^)]*\)", "", _field(document, "Timing-dependent calls"))),
        calls=tuple(name for name in VOCABULARY if id(getattr(syscalls, name)) in map(id, vars(module).values())),
        reuse_port="SO_REUSEPORT" in vars(module),
        params=_params(server, path),
        server=server,
    )


def bind_params(model: Model, given: Mapping[str, Any]) -> dict[str, Any]:
    """Every parameter of the model: those given (text is converted to the parameter's type), else the defaults.

    Raises ValueError in one line that names the parameter, what came and what was expected.
    """
    unknown = [name for name in given if name not in model.params]
    if unknown:
        known = ", ".join(model.params) or "none"
        raise ValueError(f"{model.name} has no parameter {unknown[0]!r}; it knows: {known}")
    bound = {}
    for name, (kind, default) in model.params.items():
        bound[name] = _converted(f"{model.name}.{name}", kind, default, given[name]) if name in given else default
    return bound


def workers_for(model: Model, connections: int) -> dict[str, int]:
    """The parameters under which so many connections are served at once: a worker that blocks is held by one of them,
    so that each needs its own, and so is a helper thread of POSIX AIO; any other serves many."""
    if "aio_threads" in model.params:
        return {"aio_threads": connections}
    return {"workers": connections} if model.kind == "blocking" and "workers" in model.params else {}


def _converted(label: str, kind: Any, default: Any, value: Any) -> Any:
    try:
        converted = TypeAdapter(kind, config=ConfigDict(allow_inf_nan=False)).validate_python(value)
    except ValidationError as error:
        expected = error.errors()[0]["msg"].removeprefix("Input should be ").partition(", ")[0]
        raise ValueError(f"{label}: came {value!r}, expected {expected} (as its default, {default!r})") from None
    # a count or a size below zero is a slip; a parameter that means something there has such a default
    if isinstance(converted, int | float) and converted < 0 <= default:
        raise ValueError(f"{label}: came {value!r}, expected 0 or more (its default is {default!r})")
    return converted


def _no_file(given: str) -> str:
    stem = Path(given).stem
    return f"no model file {given}" + (f"; the model of that name is called {stem}" if stem in names() else "")


def _no_name(given: str) -> str:
    if Path(f"{given}.py").is_file():
        return f"no model is named {given!r}, but there is a file of that name here: say ./{given}.py"
    near = get_close_matches(given, names(), n=3, cutoff=0.5)
    known = f"near: {', '.join(near)} (`iosim list` shows all" if near else f"known: {', '.join(names())} (`iosim list`"
    return f"no model is named {given!r}; {known}, ./FILE.py runs your own)"


def _load(path: Path) -> ModuleType:
    """The module in that file; loaded once, and again when the file has changed."""
    key = f"iosim-model:{path}"
    status = path.stat()
    stamp = (status.st_mtime_ns, status.st_size)
    loaded = sys.modules.get(key)
    if loaded is not None and getattr(loaded, _STAMP) == stamp:
        return loaded
    spec = spec_from_file_location(key, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    setattr(module, _STAMP, stamp)
    sys.modules[key] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[key]
        line = error.lineno if isinstance(error, SyntaxError) else _line(error, path)
        message = " ".join(str(error.msg if isinstance(error, SyntaxError) else error).split())
        raise ValueError(f"{path}:{line or 1}: {type(error).__name__}: {message}") from None
    return module


def fault_of(model: Model, error: BaseException) -> str | None:
    """``mine.py:7: ZeroDivisionError: …`` for an error that arose in the model's program, or that a kernel threw into
    it; None for one that the program had no part in, or that names its place itself."""
    line, message = _line(error, model.path), " ".join(str(error).split())
    if line is None or message.startswith(f"{model.path}:"):
        return None
    return f"{model.path.name}:{line}: {type(error).__name__}: {message}"


def _line(error: BaseException, path: Path) -> int | None:
    """The line of that file where the error arose."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return lines[-1] if lines else None


def _field(document: str, name: str) -> str:
    """``Name: value.`` of a docstring; a value ends at a full stop before white space, and may span lines."""
    match = re.search(rf"\b{name}:\s*(.*?)\.(?=\s|$)", document, re.DOTALL)
    return " ".join(match[1].split()) if match else ""


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part for part in (part.strip() for part in text.split(",")) if part not in ("", "none"))


def _server(module: ModuleType, path: Path) -> Program:
    server = getattr(module, "server", None)
    if inspect.iscoroutinefunction(server):
        return server
    came = "has no `server`" if server is None else "has a `server` that is no `async def`"
    raise ValueError(f"{path}: {came}; {_EXPECTED}")


def _params(server: Program, path: Path) -> dict[str, tuple[Any, Any]]:
    """The keyword-only arguments of ``server``: name → (type, default).

    Raises ValueError when it takes anything else.
    """
    try:
        signature = inspect.signature(server, eval_str=True)
    except NameError as error:
        raise ValueError(f"{path}: the types of `server` cannot be read: {error}") from None
    given = list(signature.parameters.values())
    if not given or given[0].kind not in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD):
        raise ValueError(f"{path}: `server` takes no listener; {_EXPECTED}")
    params = {}
    for param in given[1:]:
        if param.kind is not param.KEYWORD_ONLY or param.default is param.empty:
            raise ValueError(f"{path}: `server` has {param.name!r}, expected keyword-only with a default: `*, name=8`")
        kind = type(param.default) if param.annotation is param.empty else param.annotation
        try:
            TypeAdapter(kind)
        except PydanticSchemaGenerationError:
            raise ValueError(f"{path}: `server` has {param.name!r}: {kind!r} cannot be given as text") from None
        params[param.name] = (kind, param.default)
    return params
