"""One request on its way through the server: what the ledger has noted of it so far."""

from typing import TYPE_CHECKING

from iosim.protocol import HEADER

if TYPE_CHECKING:
    from iosim.sim.thread import Thread


class Request:
    """Times in ns of the clock; ``unread`` and ``unwritten`` are the bytes still to come and to go.

    ``softirq`` is what its bytes spent in protocol input on an interrupt CPU, ``arrived`` when its last byte was in the
    socket, ``begun`` when the read of that byte began, ``write_from`` when the first write of its reply did (-1: not
    yet). ``compute_ns`` and ``wait_ns`` are the counters of ``reader``, the thread that read it, at ``begun``, and from
    ``write_from`` on what was added since. Where threads handed it on, the counters of one say nothing of the others:
    then ``compute_ns`` is the work that it asked for, and ``handover`` the rest.
    """

    __slots__ = (
        "arrived", "begun", "compute_ns", "data", "handover", "planned", "queue", "reader", "readiness", "softirq",
        "unread", "unwritten", "wait_ns", "wakeup", "write_from",
    )  # fmt: skip

    arrived: int
    begun: int
    reader: "Thread"
    queue: int
    compute_ns: int
    wait_ns: int

    def __init__(self, planned: int, data: bytes, response_bytes: int) -> None:
        self.planned = planned
        self.data = data
        self.unread = len(data)
        self.unwritten = response_bytes
        self.softirq = self.wakeup = self.readiness = self.handover = 0
        self.write_from = -1

    def work_ns(self) -> int:
        """The CPU time that it asks of the application."""
        work_ns: int = HEADER.unpack_from(self.data)[2]
        return work_ns

    def share_out(self, now: int) -> None:
        """Its reply begins, after several threads had it: its own work, if there was time for that, and the rest."""
        elapsed = now - self.begun
        self.compute_ns = min(self.work_ns(), elapsed)
        self.wait_ns = 0
        self.handover = elapsed - self.compute_ns
