"""Datagrams, and the options of sockets.

*Models*: connect, sendto, recvfrom, read and write of UDP sockets; over loopback the sender's CPU runs the receiver's
input inside the call; SO_REUSEPORT, and SO_RCVBUF of datagram sockets.
*Does not model*: sendto and recvfrom of a connected stream (EOPNOTSUPP), SO_RCVBUF of a stream (ENOPROTOOPT).
"""

import errno

from iosim.costs import Costs
from iosim.machine import Machine
from iosim.sim.clock import Clock
from iosim.sim.datagrams import LARGEST_BYTES, Datagram
from iosim.sim.files import Blocked, fail
from iosim.sim.ledger import Ledger
from iosim.sim.ports import LOOPBACK, Ports, flow_hash, picked
from iosim.sim.readiness_calls import ReadinessCalls
from iosim.sim.sockets import Listener, Socket, Stream
from iosim.sim.work import FCNTL, READ_BYTE, READ_EMPTY, UDP_INPUT, UDP_RECEIVE, UDP_SEND, WRITE_BYTE
from iosim.syscalls import EPOLLIN, IPPROTO_TCP, SO_RCVBUF, SO_REUSEPORT, SOL_SOCKET, TCP_NODELAY, Address

FIRST_UDP_PORT = 49152
"""Where UDP begins to look for a free port: Linux picks at random, so both protocols hardly ever give one number."""


class DatagramCalls(ReadinessCalls):
    """setsockopt(2), sendto(2), recvfrom(2), and what other calls do with datagram sockets."""

    ledger: Ledger

    def __init__(self, clock: Clock, costs: Costs, machine: Machine) -> None:
        super().__init__(clock, costs, machine)
        self.udp: Ports[Datagram] = Ports(FIRST_UDP_PORT)
        self.datagrams_dropped = 0
        """By full receive buffers."""

    def setsockopt(self, fd: int, level: int, option: int, value: int) -> None:
        socket = self.thread.table.get(fd)
        self.work = (FCNTL, 1)
        if not isinstance(socket, Socket | Listener | Stream | Datagram):
            raise fail(errno.ENOTSOCK)
        if level == SOL_SOCKET and option == SO_REUSEPORT:
            if not isinstance(socket, Stream):  # its port is in the books as it was when it came about
                socket.reuse_port = bool(value)
        elif isinstance(socket, Datagram):
            if level != SOL_SOCKET or option != SO_RCVBUF:
                raise fail(errno.ENOPROTOOPT)
            socket.resize(value)
        elif level != IPPROTO_TCP or option != TCP_NODELAY:
            raise fail(errno.ENOPROTOOPT)

    def sendto(self, fd: int, data: bytes, address: Address) -> int:
        socket = self.thread.table.get(fd)
        if not isinstance(socket, Datagram):
            if not isinstance(socket, Socket | Listener | Stream):
                raise fail(errno.ENOTSOCK)
            raise fail(errno.EOPNOTSUPP if isinstance(socket, Stream) else errno.EPIPE)
        return self._send_datagram(socket, data, address)

    def write_datagram(self, socket: Datagram, data: bytes) -> int:
        """write(2): to the peer. Raises EDESTADDRREQ without one."""
        if socket.peer is None:
            raise fail(errno.EDESTADDRREQ)
        return self._send_datagram(socket, data, socket.peer)

    def connect_datagram(self, socket: Datagram, address: Address) -> None:
        """connect(2): from now on this is the peer."""
        if socket.address is None:
            self._name(socket, "127.0.0.1")
        socket.peer = address

    def _name(self, socket: Datagram, host: str) -> None:
        """The kernel chooses a port."""
        socket.address = (host, self.udp.take(socket, 0))
        socket.bound = True

    def _send_datagram(self, socket: Datagram, data: bytes, address: Address) -> int:
        length, port = len(data), address[1]
        if length > LARGEST_BYTES:
            raise fail(errno.EMSGSIZE)
        if not port:
            raise fail(errno.EINVAL)
        socket.check()
        if socket.address is None:
            self._name(socket, "0.0.0.0")
        assert socket.address is not None
        self.work = (UDP_SEND, 1, WRITE_BYTE, length, UDP_INPUT, 1)
        runnable = self.scheduler.wakeups
        source = ("127.0.0.1", socket.address[1])
        receivers = self.udp.owners(port)
        hashed = flow_hash(port, LOOPBACK, source[1]) if len(receivers) > 1 else 0
        receiver = receivers[picked(hashed, len(receivers))] if receivers else None
        if receiver is None or (receiver.peer is not None and receiver.peer != source):
            if socket.peer == address:
                socket.refuse()
        elif not receiver.receive(data, source):
            self.datagrams_dropped += 1
        self.pay_wakeups(runnable)
        return length

    def recvfrom(self, fd: int, count: int = 65536) -> tuple[bytes, Address] | Blocked:
        socket = self.thread.table.get(fd)
        if not isinstance(socket, Datagram):
            if not isinstance(socket, Socket | Listener | Stream):
                raise fail(errno.ENOTSOCK)
            raise fail(errno.EOPNOTSUPP if isinstance(socket, Stream) else errno.ENOTCONN)
        return self._receive(socket, count)

    def read_datagram(self, socket: Datagram, count: int) -> bytes | Blocked:
        """read(2): recvfrom without the address."""
        received = self._receive(socket, count)
        return received if isinstance(received, Blocked) else received[0]

    def _receive(self, socket: Datagram, count: int) -> tuple[bytes, Address] | Blocked:
        self.ledger.end_readiness_call(self.thread)
        socket.check()
        if not socket.queue:
            self.work = (READ_EMPTY, 1)
            return Blocked(socket, EPOLLIN, exclusive=True)
        data, source = socket.take(count)
        self.work = (UDP_RECEIVE, 1, READ_BYTE, len(data))
        return data, source
