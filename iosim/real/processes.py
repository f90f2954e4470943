"""Processes: the two that a measurement starts, and how they are bound to end with it.

Each leads a session and a process group of its own, gets one JSON object on standard input, answers in JSON lines on
standard output, and asks Linux to be killed when its parent ends (prctl(2) PR_SET_PDEATHSIG). Standard error goes to
memory without a name, so that nobody need empty a pipe and no file is left.
"""

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from iosim.real.meters import group_members

PR_SET_PDEATHSIG = 1
PATIENCE_S = 2.0
"""How long a killed process may take to be gone."""


def die_with(parent: int) -> None:
    """Have this process killed when ``parent`` ends; at once if it has ended already."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def read_spec() -> dict[str, Any]:
    """What the parent has to say; ends this process if there is no parent any more."""
    text = sys.stdin.readline()
    if not text:
        os._exit(1)
    spec: dict[str, Any] = json.loads(text)
    return spec


def tell(**message: Any) -> None:
    """One line to the parent; short ones are atomic even when several processes write."""
    os.write(1, json.dumps(message).encode() + b"\n")


# as multiprocessing does it: the child finds its modules where we found ours, whatever lies in the current folder
_START = "import sys; sys.path[:] = sys.argv[2:]; from importlib import import_module as m; m(sys.argv[1]).main()"


class Child:
    """A process of ours that runs ``main()`` of a module, and all that it starts."""

    def __init__(self, module: str, *, inherit: tuple[int, ...]) -> None:
        self._stderr = os.memfd_create(module)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START, module, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            pass_fds=inherit,
            start_new_session=True,
            bufsize=0,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._unread = b""
        self.pid = self._process.pid
        self.out = self._stdout.fileno()
        os.set_blocking(self.out, False)

    def say(self, spec: Mapping[str, Any]) -> None:
        """Hand over the spec. A child that has ended already will be noticed by whoever waits for its answer."""
        with suppress(BrokenPipeError):
            self._stdin.write(json.dumps({**spec, "parent": os.getpid()}).encode() + b"\n")

    def lines(self) -> list[dict[str, Any]] | None:
        """The messages that came since; None when no more can come (it ended, and all that it started)."""
        ended = False
        try:
            while True:
                data = os.read(self.out, 1 << 16)
                if not data:
                    ended = True
                    break
                self._unread += data
        except BlockingIOError:
            pass
        *whole, self._unread = self._unread.split(b"\n")
        return [json.loads(line) for line in whole] or (None if ended else [])

    def wait(self, seconds: float) -> None:
        """Until it says something, or that time is over."""
        select.select([self.out], [], [], seconds)

    @property
    def stderr(self) -> str:
        """What it wrote to standard error so far."""
        size = os.fstat(self._stderr).st_size
        return os.pread(self._stderr, min(size, 1 << 20), max(0, size - (1 << 20))).decode(errors="replace")

    def ended_how(self) -> str:
        """Of a process that has closed its standard output, and so is at its end: the signal that ended it, if one did.
        It is not reaped by this."""
        for _ in range(100):
            ended = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
            if ended is not None:
                return f"signal {ended.si_status} did it" if ended.si_code == os.CLD_KILLED else "it said nothing"
            time.sleep(0.001)
        return "it said nothing"

    def stacks(self, pids: list[int]) -> str:
        """The Python stacks of its processes (``faulthandler`` writes them on SIGUSR1)."""
        before = len(self.stderr)
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGUSR1)
        time.sleep(0.2)
        return self.stderr[before:]

    def end(self) -> None:
        """Kill the process and its group, and see them gone. May be called again."""
        if self._process.returncode is None:
            os.killpg(self.pid, signal.SIGKILL)  # not reaped yet, so the number is still its own
            self._process.wait(PATIENCE_S)
            give_up = time.monotonic() + PATIENCE_S
            while group_members(self.pid) and time.monotonic() < give_up:  # those that it forked
                time.sleep(0.001)
            self._stdin.close()
            self._stdout.close()
            os.close(self._stderr)
