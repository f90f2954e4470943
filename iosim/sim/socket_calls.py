"""The calls on sockets and descriptors.

*Models*: what each manual page says of blocking and non-blocking sockets, and where protocol input is paid: on loopback
the sender's CPU runs the receiver's TCP input inside ``write``.
*Does not model*: addresses other than ports of one host, urgent data.
"""

import errno
from collections.abc import Callable

from iosim.costs import Costs
from iosim.machine import Machine
from iosim.sim.clock import Clock
from iosim.sim.datagram_calls import DatagramCalls
from iosim.sim.datagrams import Datagram
from iosim.sim.epoll import Epoll, Item
from iosim.sim.files import STATE_CHANGE, Blocked, File, Table, fail
from iosim.sim.ports import LOOPBACK, Ports, listener_for
from iosim.sim.sockets import Listener, Socket, Stream
from iosim.sim.thread import Thread
from iosim.sim.work import (
    ACCEPT,
    CLOSE,
    FCNTL,
    INPUT,
    READ,
    READ_BYTE,
    READ_EMPTY,
    REQUEST,
    SOCKET,
    WRITE,
    WRITE_BYTE,
    WRITE_FULL,
)
from iosim.syscalls import (
    EPOLLIN,
    EPOLLOUT,
    EPOLLRDHUP,
    F_GETFL,
    F_SETFL,
    O_NONBLOCK,
    SHUT_WR,
    SOCK_DGRAM,
    SOCK_STREAM,
    Address,
)

SYN_RETRY_NS = 1_000_000_000
SYN_RETRIES = 6
O_RDWR = 2


class SocketCalls(DatagramCalls):
    """socket(2) and what follows from it."""

    on_all_accepted: Callable[[], None] | None = None
    """Called when the accept queue of a listener has been emptied."""

    def __init__(self, clock: Clock, costs: Costs, machine: Machine) -> None:
        super().__init__(clock, costs, machine)
        self.tcp: Ports[Socket | Listener] = Ports()
        self.loopback = self.machine.network == "loopback"

    def socket(self, type: int = SOCK_STREAM) -> int:
        self.work = (SOCKET, 1)
        return self.thread.table.install(Datagram(self.readable, type) if type & SOCK_DGRAM else self._new_socket(type))

    def _new_socket(self, flags: int) -> Socket:
        socket = Socket(self.readable, flags)
        self.readable.became_readable(socket)  # POLLHUP, as long as it has no peer
        return socket

    def bind(self, fd: int, address: Address) -> None:
        socket = self.thread.table.get(fd)
        self.work = (SOCKET, 1)
        if isinstance(socket, Stream) and socket.over and not socket.bound_anew:
            self._bind_anew(socket, address)
            return
        if not isinstance(socket, Socket | Datagram) or socket.bound:
            raise _refused(socket)
        host, port = address
        socket.address = (
            host,
            self.udp.take(socket, port) if isinstance(socket, Datagram) else self.tcp.take(socket, port),
        )
        socket.bound = True

    def _bind_anew(self, stream: Stream, address: Address) -> None:
        """A connection that is over gave its port back and may have another; it is of no use to it."""
        host, port = address
        self.tcp.remove_stream(stream)
        try:
            stream.address = (host, self.tcp.check(port))
            stream.bound_anew = True
        finally:
            self.tcp.add_stream(stream)

    def listen(self, fd: int, backlog: int = 4096) -> None:
        socket = self.thread.table.get(fd)
        self.work = (SOCKET, 1)
        backlog = min(backlog, self.machine.somaxconn) if backlog >= 0 else self.machine.somaxconn
        if isinstance(socket, Listener):
            socket.backlog = backlog
            return
        if not isinstance(socket, Socket) or socket.connecting_to is not None:
            raise _refused(socket, errno.EOPNOTSUPP)
        if not socket.bound:
            socket.address = ("0.0.0.0", self.tcp.free())
        listener = Listener(socket, backlog)
        self.tcp.replace(socket, listener, listener.address[1])
        self.thread.table.replace(fd, listener)

    def getsockname(self, fd: int) -> Address:
        file = self.thread.table.get(fd)
        if not isinstance(file, Socket | Listener | Stream | Datagram):
            raise fail(errno.ENOTSOCK)
        return file.address or ("0.0.0.0", 0)

    def accept4(self, fd: int, flags: int = 0) -> int | Blocked:
        thread = self.thread
        table = thread.table
        listener = table.get(fd)
        if not isinstance(listener, Listener):
            raise _refused(listener, errno.EOPNOTSUPP)
        self.ledger.end_readiness_call(thread)
        if not listener.accept_queue:
            self.work = (READ_EMPTY, 1)
            return Blocked(listener, EPOLLIN, exclusive=True)
        return self.take_connection(table, listener, flags)

    def take_connection(self, table: Table, listener: Listener, flags: int) -> int:
        """The oldest connection of a queue that is not empty, under the lowest free descriptor. Raises EMFILE."""
        table.check_room()
        stream = listener.take()
        stream.flags = flags & O_NONBLOCK
        self.work += (ACCEPT, 1)
        if self.on_all_accepted is not None and not listener.accept_queue:
            self.on_all_accepted()
        return table.install(stream)

    def read(self, fd: int, count: int = 65536) -> bytes | Blocked:
        thread = self.thread
        stream = thread.table.get(fd)
        if type(stream) is not Stream:
            return self.read_other(stream, count)
        if not count:
            return b""  # sock_read_iter looks at nothing else then
        data = self.receive(stream, count, READ, thread)
        if data is not None:
            return data
        self.work = (READ_EMPTY, 1)
        return Blocked(stream, EPOLLIN | EPOLLRDHUP)

    def receive(self, stream: Stream, count: int, kind: int, reader: Thread) -> bytes | None:
        """tcp_recvmsg: up to ``count`` bytes, b"" at end of file, None while there is nothing. ``kind`` is the price of
        finding some (that of finding none is the caller's); the latency is that of ``reader``. Raises what is
        pending."""
        data = stream.take(count)
        if not data:
            if not stream.ended:
                return None
            self.work += (READ_EMPTY, 1)
            return b""
        length = len(data)
        self.work += (kind, 1, READ_BYTE, length)
        if stream.requests and (whole := self.ledger.was_read(stream, length, reader, self.clock.now)):
            self.work += (REQUEST, whole)
        if stream.held_back or stream.client < 0:
            stream.has_read()
        return data

    def read_other(self, file: File, count: int) -> bytes | Blocked:
        """Read a file that is no stream."""
        if isinstance(file, Socket | Listener | Datagram) and not count:
            return b""
        if isinstance(file, Datagram):
            return self.read_datagram(file, count)
        raise fail(errno.ENOTCONN if isinstance(file, Socket | Listener) else errno.EINVAL)

    def write_other(self, file: File, data: bytes) -> int | Blocked:
        """Write to a file that is no stream."""
        if isinstance(file, Datagram):
            return self.write_datagram(file, data)
        raise fail(errno.EPIPE if isinstance(file, Socket | Listener) else errno.EINVAL)

    def write(self, fd: int, data: bytes) -> int | Blocked:
        thread = self.thread
        stream = thread.table.get(fd)
        if type(stream) is not Stream:
            return self.write_other(stream, data)
        before: int = thread.state or 0
        try:
            done = self.transmit(stream, data, before, WRITE, thread)
        except OSError:
            if before:
                return before
            raise
        if done == len(data) or (done and stream.flags & O_NONBLOCK):
            return done
        self.work += (WRITE_FULL, 1)
        thread.state = done
        return Blocked(stream, EPOLLOUT)

    def transmit(self, stream: Stream, data: bytes, done: int, kind: int, writer: Thread) -> int:
        """tcp_sendmsg: put what fits of ``data`` behind its first ``done`` bytes into the send buffer; how many are
        done then. ``kind`` is the price of a message, the latency is that of ``writer``. Raises EPIPE and what is
        pending."""
        if stream.ending:
            stream.check_writable()
        left = len(data) - done
        while left:
            free = stream.free()
            taken = left if left < free else free
            if taken <= 0:
                self.found_full(stream)
                break
            self.work += (kind, 1, WRITE_BYTE, taken, INPUT, 1) if self.loopback else (kind, 1, WRITE_BYTE, taken)
            if stream.client >= 0:
                self.ledger.is_written(stream, taken, writer, self.clock.now)
            else:
                self._send(stream, data[-left:][:taken])
            left -= taken
        return len(data) - left

    def found_full(self, stream: Stream) -> None:  # noqa: ARG002
        """A write has found less room than it needs."""
        raise AssertionError("only the whole kernel knows who wants to be told of room")

    def _send(self, stream: Stream, data: bytes) -> None:
        """To a stream of another program: its input runs here, and whom it wakes is woken by us."""
        stream.sending += data
        runnable = self.scheduler.wakeups
        stream.push()
        self.pay_wakeups(runnable)

    def close(self, fd: int) -> None:
        file = self.thread.table.remove(fd)
        self.work += (CLOSE, 1) if isinstance(file, Stream | Listener | Datagram) else (FCNTL, 1)
        if file.references == 0:
            self.release(file)

    def release(self, file: File) -> None:
        """The last descriptor of this file is gone."""
        for waiter in tuple(file.waiters):
            if isinstance(waiter, Item):
                waiter.epoll.forget(waiter)
        self.readable.became_unreadable(file)
        if isinstance(file, Epoll):
            file.release()
        elif isinstance(file, Stream):
            self._stream_ends(file)
            file.close()
        elif isinstance(file, Datagram):
            if file.address is not None:
                self.udp.leave(file, file.address[1])
        elif isinstance(file, Socket | Listener):
            if file.address is not None:
                self.tcp.leave(file, file.address[1])
            if isinstance(file, Listener):
                file.closed = True
                for stream in file.accept_queue:
                    self._stream_ends(stream)
                    stream.reset()

    def shutdown(self, fd: int, how: int = SHUT_WR) -> None:
        stream = self.thread.table.get(fd)
        self.work = (WRITE, 1)
        if how != SHUT_WR:
            raise fail(errno.EINVAL)
        if isinstance(stream, Listener):
            return  # inet_shutdown: a listener has no sending side
        if isinstance(stream, Datagram):
            raise fail(errno.ENOTCONN)
        if not isinstance(stream, Stream | Socket):
            raise fail(errno.ENOTSOCK)
        if isinstance(stream, Stream):
            stream.announced, stream.refused = True, False  # to connect it counts as connected from now on
        if isinstance(stream, Socket) or stream.over:
            stream.notify(stream.mask() | STATE_CHANGE)  # whoever watches looks again
            raise fail(errno.ENOTCONN)
        stream.shut_down()

    def fcntl(self, fd: int, command: int, argument: int = 0) -> int:
        file = self.thread.table.get(fd)
        self.work = (FCNTL, 1)
        if command == F_GETFL:
            return file.flags | O_RDWR
        if command != F_SETFL:
            raise fail(errno.EINVAL)
        file.flags = argument & O_NONBLOCK
        return 0

    # --- connecting

    def connect(self, fd: int, address: Address) -> Blocked | None:
        thread = self.thread
        file = thread.table.get(fd)
        self.work = (SOCKET, 1)
        if isinstance(file, Stream):
            self._announce(fd, file)
            return None
        if isinstance(file, Datagram):
            self.connect_datagram(file, address)
            return None
        if not isinstance(file, Socket):
            raise fail(errno.EISCONN if isinstance(file, Listener) else errno.ENOTSOCK)
        if file.connecting_to is not None:
            if file.flags & O_NONBLOCK:
                raise fail(errno.EALREADY)
            return Blocked(file, EPOLLOUT)
        file.connecting_to = address
        if not file.bound:
            file.address = ("127.0.0.1", self.tcp.free())
            file.bound = True
        nonblocking = bool(file.flags & O_NONBLOCK)
        self._send_syn(thread.table, fd, file, 0)
        if nonblocking:
            raise fail(errno.EINPROGRESS)
        return self.connect(fd, address)

    def _announce(self, fd: int, stream: Stream) -> None:
        """The first call after a connection came about, or did not, says so; a later one is EISCONN."""
        if stream.refused:
            socket = self._new_socket(stream.flags)
            socket.address = stream.address
            self.thread.table.replace(fd, socket)
            raise fail(stream.error or errno.ECONNABORTED)
        if stream.announced:
            raise fail(errno.EISCONN)
        stream.announced = True
        if stream.error:
            stream.raise_error()

    def _send_syn(self, table: Table, fd: int, socket: Socket, retries: int) -> None:
        """Loopback: SYN, SYN-ACK and ACK all run inside the caller's connect. A dropped SYN is sent again."""
        assert socket.connecting_to is not None
        assert socket.address is not None
        if table.files[fd] is not socket:
            return  # closed meanwhile
        listener = listener_for(self.tcp, socket.connecting_to[1], LOOPBACK, socket.address[1])
        admitted = listener is not None and listener.admit_syn()
        if listener is not None and not admitted and retries < SYN_RETRIES:
            when_ns = self.clock.now + (SYN_RETRY_NS << retries)
            self.clock.call_at(when_ns, lambda _alarm: self._send_syn(table, fd, socket, retries + 1))
            return
        self.tcp.leave(socket, socket.address[1])
        ours = self.new_stream(socket.address, socket.reuse_port)
        ours.flags = socket.flags
        table.replace(fd, ours)
        if listener is None or not admitted:
            ours.refuse(errno.ETIMEDOUT if listener is not None else errno.ECONNREFUSED)
        self.readable.became_readable(ours)
        ours.notify(ours.mask())  # by the SYN-ACK; the listener learns of it by the ACK that follows
        if listener is not None and admitted:
            theirs = self.new_stream(listener.address, listener.reuse_port)
            theirs.announced = True
            ours.peer, theirs.peer = theirs, ours
            self.work += (INPUT, 1, ACCEPT, 1)
            listener.establish(theirs)

    def new_stream(self, address: Address, reuse_port: bool) -> Stream:
        """An end of a connection, counted as a living socket that uses its port."""
        self.rates.opened()
        stream = Stream(self.readable, address, self.machine.receive_buffer_bytes, self.machine.send_buffer_bytes)
        stream.reuse_port = reuse_port
        self.tcp.add_stream(stream)
        return stream

    def _stream_ends(self, stream: Stream) -> None:
        self.rates.closed()
        self.tcp.remove_stream(stream)


def _refused(file: File, of_datagrams: int = errno.EINVAL) -> OSError:
    """A socket in the wrong state is EINVAL, or what datagram sockets say; another file is no socket at all."""
    if isinstance(file, Datagram):
        return fail(of_datagrams)
    return fail(errno.EINVAL if isinstance(file, Socket | Listener | Stream) else errno.ENOTSOCK)
