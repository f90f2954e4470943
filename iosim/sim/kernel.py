"""The simulated kernel: one method per call of the vocabulary, each in the file of its subject."""

from typing import TYPE_CHECKING

from iosim.costs import Costs
from iosim.machine import Machine
from iosim.sim.clock import Clock
from iosim.sim.ledger import Departure, Ledger
from iosim.sim.sync_calls import SyncCalls
from iosim.sim.thread import Thread

if TYPE_CHECKING:
    from iosim.sim.clients import Clients


class SimKernel(SyncCalls):
    """The kernel that a simulated program traps into."""

    def __init__(self, clock: Clock, costs: Costs, machine: Machine) -> None:
        super().__init__(clock, costs, machine)
        self.ledger = Ledger()
        self.clients: Clients | None = None

    def depart(self, thread: Thread) -> None:
        """A write's work is done: its bytes leave for the client."""
        departure: Departure = thread.departing
        thread.departing = None
        assert self.clients is not None
        self.clients.reply(departure)
