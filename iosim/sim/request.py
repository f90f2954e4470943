"""One request on its way through the server: what the ledger has noted of it so far."""


class Request:
    """Times in ns of the clock; ``unread`` and ``unwritten`` are the bytes still to come and to go."""

    __slots__ = (
        "arrived", "begun", "compute_before", "departed", "planned", "queue", "readiness", "sent", "softirq", "unread",
        "unwritten", "wait_before", "wakeup", "write_from",
    )  # fmt: skip

    def __init__(self, planned: int, request_bytes: int, response_bytes: int) -> None:
        self.planned = planned
        self.unread = request_bytes
        self.unwritten = response_bytes
        self.arrived = 0
        """Its last byte is in the server's socket."""
        self.softirq = 0
        """Time its bytes spent in protocol input on an interrupt CPU."""
        self.wakeup = 0
        self.queue = 0
        self.readiness = 0
        self.begun = -1
        """Its last byte is being read."""
        self.compute_before = 0
        self.wait_before = 0
        self.write_from = -1
        self.departed = 0
