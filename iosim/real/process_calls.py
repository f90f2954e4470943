"""Threads, processes, time, on this host."""

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Coroutine, Iterable, MutableSequence
from errno import EINVAL
from typing import Any, NoReturn

from iosim.real.burn import burn
from iosim.real.driver import drive
from iosim.real.processes import die_with
from iosim.real.readiness_calls import ReadinessCalls
from iosim.syscalls import VOCABULARY, Program

FAILED = 70  # EX_SOFTWARE of sysexits.h: how a child tells its parent that its program raised


class ProgramExit(SystemExit):
    """exit_group(2) of the process that the harness runs in: leaves ``drive``, with the status in ``code``."""


class ProcessCalls(ReadinessCalls):
    """clone(2), fork(2), wait(2), exit_group(2), nanosleep(2), and the program's own work."""

    def __init__(self, new_counter: Callable[[], MutableSequence[int]] | None = None) -> None:
        super().__init__()
        self.new_counter = new_counter or (lambda: [0] * len(VOCABULARY))
        self.failures: list[BaseException] = []
        self._is_child = False

    def clone(self, program: Program, *args: Any) -> int:
        thread = threading.Thread(
            target=self._run_thread, args=(program(*args), self.new_counter()), name=program.__name__, daemon=True
        )
        thread.start()
        assert thread.native_id is not None
        return thread.native_id

    def _run_thread(self, program: Coroutine[Any, Any, None], census: MutableSequence[int]) -> None:
        try:
            drive(self, program, census)
        except BaseException as error:  # a thread has nobody to raise to
            if self._is_child:
                _end_child(error)
            self.failures.append(error)

    def fork(self, program: Program, *args: Any) -> int:
        census = self.new_counter()
        parent = os.getpid()
        child = os.fork()
        if child:
            return child
        try:
            self._is_child = True
            die_with(parent)
            drive(self, program(*args), census)
        except BaseException as error:
            _end_child(error)
        os._exit(0)  # not sys.exit: what stands below this frame is the parent's

    def wait(self) -> int:
        child, status = os.wait()
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == FAILED:
            # a program that starts a new worker for each that ended would do so for ever
            raise ProgramExit(f"child process {child} ended by an exception; its traceback is on standard error")
        return child

    def exit(self, status: int = 0) -> NoReturn:
        if self._is_child:
            os._exit(status)
        raise ProgramExit(status)

    def getpid(self) -> int:
        return os.getpid()

    def nanosleep(self, duration_ns: int) -> None:
        if duration_ns < 0:
            raise OSError(EINVAL, os.strerror(EINVAL))
        time.sleep(duration_ns / 1e9)

    def compute(self, work_ns: int) -> None:
        burn(work_ns)

    def sched_setaffinity(self, cpus: Iterable[int]) -> None:
        os.sched_setaffinity(0, cpus)

    def sched_getaffinity(self) -> list[int]:
        return sorted(os.sched_getaffinity(0))


def _end_child(error: BaseException) -> NoReturn:
    """A child has only its standard error and its status to tell what its program raised."""
    if not isinstance(error, KeyboardInterrupt):
        traceback.print_exception(error, file=sys.stderr)
        sys.stderr.flush()
    os._exit(FAILED)
