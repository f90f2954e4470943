"""The server's process: ``main`` drives one model on this host's kernel until it is killed.

It imports no more than it needs, because a forked worker starts with a copy of it. What it reads and writes is said in
``iosim.real.processes``: the spec has ``model`` (path), ``params``, ``runtime`` (of a peer that takes the model's
place, or null), ``reuse_port`` (others may join the listener's port), ``cpus`` (numbers) and ``census`` (descriptor);
the answer is one line with ``port``, later perhaps one with ``error``.
"""

import faulthandler
import os
import resource
import signal
import socket
import sys
import traceback
from importlib.util import module_from_spec, spec_from_file_location
from typing import NoReturn

from iosim.real.burn import burn
from iosim.real.census import Census
from iosim.real.driver import drive
from iosim.real.kernel import HOST, ProgramExit, RealKernel
from iosim.real.processes import die_with, read_spec, tell
from iosim.syscalls import Program

BACKLOG = 4096


def main() -> None:
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    spec = read_spec()
    die_with(spec["parent"])
    model = spec["model"]
    os.sched_setaffinity(0, spec["cpus"])
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    burn(1)  # measures its pace now, and not in the first request
    try:
        server = load(model)
        kernel = RealKernel(Census(spec["census"]).new_row)
        kernel.failures = _Failures(model)
        listener, port = _listener(spec["reuse_port"])
        tell(port=port)
        if runtime := spec["runtime"]:
            from iosim.real.peers import serve  # heavy, and of no use to a model

            serve(runtime, os.path.basename(model).removesuffix(".py"), listener, kernel.new_counter())
        drive(kernel, server(listener, **spec["params"]))
    except BaseException as error:
        _fail(model, error)
    _end(f"{os.path.basename(model)}: the program returned; a server runs until it is stopped")


class _Failures(list[BaseException]):
    """Where the kernel puts what a clone'd thread raised: the run is over then, not when somebody looks."""

    def __init__(self, model: str) -> None:
        self._model = model

    def append(self, error: BaseException) -> None:
        _fail(self._model, error)


def _listener(reuse_port: bool) -> tuple[int, int]:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, reuse_port)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted sockets inherit it
    made.bind((HOST, 0))
    made.listen(BACKLOG)
    _, port = made.getsockname()
    return made.detach(), port


def load(path: str) -> Program:
    """The ``server`` of that file, which ``iosim.programs`` has found good in the parent; that module is too heavy."""
    spec = spec_from_file_location("model", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["model"] = module_from_spec(spec)
    spec.loader.exec_module(module)
    server: Program = module.server
    return server


def _fail(model: str, error: BaseException) -> NoReturn:
    name = os.path.basename(model)
    if isinstance(error, ProgramExit):
        _end(f"{name}: the program called exit({error.code}); a server runs until it is stopped")
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == model]
    _end(f"{name}:{(lines or [1])[-1]}: {type(error).__name__}: {' '.join(str(error).split())}")


def _end(error: str) -> NoReturn:
    """Tell the parent, and end all threads, whatever they do (``sys.exit`` would wait for them)."""
    tell(error=error)
    os._exit(1)
