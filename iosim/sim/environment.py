"""SimPy's environment, for actors that want its processes, resources and stores beside the clock's callbacks."""

from typing import TYPE_CHECKING

from simpy import Environment, Event
from simpy.events import NORMAL, EventPriority

if TYPE_CHECKING:
    from iosim.sim.clock import Clock


class ClockEnvironment(Environment):
    """An environment that has no time of its own: it reads and moves the clock's."""

    def __init__(self, clock: "Clock") -> None:
        self._clock = clock
        super().__init__(clock.now)

    def schedule(self, event: Event, priority: EventPriority = NORMAL, delay: float = 0) -> None:
        """As SimPy's, and the clock hears of it."""
        super().schedule(event, priority, delay)
        self._clock.look()

    @property
    def _now(self) -> int:
        return self._clock.now

    @_now.setter
    def _now(self, now: int) -> None:
        self._clock.now = now
