"""What the clock's queue holds: callbacks."""

from collections.abc import Callable
from typing import Any


class Alarm:
    """What SimPy's queue holds here instead of an Event: one callback at one time. Nobody else waits for it and it
    cannot fail, so it is made and handled in a third of the time (tests/bench)."""

    __slots__ = ("callback", "value")

    def __init__(self, callback: "Callback", value: Any) -> None:
        self.callback = callback
        self.value = value


Callback = Callable[[Alarm], None]
