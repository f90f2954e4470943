"""TCP sockets as state machines. They know no clock.

*Models*: SYN and accept queues (``listen(n)`` admits n + 1, net/ipv4/tcp_input.c), byte streams with finite buffers,
end of file, half-close, reset, the poll events of each state (net/ipv4/tcp.c, tcp_poll).
*Does not model*: segments, acknowledgements of their own, autotuned buffers, TIME_WAIT, urgent data.
*Differs from Linux*: a buffer holds exactly its bytes, not the memory that sk_buffs take.
"""

import errno
from collections import deque
from typing import Protocol

from iosim.sim.files import STATE_CHANGE, File, Watcher, fail
from iosim.sim.request import Request
from iosim.syscalls import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP, Address


class Socket(File):
    """A socket that is neither listener nor stream yet."""

    __slots__ = ("address", "bound", "connecting_to", "reuse_port")

    def __init__(self, watcher: Watcher, flags: int = 0) -> None:
        super().__init__(watcher, flags)
        self.address: Address | None = None
        self.bound = False
        """It holds its port. After a refused connection it does not, and still names it."""
        self.connecting_to: Address | None = None
        self.reuse_port = False
        """Others that have set it too may bind the same port."""

    def mask(self) -> int:
        return 0 if self.connecting_to else EPOLLOUT | EPOLLHUP


class Listener(File):
    """A listening socket: half-open connections in the SYN queue, established ones in the accept queue."""

    __slots__ = ("accept_queue", "address", "backlog", "closed", "reuse_port", "syn_queue", "syns_dropped")

    def __init__(self, socket: Socket, backlog: int) -> None:
        super().__init__(socket.watcher, socket.flags)
        assert socket.address is not None
        self.address: Address = socket.address
        self.reuse_port = socket.reuse_port
        self.backlog = backlog
        self.accept_queue: deque[Stream] = deque()
        self.syn_queue = 0
        """Half-open connections: their SYN has come, their ACK has not."""
        self.syns_dropped = 0
        self.closed = False

    def mask(self) -> int:
        return EPOLLIN if self.accept_queue else 0

    def has_room(self) -> bool:
        """sk_acceptq_is_full is ``length > backlog``: one more than the backlog is admitted."""
        return len(self.accept_queue) <= self.backlog

    def admit_syn(self) -> bool:
        """tcp_conn_request: a SYN enters the SYN queue, or is dropped because that or the accept queue is full."""
        if not self.has_room() or self.syn_queue > self.backlog:
            self.syns_dropped += 1
            return False
        self.syn_queue += 1
        return True

    def establish(self, stream: "Stream") -> None:
        """The ACK of the handshake: from the SYN queue into the accept queue."""
        self.syn_queue -= 1
        self.accept_queue.append(stream)
        if len(self.accept_queue) == 1:
            self.watcher.became_readable(self)
        self.notify(EPOLLIN)

    def take(self) -> "Stream":
        """The oldest established connection."""
        stream = self.accept_queue.popleft()
        if not self.accept_queue:
            self.watcher.became_unreadable(self)
        return stream


class Client(Protocol):
    """The other end of a stream, when it is one of the load's clients."""

    def server_has_read(self, stream: "Stream") -> None:
        """There is room in the stream's receive buffer again."""
        ...

    def server_has_shut(self, stream: "Stream") -> None:
        """The server will send no more."""
        ...


class Stream(File):
    """One end of an established connection. The other end is another stream, or a client of the load."""

    __slots__ = (
        "_rx", "address", "announced", "bound_anew", "client", "closed", "dead", "ending", "eof", "error", "held_back",
        "in_flight", "peer",
        "receive_buffer", "refused", "requests", "reuse_port", "send_buffer", "sending", "shut",
    )  # fmt: skip

    def __init__(self, watcher: Watcher, address: Address, receive_buffer: int, send_buffer: int) -> None:
        super().__init__(watcher)
        self.address = address
        self.peer: Stream | Client | None = None
        self.client = -1
        """The number of the client at the other end, if it is one."""
        self.requests: list[Request] | None = None
        """A client's requests under way, oldest first."""
        self.receive_buffer = receive_buffer
        self.send_buffer = send_buffer
        self._rx = b""
        self.sending = b""
        """Bytes that wait in the send buffer for room at the peer (streams between programs)."""
        self.in_flight = 0
        """Bytes of the send buffer that a client has not acknowledged yet."""
        self.held_back = False
        """A client waits for room in our receive buffer."""
        self.refused = False
        """It never was one: its connect failed, and the next calls learn why."""
        self.reuse_port = False
        """Its port may be bound by others that have set it too (inherited from the listener)."""
        self.bound_anew = False
        """bind(2) was called again when it was over."""
        self.announced = False
        """connect(2) has said that it succeeded."""
        self.eof = False
        """The peer's FIN has come."""
        self.shut = False
        """We send no more."""
        self.dead = False
        """Reset: nothing goes either way."""
        self.ending = False
        """One of the three."""
        self.closed = False
        self.error = 0
        """The errno that the next call meets (SO_ERROR)."""

    def mask(self) -> int:
        """tcp_poll."""
        if not self.ending and not self.in_flight and not self.sending:  # nearly always
            return EPOLLIN | EPOLLOUT if self._rx else EPOLLOUT
        if self.dead:
            return EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP | (EPOLLERR if self.error else 0)
        mask = EPOLLIN if self._rx else 0
        if self.eof:
            mask |= EPOLLIN | EPOLLRDHUP
            if self.shut:
                mask |= EPOLLHUP
        if self.shut or self.writable():
            mask |= EPOLLOUT
        return mask

    # --- receiving

    @property
    def unread(self) -> int:
        return len(self._rx)

    def room(self) -> int:
        """How many bytes the receive buffer can still take."""
        return self.receive_buffer - len(self._rx)

    def receive(self, data: bytes) -> None:
        """The network delivers; the sender has seen to it that there is room."""
        if self._rx:
            self._rx += data
        else:
            self._rx = data
            if self.watcher.listening:
                self.watcher.became_readable(self)
        self.notify(EPOLLIN)

    def receive_eof(self) -> None:
        """The peer's FIN."""
        if not self.eof and not self.dead:
            self.eof = self.ending = True
            self.watcher.became_readable(self)
            self.notify(EPOLLIN | EPOLLRDHUP | (EPOLLHUP if self.shut else 0) | STATE_CHANGE)

    def receive_reset(self) -> None:
        """The peer's RST (tcp_reset): EPIPE after its FIN, else ECONNRESET."""
        if not self.over:
            self.error = errno.EPIPE if self.eof else errno.ECONNRESET
            self.dead = self.ending = True
            self.sending = b""
            self.watcher.became_readable(self)
            self.notify(EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLRDHUP)

    def refuse(self, number: int) -> None:
        """The connection did not come about, for this reason."""
        self.error = number
        self.refused = self.dead = self.ending = True

    def take(self, count: int) -> bytes:
        """Up to ``count`` unread bytes, or b"" when there are none. Raises the pending error, once."""
        data = self._rx
        if not data:
            if self.error and not self.eof:
                self.raise_error()
            return data
        if len(data) > count:
            self._rx = data[count:]
            return data[:count]
        self._rx = b""
        if self.watcher.listening and not self.ended:
            self.watcher.became_unreadable(self)
        return data

    @property
    def ended(self) -> bool:
        """Nothing more will come."""
        return self.eof or self.dead

    @property
    def over(self) -> bool:
        """TCP_CLOSE: both ends have sent their FIN, or one a RST."""
        return self.dead or (self.eof and self.shut and not self.sending)

    # --- sending

    def free(self) -> int:
        """Free bytes of the send buffer."""
        return self.send_buffer - self.in_flight - len(self.sending)

    def writable(self) -> bool:
        """sk_stream_is_writeable: at least half as much is free as is queued."""
        queued = self.in_flight + len(self.sending)
        return self.send_buffer - queued >= queued >> 1

    def check_writable(self) -> None:
        """Raise what a write meets on a stream that cannot send any more."""
        if self.error:
            self.raise_error()
        if self.shut or self.dead:
            raise fail(errno.EPIPE)

    def acknowledge(self, count: int) -> None:
        """The client has taken ``count`` bytes: perhaps there is room again."""
        queued = self.in_flight
        self.in_flight = queued - count
        if self.send_buffer - queued < queued >> 1 and self.writable():  # it was not writable before
            self.notify(EPOLLOUT)

    def push(self) -> None:
        """Move waiting bytes, and then the FIN, to the peer as far as it has room (streams between programs)."""
        peer = self.peer
        if not isinstance(peer, Stream):
            return
        if peer.closed and self.sending:
            self.receive_reset()
        elif self.sending and (room := peer.room()) > 0:
            was_writable = self.writable()
            chunk, self.sending = self.sending[:room], self.sending[room:]
            peer.receive(chunk)
            if not was_writable and self.writable():
                self.notify(EPOLLOUT)
        if self.shut and not self.sending:
            peer.receive_eof()

    def shut_down(self) -> None:
        """shutdown(2) SHUT_WR: a FIN follows what is still to be sent; each call wakes who watches (inet_shutdown)."""
        if not self.shut:
            self.shut = self.ending = True
            self._shut_towards_peer()
        self.notify(EPOLLOUT | (EPOLLHUP if self.eof else 0) | STATE_CHANGE)

    def close(self) -> None:
        """The last descriptor is gone: a FIN, or a RST when bytes were left unread (tcp_close)."""
        self.closed = self.shut = self.ending = True
        if self._rx:
            self.reset()
        else:
            self._shut_towards_peer()

    def reset(self) -> None:
        """Send a RST."""
        if isinstance(self.peer, Stream):
            self.peer.receive_reset()
        else:
            self._shut_towards_peer()

    def has_read(self) -> None:
        """We have read: the peer may send again."""
        peer = self.peer
        if isinstance(peer, Stream):
            if peer.sending:
                peer.push()
        elif peer is not None and self.held_back:
            peer.server_has_read(self)

    def _shut_towards_peer(self) -> None:
        if self.dead:
            return
        if isinstance(self.peer, Stream):
            self.push()
        elif self.peer is not None:
            self.peer.server_has_shut(self)

    def raise_error(self) -> None:
        """Raise the pending error, once."""
        number, self.error = self.error, 0
        raise fail(number)
