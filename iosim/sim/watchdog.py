"""What can go wrong around a simulation: a program that never awaits, a clock that stands still, a busy collector."""

import gc
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from iosim.sim.kernel import SimKernel

PATIENCE_S = 5.0


@contextmanager
def quiet_collector() -> Iterator[None]:
    """No garbage collection meanwhile: a million connections are no cycles, and looking at them again and again took a
    third of the time (tests/bench)."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class Watchdog:
    """Ends a simulation in which nothing moves: raises RuntimeError with the line that the program is at.

    It uses a timer signal, so it watches only from the main thread; elsewhere it does nothing. A debugger or another
    user of SIGALRM is left alone.
    """

    def __init__(self, kernel: "SimKernel") -> None:
        self._kernel = kernel
        self._patience_s = PATIENCE_S
        self._seen = (-1, -1)
        self._armed = False

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGALRM) == signal.SIG_DFL:
            self._armed = True
            signal.signal(signal.SIGALRM, self._look)
            signal.setitimer(signal.ITIMER_REAL, self._patience_s, self._patience_s)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._armed:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)

    def _look(self, _signal: int, frame: FrameType | None) -> None:
        calls = sum(self._kernel.census.values())
        seen = (self._kernel.clock.now, calls)
        if seen[1] == self._seen[1]:
            where = _program_line(frame)
            if where is not None:
                raise RuntimeError(f"{where}: the program has run for {self._patience_s:g} s without awaiting a call")
        elif seen[0] == self._seen[0]:
            raise RuntimeError(
                f"the simulated clock stands still after {calls} calls: the program asks without end, and all is free"
            )
        self._seen = seen


def _program_line(frame: FrameType | None) -> str | None:
    """file:line of the innermost frame that is not iosim's own machinery, if a program is running."""
    inner: str | None = None
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if frame.f_code.co_flags & 0x80:  # CO_COROUTINE
            return inner or f"{frame.f_code.co_filename}:{frame.f_lineno}"
        if inner is None and not name.startswith("iosim.sim"):
            inner = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return None
