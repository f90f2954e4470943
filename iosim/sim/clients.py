"""The clients of the load: they ask, and note when they were answered.

*Models*: open loop and closed loop; a connection per client, opened before the load begins; requests sent when they are
due even if earlier ones of that connection are unanswered; the receive window of the server.
*Does not model*: the clients' CPUs. A client is always ready to send and to read, each at a fixed delay
(``client_send_ns``, ``client_receive_ns`` of Costs).
"""

import heapq
from collections import deque
from collections.abc import Iterator
from typing import Protocol

from iosim.load import SECOND_NS, Load
from iosim.sim.alarm import Alarm
from iosim.sim.connecting import Connecting
from iosim.sim.kernel import SimKernel
from iosim.sim.ledger import Departure
from iosim.sim.network import Link
from iosim.sim.request import Request
from iosim.sim.signals import fasync_of
from iosim.sim.sockets import Listener, Stream
from iosim.sim.work import INPUT, NO_WORK, SIGNAL_SEND, WAKE

SETTLE_NS = 1_000_000
"""What a server may still do when its connections are closed."""
STALL_NS = SECOND_NS
"""A fixed number of requests ends when the server has answered none for so long (and 20 times the work of one)."""


class Watch(Protocol):
    """Whoever reads the books when the load says so."""

    def window_opens(self) -> None: ...

    def window_closes(self) -> None: ...

    def all_closed(self) -> None: ...


class Clients:
    """All clients of one load, in one actor: a connection is a row, never a process of its own."""

    def __init__(self, kernel: SimKernel, listener: Listener, load: Load, seed: int, watch: "Watch") -> None:
        self.kernel = kernel
        self.clock = kernel.clock
        self.scheduler = kernel.scheduler
        self.ledger = kernel.ledger
        self.listener = listener
        self.load = load
        self.seed = seed
        self.link = Link(kernel.machine)
        self.watch = watch
        self.streams: list[Stream | None] = [None] * load.clients
        self.began = 0
        self.asked = 0
        self.open_streams = 0
        self._open_loop = load.open_loop
        self._direct = self.link.is_direct
        self._nic = kernel.machine.network == "nic"
        self._irq_cpu = kernel.scheduler.cpus[kernel.machine.irq_cpu % kernel.machine.cpus]
        self._send_ns = kernel.rates.ns_of("client_send_ns")
        self._receive_ns = kernel.rates.ns_of("client_receive_ns")
        self._connecting = Connecting(kernel, listener, load.clients, self.link, self._connected, self._begin)
        self._outbox: dict[int, deque[tuple[bytes, Request]]] = {}
        self._fixed_number = load.requests is not None
        self._limit = load.requests if load.requests is not None else 1 << 62
        self._lost = 0
        """Requests that nobody will answer: dropped or failed."""
        self._patience_ns = STALL_NS + 20 * load.work_ns + 4 * self.link.latency_ns
        self.stalled = False
        """The server answered no more, and the clients gave up."""
        self._stopped = False
        # open loop: the batch under way; closed loop: who asks when
        self._batches: Iterator[tuple[list[int], list[int], list[bytes]]]
        self._batch: Iterator[tuple[int, int, bytes]]
        self._due: list[tuple[int, int, int]] = []
        self._numbers: dict[int, int] = {}
        self._armed_for = -1
        self._planned = 0
        kernel.clients = self

    def start(self) -> None:
        """Open the connections, then ask."""
        self._connecting.start()

    def _connected(self, client: int, stream: Stream) -> None:
        stream.client = client
        stream.peer = self
        self.streams[client] = stream
        self.open_streams += 1

    # --- asking

    def _begin(self, _alarm: Alarm) -> None:
        """All connections stand: the load's time begins."""
        load = self.load
        now = self.began = self.clock.now
        self.ledger.window_from = now if self._fixed_number else now + load.warmup_ns
        self.clock.call_at(self.ledger.window_from, lambda _alarm: self.watch.window_opens())
        if self._fixed_number:
            self._look_later()
        else:
            self.ledger.window_to = now + load.end_ns
            self.clock.call_at(now + load.end_ns, lambda _alarm: self._stop())
        if load.open_loop:
            self._batches = load.arrivals_of(self.seed)
            self._batch = zip(*next(self._batches), strict=True)
            self._arm_next_arrival()
        else:
            for client in load.askers(self.seed):
                self._think(client, now)

    def _arm_next_arrival(self) -> None:
        """Open loop: the event that delivers the next request."""
        following = next(self._batch, None)
        if following is None:
            self._batch = zip(*next(self._batches), strict=True)
            following = next(self._batch)
        planned = self._planned = self.began + following[0]
        if self._direct:
            arrival = planned + self._send_ns
        else:
            arrival = self.link.to_server(planned + self._send_ns, len(following[2]))
        self.clock.call_at(arrival, self._arrival, (planned, following[1], following[2]))

    def _arrival(self, alarm: Alarm) -> None:
        if self._stopped:
            return
        self.asked += 1
        ledger = self.ledger
        if ledger.window_from <= self._planned < ledger.window_to:
            ledger.issued += 1
        if self.asked < self._limit:
            self._arm_next_arrival()
        self._ask(*alarm.value)

    def _issue_the_rest(self) -> None:
        """Open loop: what was planned before the end and has not arrived yet is under way."""
        while self._planned < self.ledger.window_to:
            if self.ledger.counts(self._planned):
                self.ledger.issued += 1
            self._arm_next_arrival()

    def _think(self, client: int, since: int) -> None:
        """Closed loop: when this client asks next."""
        number = self._numbers.get(client, 0)
        heapq.heappush(self._due, (since + self.load.think_time_ns(self.seed, client, number), client, number))
        self._numbers[client] = number + 1
        self._arm_first_due()

    def _arm_first_due(self) -> None:
        if self._due and (self._armed_for < 0 or self._due[0][0] < self._armed_for):
            self._armed_for = self._due[0][0]
            self.clock.call_at(max(self._armed_for + self._send_ns, self.clock.now), self._due_now, self._armed_for)

    def _due_now(self, alarm: Alarm) -> None:
        if alarm.value != self._armed_for:
            return  # an earlier request came in between and armed anew
        self._armed_for = -1
        if self._stopped or self.asked >= self._limit:
            return
        planned, client, number = heapq.heappop(self._due)
        self.asked += 1
        if self.ledger.counts(planned):
            self.ledger.issued += 1
        self._arm_first_due()
        data = self.load.request_of(self.seed, client, number)
        if self._direct:
            self._ask(planned, client, data)
        else:
            arrival = self.link.to_server(self.clock.now, len(data))
            self.clock.call_at(arrival, lambda _alarm: self._ask(planned, client, data))

    def _ask(self, planned: int, client: int, data: bytes) -> None:
        """A request reaches the server's machine."""
        stream = self.streams[client]
        if stream is None:
            if self.ledger.counts(planned):
                self.ledger.dropped += 1
            self._lose()
            return
        request = Request(planned, data, self.load.response_bytes)
        if self._nic:
            fasync = fasync_of(stream)
            raised = (SIGNAL_SEND, 1) if fasync is not None and fasync.armed else NO_WORK
            bill = self._irq_cpu.account.price((INPUT, 1, WAKE, 1, *raised))
            request.softirq = self.clock.now
            self._irq_cpu.interrupt(bill, self._after_softirq, (stream, data, request))
            return
        scheduler = self.scheduler
        scheduler.holding = True
        self._deliver(stream, data, request)
        if scheduler.held:
            scheduler.release()
        else:
            scheduler.holding = False

    def _after_softirq(self, alarm: Alarm) -> None:
        stream, data, request = alarm.value
        request.softirq = self.clock.now - request.softirq
        self.scheduler.holding = True
        self._deliver(stream, data, request)
        self.scheduler.release()

    def _deliver(self, stream: Stream, data: bytes, request: Request) -> None:
        """Into the socket as far as its receive buffer has room; the rest waits at the client."""
        if stream.shut:
            self._fail(request)
            return
        if stream.requests is None:
            stream.requests = [request]
        else:
            stream.requests.append(request)
        if not stream.held_back and len(data) <= stream.room():
            request.arrived = self.clock.now
            stream.receive(data)
            return
        self._outbox.setdefault(stream.client, deque()).append((data, request))
        stream.held_back = True
        self.server_has_read(stream)

    def server_has_read(self, stream: Stream) -> None:
        """There is room again: send on what waits at the client."""
        outbox = self._outbox.get(stream.client)
        while outbox and (room := stream.room()) > 0:
            data, request = outbox.popleft()
            if len(data) > room:
                outbox.appendleft((data[room:], request))
                data = data[:room]
            request.arrived = self.clock.now
            stream.receive(data)
        if outbox is not None and not outbox:
            del self._outbox[stream.client]
            stream.held_back = False

    # --- being answered

    def reply(self, departure: Departure) -> None:
        """Bytes leave the server for a client. What follows from it lies in the future and needs no event, but for a
        closed loop's next request and for bytes that fill the send buffer until they are acknowledged."""
        stream, count, finished = departure
        now = self.clock.now
        if self._direct:
            arrival = now
            stream.acknowledge(count)
        else:
            arrival = self.link.to_client(now, count)
            self.clock.call_at(arrival + self.link.latency_ns, self._acknowledged, departure)
        done = arrival + self._receive_ns
        for request in finished:
            self.ledger.complete(request, now, done)
            if not self._open_loop:
                self._think(stream.client, done)
        if self._fixed_number:
            self._stop_if_settled()

    def _acknowledged(self, alarm: Alarm) -> None:
        stream, count, _ = alarm.value
        self.scheduler.holding = True
        stream.acknowledge(count)
        self.scheduler.release()

    def server_has_shut(self, stream: Stream) -> None:
        """The server has closed the connection: what it has not answered has failed."""
        self.open_streams -= 1
        stream.peer = None  # it is told once, be it by shutdown or by close
        for request in stream.requests or ():
            self._fail(request)
        stream.requests = None
        if self._stopped and not self.open_streams:
            self.clock.call_at(self.clock.now + SETTLE_NS, lambda _alarm: self.watch.all_closed())

    def _fail(self, request: Request) -> None:
        if self.ledger.counts(request.planned):
            self.ledger.failed += 1
        self._lose()

    def _lose(self) -> None:
        self._lost += 1
        if self._fixed_number:
            self._stop_if_settled()

    # --- ending

    def _stop_if_settled(self) -> None:
        """A fixed number of requests: all are asked (or nobody is left to ask) and none waits for an answer."""
        asked_all = self.asked >= self._limit or not (self._open_loop or self._due)
        if asked_all and self.ledger.answered + self._lost == self.asked:
            self.clock.call_at(max(self.clock.now, self.ledger.last_done), lambda _alarm: self._stop())

    def _look_later(self) -> None:
        """Notice, as real clients do, that the server will not answer any more."""
        seen = (self.asked, self.ledger.answered)

        def look(_alarm: Alarm) -> None:
            waiting = self.asked - self.ledger.answered - self._lost
            self.stalled = waiting > 0 and seen == (self.asked, self.ledger.answered)
            if self.stalled:
                self._stop()
            elif not self._stopped:
                self._look_later()

        self.clock.call_at(self.clock.now + self._patience_ns, look)

    def _stop(self) -> None:
        """Ask no more. With a fixed number of requests the clients then close their connections, if all is answered."""
        if self._stopped:
            return
        self._stopped = True
        self._connecting.stop()
        if not self._fixed_number or self.stalled:
            if self._open_loop and not self._fixed_number:
                self._issue_the_rest()
            self.watch.window_closes()
            self.watch.all_closed()
            return
        self.ledger.window_to = self.clock.now + 1
        self.watch.window_closes()
        patience_ns = self._patience_ns if self.open_streams else SETTLE_NS
        self.clock.call_at(self.clock.now + patience_ns, lambda _alarm: self.watch.all_closed())
        self.scheduler.holding = True
        for stream in self.streams:
            if stream is not None and not stream.closed:
                stream.receive_eof()
        self.scheduler.release()
