"""The calls on sockets and descriptors, on this host."""

import _socket
import fcntl as _fcntl
import os
from collections.abc import Callable
from errno import EACCES
from typing import Any

from iosim.real.libc import libc, raise_errno
from iosim.syscalls import SHUT_WR, SOCK_DGRAM, SOCK_STREAM, Address

HOST = "127.0.0.1"


class SocketCalls:
    """socket(2) and what follows from it."""

    def __init__(self) -> None:
        self._senders: set[int] = set()
        """Datagram sockets that have sent, and so have a name on loopback."""

    def socket(self, type: int = SOCK_STREAM) -> int:
        if not type & SOCK_DGRAM:
            made = _socket.socket(_socket.AF_INET, type | SOCK_STREAM)
            made.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        else:
            made = _socket.socket(_socket.AF_INET, type)
        return made.detach()

    def bind(self, fd: int, address: Address) -> None:
        _refuse_other_hosts("bind", address)
        on_socket(fd, _socket.socket.bind, address)

    def listen(self, fd: int, backlog: int = 4096) -> None:
        if on_socket(fd, _socket.socket.getsockname) == ("0.0.0.0", 0):
            on_socket(fd, _socket.socket.bind, (HOST, 0))  # Linux would bind it to every interface of the host
        on_socket(fd, _socket.socket.listen, backlog)

    def getsockname(self, fd: int) -> Address:
        host, port = on_socket(fd, _socket.socket.getsockname)
        return host, port

    def connect(self, fd: int, address: Address) -> None:
        _refuse_other_hosts("connect", address)
        on_socket(fd, _socket.socket.connect, address)

    def accept4(self, fd: int, flags: int = 0) -> int:
        # ctypes, because Python's accept builds an address and a socket object that nobody asked for (x 1.5)
        while (conn := libc.accept4(fd, None, None, flags | _socket.SOCK_CLOEXEC)) < 0:
            raise_errno()
        return int(conn)

    def read(self, fd: int, count: int = 65536) -> bytes:
        return os.read(fd, count)

    def write(self, fd: int, data: bytes) -> int:
        return os.write(fd, data)

    def close(self, fd: int) -> None:
        self._senders.discard(fd)
        os.close(fd)

    def shutdown(self, fd: int, how: int = SHUT_WR) -> None:
        on_socket(fd, _socket.socket.shutdown, how)

    def fcntl(self, fd: int, command: int, argument: int = 0) -> int:
        return _fcntl.fcntl(fd, command, argument)

    def setsockopt(self, fd: int, level: int, option: int, value: int) -> None:
        on_socket(fd, _socket.socket.setsockopt, level, option, value)

    def sendto(self, fd: int, data: bytes, address: Address) -> int:
        _refuse_other_hosts("sendto", address)
        if fd not in self._senders:
            if on_socket(fd, _socket.socket.getsockname) == ("0.0.0.0", 0):
                on_socket(fd, _socket.socket.bind, (HOST, 0))  # Linux would let every interface of the host answer
            self._senders.add(fd)
        return int(on_socket(fd, _socket.socket.sendto, data, address))

    def recvfrom(self, fd: int, count: int = 65536) -> tuple[bytes, Address]:
        data, address = on_socket(fd, _socket.socket.recvfrom, count)
        return data, address


def on_socket(fd: int, method: Callable[..., Any], *args: Any) -> Any:
    """``method`` of a socket object that borrows the descriptor for one call (the rare calls: 0.3 us are no matter)."""
    borrowed = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM, 0, fileno=fd)
    try:
        return method(borrowed, *args)
    finally:
        borrowed.detach()


def _refuse_other_hosts(call: str, address: Address) -> None:
    if address[0] != HOST:
        raise PermissionError(
            EACCES, f"{call}: came host {address[0]!r}, expected {HOST!r}: real runs stay on loopback"
        )
