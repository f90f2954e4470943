"""Datagrams, and the options of sockets.

*Models*: sendto, recvfrom and read of UDP sockets; over loopback the sender's CPU runs the receiver's input inside
``sendto``; SO_REUSEPORT, and SO_RCVBUF of datagram sockets.
*Does not model*: recvfrom of a connected stream, SO_RCVBUF of a stream (EOPNOTSUPP and ENOPROTOOPT say so).
"""

import errno

from iosim.costs import Costs
from iosim.machine import Machine
from iosim.sim.clock import Clock
from iosim.sim.datagrams import LARGEST_BYTES, Datagram
from iosim.sim.files import Blocked, File, fail
from iosim.sim.ports import LOOPBACK, flow_hash, picked
from iosim.sim.socket_calls import SocketCalls
from iosim.sim.sockets import Listener, Socket, Stream
from iosim.sim.work import FCNTL, READ_BYTE, READ_EMPTY, UDP_INPUT, UDP_RECEIVE, UDP_SEND, WAKE, WRITE_BYTE
from iosim.syscalls import EPOLLIN, IPPROTO_TCP, SO_RCVBUF, SO_REUSEPORT, SOL_SOCKET, TCP_NODELAY, Address


class DatagramCalls(SocketCalls):
    """setsockopt(2), sendto(2), recvfrom(2)."""

    def __init__(self, clock: Clock, costs: Costs, machine: Machine) -> None:
        super().__init__(clock, costs, machine)
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

    def sendto(self, fd: int, data: bytes, address: Address) -> int | Blocked:
        socket = self.thread.table.get(fd)
        if not isinstance(socket, Datagram):
            if not isinstance(socket, Socket | Listener | Stream):
                raise fail(errno.ENOTSOCK)
            return self.write(fd, data)  # a stream knows its peer
        length, port = len(data), address[1]
        if length > LARGEST_BYTES:
            raise fail(errno.EMSGSIZE)
        if not port:
            raise fail(errno.EINVAL)
        if socket.address is None:
            socket.address = ("0.0.0.0", self.udp.take(socket, 0))
            socket.bound = True
        self.work = (UDP_SEND, 1, WRITE_BYTE, length)
        source = ("127.0.0.1", socket.address[1])
        if receivers := self.udp.owners(port):
            hashed = flow_hash(port, LOOPBACK, source[1]) if len(receivers) > 1 else 0
            runnable = self.scheduler.wakeups
            if not receivers[picked(hashed, len(receivers))].receive(data, source):
                self.datagrams_dropped += 1
            self.work += (UDP_INPUT, 1)
            if woken := self.scheduler.wakeups - runnable:
                self.work += (WAKE, woken)
        return length

    def recvfrom(self, fd: int, count: int = 65536) -> tuple[bytes, Address] | Blocked:
        socket = self.thread.table.get(fd)
        if not isinstance(socket, Datagram):
            if not isinstance(socket, Socket | Listener | Stream):
                raise fail(errno.ENOTSOCK)
            raise fail(errno.EOPNOTSUPP if isinstance(socket, Stream) else errno.ENOTCONN)
        return self._receive(socket, count)

    def read_other(self, file: File, count: int) -> bytes | Blocked:
        if not isinstance(file, Datagram):
            return super().read_other(file, count)
        if not count:
            return b""
        received = self._receive(file, count)
        return received if isinstance(received, Blocked) else received[0]

    def write_other(self, file: File, data: bytes) -> int | Blocked:
        if isinstance(file, Datagram):
            raise fail(errno.EDESTADDRREQ)
        return super().write_other(file, data)

    def _receive(self, socket: Datagram, count: int) -> tuple[bytes, Address] | Blocked:
        self.ledger.end_readiness_call(self.thread)
        if not socket.queue:
            self.work = (READ_EMPTY, 1)
            return Blocked(socket, EPOLLIN, exclusive=True)
        data, source = socket.take(count)
        self.work = (UDP_RECEIVE, 1, READ_BYTE, len(data))
        return data, source
