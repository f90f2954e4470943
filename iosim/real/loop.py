"""Loop: one thread that sends each request when it is planned, reads the replies, and never sleeps.

Discussion: a client that sleeps until something comes needs some 30 us to be woken on an idle virtual CPU, and that
would be part of every latency. So it asks epoll without waiting, over and over, and looks at the clock each turn. A
turn that took far longer than its work explains is a *hiccup*: the host, or another process, had the CPU.

A latency counts from the *planned* time of sending until the reply is wholly read. A request is sent at once even when
an earlier one on its connection is not answered: replies come in the order of the requests.
"""

import select
import socket
import time
from array import array
from collections import deque
from collections.abc import Callable, Sequence

from iosim.real.asking import NEVER, Asking

HICCUP_NS = 200_000
WORK_NS = 30_000
"""What sending or receiving one message may take at the most before a turn counts as a hiccup."""
BUFFER_BYTES = 1 << 18
MAXEVENTS = 256


class Connection:
    """One client: its socket, the requests that wait for a reply, and bytes that did not fit the send buffer."""

    __slots__ = ("left", "lost", "number", "outbox", "planned", "socket")

    def __init__(self, made: socket.socket | None, number: int, response_bytes: int) -> None:
        self.socket = made
        self.number = number
        self.planned: deque[int] = deque()
        self.left = response_bytes  # of the reply that comes next
        self.outbox = b""
        self.lost = False


class Loop:
    """The clients' engine. ``run`` goes on until a time; between two runs the caller may read meters.

    Only requests planned at ``begin_ns`` or later are *counted*. Figures: ``latencies_ns`` and ``lateness_ns`` (actual
    less planned time of sending) of counted requests, ``issued``, ``dropped`` (its client never had a connection) and
    ``failed`` (its connection was lost), ``replies`` (all since ``start_measuring``, counted or not).
    """

    def __init__(self, sockets: Sequence[socket.socket | None], asking: Asking, response_bytes: int) -> None:
        self.asking = asking
        self.unanswered = 0
        self.last_reply_ns = 0
        self.start_measuring(0)
        self._response_bytes = response_bytes
        self._connections = [Connection(made, number, response_bytes) for number, made in enumerate(sockets)]
        self._by_fd = {one.socket.fileno(): one for one in self._connections if one.socket}
        self._epoll = select.epoll()
        for fd in self._by_fd:
            self._epoll.register(fd, select.EPOLLIN)
        self._buffer = bytearray(BUFFER_BYTES)

    def start_measuring(self, begin_ns: int) -> None:
        """From here on: figures of before are thrown away, requests planned earlier do not count."""
        self.begin_ns = begin_ns
        self.latencies_ns, self.lateness_ns = array("q"), array("q")
        self.issued = self.dropped = self.failed = self.replies = 0
        self.hiccups_ns: list[int] = []
        self.idle_ns = 0

    @property
    def in_flight(self) -> int:
        """Counted requests that wait for their reply."""
        return sum(planned >= self.begin_ns for one in self._connections for planned in one.planned)

    def run(self, until_ns: int, stalled: Callable[[int], bool] | None = None) -> int:
        """Spin until that time, or until every planned request is answered; the time at the end.

        ``stalled(now)`` is asked every 1024 turns and may end it earlier.
        """
        clock, poll, asking, by_fd = time.perf_counter_ns, self._epoll.poll, self.asking, self._by_fd
        before_ns, work, turns = clock(), 0, 0
        while True:
            now_ns = clock()
            turn_ns = now_ns - before_ns
            if turn_ns > HICCUP_NS and turn_ns > HICCUP_NS + work * WORK_NS:
                self.hiccups_ns.append(turn_ns)
            if not work:
                self.idle_ns += turn_ns
            if now_ns >= until_ns:
                break
            before_ns, work = now_ns, 0
            while asking.next_ns <= now_ns:
                self._send(*asking.take(), now_ns)
                work += 1
            for fd, events in poll(0, MAXEVENTS):
                work += 1
                if events != select.EPOLLOUT:
                    self._receive(by_fd[fd])
                if events & select.EPOLLOUT:
                    self._go_on_sending(by_fd[fd])
            if not work and not self.unanswered and asking.next_ns >= NEVER:
                break
            turns += 1
            if stalled is not None and not turns % 1024 and stalled(now_ns):
                break
        return now_ns

    def stop_measuring(self, end_ns: int) -> None:
        """Count what was planned before ``end_ns`` and could not be sent in time: issued, not answered."""
        while self.asking.next_ns < end_ns:
            planned_ns, client, _ = self.asking.take()
            if planned_ns >= self.begin_ns:
                self.issued += 1
                self.lateness_ns.append(end_ns - planned_ns)
                self._connections[client].planned.append(planned_ns)

    def _send(self, planned_ns: int, client: int, request: bytes, now_ns: int) -> None:
        counted = planned_ns >= self.begin_ns
        if counted:
            self.issued += 1
            self.lateness_ns.append(now_ns - planned_ns)
        one = self._connections[client]
        if one.socket is None:
            self.dropped += counted
        elif one.lost:
            self.failed += counted
        else:
            one.planned.append(planned_ns)
            self.unanswered += 1
            if one.outbox:
                one.outbox += request
            else:
                self._write(one, request)
                if one.outbox:
                    self._epoll.modify(one.socket, select.EPOLLIN | select.EPOLLOUT)

    def _write(self, one: Connection, data: bytes) -> None:
        """Send what the socket takes, keep the rest."""
        assert one.socket is not None
        try:
            sent = one.socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._lose(one)
            return
        one.outbox = data[sent:]

    def _go_on_sending(self, one: Connection) -> None:
        self._write(one, one.outbox)
        if one.socket is not None and not one.outbox and not one.lost:
            self._epoll.modify(one.socket, select.EPOLLIN)

    def _receive(self, one: Connection) -> None:
        assert one.socket is not None
        try:
            count = one.socket.recv_into(self._buffer)
        except BlockingIOError:
            return
        except OSError:
            count = 0
        if not count:
            self._lose(one)
            return
        now_ns = self.last_reply_ns = time.perf_counter_ns()
        if not one.planned:
            raise RuntimeError(f"the server sent {count} bytes to a client that had asked for nothing")
        one.left -= count
        while one.left <= 0 and one.planned:
            planned_ns = one.planned.popleft()
            one.left += self._response_bytes
            self.unanswered -= 1
            self.replies += 1
            if planned_ns >= self.begin_ns:
                self.latencies_ns.append(now_ns - planned_ns)
            self.asking.answered(one.number, now_ns)

    def _lose(self, one: Connection) -> None:
        """The server closed or reset the connection: what waits for a reply has failed."""
        if one.socket is None or one.lost:
            return
        self._epoll.unregister(one.socket)
        self.failed += sum(planned >= self.begin_ns for planned in one.planned)
        self.unanswered -= len(one.planned)
        one.planned.clear()
        one.outbox = b""
        one.lost = True
