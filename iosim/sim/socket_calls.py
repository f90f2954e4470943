"""The calls on sockets and descriptors.

*Models*: what each manual page says of blocking and non-blocking sockets, and where protocol input is paid: on loopback
the sender's CPU runs the receiver's TCP input inside ``write``.
*Does not model*: addresses other than ports of one host, options, urgent data.
"""

import errno
from collections import Counter
from collections.abc import Callable

from iosim.costs import Costs
from iosim.machine import Machine
from iosim.sim.clock import Clock
from iosim.sim.epoll import Epoll, Item
from iosim.sim.files import Blocked, File, Table, fail
from iosim.sim.ledger import Ledger
from iosim.sim.readiness_calls import ReadinessCalls
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
    WAKE,
    WRITE,
    WRITE_BYTE,
    WRITE_FULL,
)
from iosim.syscalls import EPOLLIN, EPOLLOUT, EPOLLRDHUP, F_GETFL, F_SETFL, O_NONBLOCK, SHUT_WR, Address

FIRST_EPHEMERAL_PORT = 32768
LAST_PORT = 65535
SYN_RETRY_NS = 1_000_000_000
SYN_RETRIES = 6
O_RDWR = 2


class SocketCalls(ReadinessCalls):
    """socket(2) and what follows from it."""

    ledger: Ledger
    on_all_accepted: Callable[[], None] | None = None
    """Called when the accept queue of a listener has been emptied."""

    def __init__(self, clock: Clock, costs: Costs, machine: Machine) -> None:
        super().__init__(clock, costs, machine)
        self.ports: dict[int, Socket | Listener] = {}
        self.stream_ports: Counter[int] = Counter()
        """How many connections between programs use a port."""
        self.next_port = FIRST_EPHEMERAL_PORT
        self.loopback = self.machine.network == "loopback"

    def socket(self, flags: int = 0) -> int:
        self.work = (SOCKET, 1)
        return self.thread.table.install(self._new_socket(flags))

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
        if not isinstance(socket, Socket) or socket.bound:
            raise _refused(socket)
        host, port = address
        socket.address = (host, self._port_for(port))
        socket.bound = True
        self.ports[socket.address[1]] = socket

    def _bind_anew(self, stream: Stream, address: Address) -> None:
        """A connection that is over gave its port back and may have another; it is of no use to it."""
        host, port = address
        self.stream_ports.subtract((stream.address[1],))
        stream.address = (host, self._port_for(port))
        self.stream_ports.update((stream.address[1],))
        stream.bound_anew = True

    def _port_for(self, port: int) -> int:
        """That port, or for 0 a free one. Raises EADDRINUSE."""
        if port and (port in self.ports or self.stream_ports[port]):
            raise fail(errno.EADDRINUSE)
        return port or self._free_port()

    def listen(self, fd: int, backlog: int = 4096) -> None:
        socket = self.thread.table.get(fd)
        self.work = (SOCKET, 1)
        backlog = min(backlog, self.machine.somaxconn) if backlog >= 0 else self.machine.somaxconn
        if isinstance(socket, Listener):
            socket.backlog = backlog
            return
        if not isinstance(socket, Socket) or socket.connecting_to is not None:
            raise _refused(socket)
        if not socket.bound:
            socket.address = ("0.0.0.0", self._free_port())
        assert socket.address is not None
        self.ports[socket.address[1]] = listener = Listener(socket, backlog)
        self.thread.table.replace(fd, listener)

    def getsockname(self, fd: int) -> Address:
        file = self.thread.table.get(fd)
        if not isinstance(file, Socket | Listener | Stream):
            raise fail(errno.ENOTSOCK)
        return file.address or ("0.0.0.0", 0)

    def accept4(self, fd: int, flags: int = 0) -> int | Blocked:
        thread = self.thread
        table = thread.table
        listener = table.get(fd)
        if not isinstance(listener, Listener):
            raise _refused(listener)
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
            if isinstance(stream, Socket | Listener) and not count:
                return b""
            raise fail(errno.ENOTCONN if isinstance(stream, Socket | Listener) else errno.EINVAL)
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

    def write(self, fd: int, data: bytes) -> int | Blocked:
        thread = self.thread
        stream = thread.table.get(fd)
        if type(stream) is not Stream:
            raise fail(errno.EPIPE if isinstance(stream, Socket | Listener) else errno.EINVAL)
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
        length = len(data)
        while (taken := min(stream.free(), length - done)) > 0:
            self.work += (kind, 1, WRITE_BYTE, taken, INPUT, 1) if self.loopback else (kind, 1, WRITE_BYTE, taken)
            if stream.client >= 0:
                self.ledger.is_written(stream, taken, writer, self.clock.now)
            else:
                self._send(stream, data[done : done + taken])
            done += taken
            if done == length:
                break
        return done

    def _send(self, stream: Stream, data: bytes) -> None:
        """To a stream of another program: its input runs here, and whom it wakes is woken by us."""
        stream.sending += data
        runnable = self.scheduler.wakeups
        stream.push()
        if woken := self.scheduler.wakeups - runnable:
            self.work += (WAKE, woken)

    def close(self, fd: int) -> None:
        file = self.thread.table.remove(fd)
        self.work += (CLOSE, 1) if isinstance(file, Stream | Listener) else (FCNTL, 1)
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
            self.rates.closed()
            file.close()
            self.stream_ports.subtract((file.address[1],))
        elif isinstance(file, Socket | Listener):
            if file.address is not None and self.ports.get(file.address[1]) is file:
                del self.ports[file.address[1]]
            if isinstance(file, Listener):
                file.closed = True
                for stream in file.accept_queue:
                    self.rates.closed()
                    stream.reset()

    def shutdown(self, fd: int, how: int = SHUT_WR) -> None:
        stream = self.thread.table.get(fd)
        self.work = (WRITE, 1)
        if how != SHUT_WR:
            raise fail(errno.EINVAL)
        if isinstance(stream, Listener):
            return  # inet_shutdown: a listener has no sending side
        if not isinstance(stream, Stream | Socket):
            raise fail(errno.ENOTSOCK)
        if isinstance(stream, Stream):
            stream.announced, stream.refused = True, False  # to connect it counts as connected from now on
        if isinstance(stream, Socket) or stream.over:
            stream.notify(stream.mask())  # whoever watches looks again
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
        if not isinstance(file, Socket):
            raise fail(errno.EISCONN if isinstance(file, Listener) else errno.ENOTSOCK)
        if file.connecting_to is not None:
            if file.flags & O_NONBLOCK:
                raise fail(errno.EALREADY)
            return Blocked(file, EPOLLOUT)
        file.connecting_to = address
        if not file.bound:
            file.address = ("127.0.0.1", self._free_port())
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
        listener = self.ports.get(socket.connecting_to[1])
        listening = isinstance(listener, Listener)
        admitted = isinstance(listener, Listener) and listener.admit_syn()
        if listening and not admitted and retries < SYN_RETRIES:
            when_ns = self.clock.now + (SYN_RETRY_NS << retries)
            self.clock.call_at(when_ns, lambda _alarm: self._send_syn(table, fd, socket, retries + 1))
            return
        ours = self.new_stream(socket.address)
        ours.flags = socket.flags
        self.stream_ports.update((ours.address[1],))
        table.replace(fd, ours)
        if not admitted:
            ours.refuse(errno.ETIMEDOUT if listening else errno.ECONNREFUSED)
        else:
            assert isinstance(listener, Listener)
            theirs = self.new_stream(listener.address)
            theirs.announced = True
            ours.peer, theirs.peer = theirs, ours
            self.stream_ports.update((theirs.address[1],))
            self.work += (INPUT, 1, ACCEPT, 1)
            listener.establish(theirs)
        self.readable.became_readable(ours)
        ours.notify(ours.mask())

    def new_stream(self, address: Address) -> Stream:
        """An end of a connection, counted as a living socket."""
        self.rates.opened()
        return Stream(self.readable, address, self.machine.receive_buffer_bytes, self.machine.send_buffer_bytes)

    def _free_port(self) -> int:
        for _ in range(LAST_PORT - FIRST_EPHEMERAL_PORT):
            port = self.next_port
            self.next_port = port + 1 if port < LAST_PORT else FIRST_EPHEMERAL_PORT
            if port not in self.ports and not self.stream_ports[port]:
                return port
        raise fail(errno.EADDRINUSE)


def _refused(file: File) -> OSError:
    """A socket in the wrong state is EINVAL, another file is no socket at all."""
    return fail(errno.EINVAL if isinstance(file, Socket | Listener | Stream) else errno.ENOTSOCK)
