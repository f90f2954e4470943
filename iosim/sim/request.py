"""One request on its way through the server: what the ledger has noted of it so far."""


class Request:
    """Times in ns of the clock; ``unread`` and ``unwritten`` are the bytes still to come and to go.

    ``softirq`` is what its bytes spent in protocol input on an interrupt CPU, ``arrived`` when its last byte was in the
    socket, ``begun`` when the read of that byte began, ``write_from`` when the first write of its reply did (-1: not
    yet). ``compute_ns`` and ``wait_ns`` are the thread's counters at ``begun``, and from ``write_from`` on what was
    added since. ``handed`` is when a thread left it to another that has not come for it yet (-1: not so).
    """

    __slots__ = (
        "arrived", "begun", "compute_ns", "handed", "planned", "queue", "readiness", "softirq", "unread", "unwritten",
        "wait_ns", "wakeup", "write_from",
    )  # fmt: skip

    arrived: int
    begun: int
    queue: int
    compute_ns: int
    wait_ns: int

    def __init__(self, planned: int, request_bytes: int, response_bytes: int) -> None:
        self.planned = planned
        self.unread = request_bytes
        self.unwritten = response_bytes
        self.softirq = self.wakeup = self.readiness = 0
        self.write_from = self.handed = -1
