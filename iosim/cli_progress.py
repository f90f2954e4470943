"""Progress on stderr, for a person only, and only when a thing takes longer than a second."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

PATIENCE_S = 1.0


class Bar:
    """``bar(label, fraction)`` shows how far a thing has come, 0 to 1."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._begun_s = time.monotonic()
        self._task: TaskID | None = None

    def __call__(self, label: str, fraction: float) -> None:
        if self._task is not None or time.monotonic() - self._begun_s >= PATIENCE_S:
            self._update(label, total=1.0, completed=fraction)

    def busy(self, label: str) -> None:
        """Shows at once that something goes on which cannot say how far it has come."""
        self._update(label, total=None)

    def _update(self, label: str, **state: float | None) -> None:
        if self._task is None:
            self._progress.start()
            self._task = self._progress.add_task(label)
        self._progress.update(self._task, description=label, **state)  # type: ignore[arg-type]


@contextmanager
def bar() -> Iterator[Bar]:
    """A bar that clears itself away; silent where stderr is no terminal."""
    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    try:
        yield Bar(progress)
    finally:
        progress.stop()
