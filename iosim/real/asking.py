"""Asking: which request is planned when, as the load says. Times are those of ``time.perf_counter_ns``."""

from heapq import heapify, heappop, heappush
from typing import Protocol

from iosim.load import Load

NEVER = 1 << 62


class Asking(Protocol):
    """The clients' plan."""

    next_ns: int
    """When the next request is planned; NEVER when there is none."""

    def take(self) -> tuple[int, int, bytes]:
        """That request: (planned time, client, bytes); ``next_ns`` moves on."""

    def answered(self, client: int, now_ns: int) -> None:
        """A reply to ``client`` has been read."""


def plan(load: Load, seed: int, start_ns: int) -> Asking:
    """The plan of that load from ``start_ns`` on; it ends after ``load.requests``, where that is given."""
    most = NEVER if load.requests is None else load.requests
    return OpenLoop(load, seed, start_ns, most) if load.open_loop else ClosedLoop(load, seed, start_ns, most)


class OpenLoop:
    """Requests come when they come, answered or not."""

    def __init__(self, load: Load, seed: int, start_ns: int, most: int) -> None:
        self._batches = load.arrivals_of(seed)
        self._start_ns, self._left = start_ns, most
        self._load_batch()

    def _load_batch(self) -> None:
        times, clients, requests = next(self._batches)
        self._batch = zip(times, clients, requests, strict=True)
        self._advance()

    def _advance(self) -> None:
        if not self._left:
            self.next_ns = NEVER
        elif (entry := next(self._batch, None)) is None:
            self._load_batch()
        else:
            time_ns, self._client, self._request = entry
            self.next_ns = time_ns + self._start_ns
            self._left -= 1

    def take(self) -> tuple[int, int, bytes]:
        taken = self.next_ns, self._client, self._request
        self._advance()
        return taken

    def answered(self, client: int, now_ns: int) -> None:
        pass


class ClosedLoop:
    """Each client asks, waits for the reply, thinks, and asks again."""

    def __init__(self, load: Load, seed: int, start_ns: int, most: int) -> None:
        self._load, self._seed, self._left = load, seed, most
        self._numbers = dict.fromkeys(load.askers(seed), 0)
        self._think_is_zero = load.think_ns == 0
        # the same bytes every time need not be made every time: it is a tenth of what a request costs the clients
        self._only_request = load.request_of(seed, 0, 0) if load.work == "constant" or not load.work_ns else None
        self._heap = [(start_ns + self._think_ns(client, 0), client) for client in self._numbers]
        heapify(self._heap)
        self.next_ns = self._heap[0][0]

    def _think_ns(self, client: int, number: int) -> int:
        return 0 if self._think_is_zero else self._load.think_time_ns(self._seed, client, number)

    def take(self) -> tuple[int, int, bytes]:
        planned_ns, client = heappop(self._heap)
        number = self._numbers[client]
        self._numbers[client] = number + 1
        self._left -= 1
        self.next_ns = self._heap[0][0] if self._heap and self._left else NEVER
        return planned_ns, client, self._only_request or self._load.request_of(self._seed, client, number)

    def answered(self, client: int, now_ns: int) -> None:
        heappush(self._heap, (now_ns + self._think_ns(client, self._numbers[client]), client))
        if self._left:
            self.next_ns = self._heap[0][0]
