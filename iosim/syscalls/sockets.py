"""Sockets, and what can be done to any descriptor."""

from types import coroutine
from typing import Final

from iosim.syscalls.trap import Address, Trap

__all__ = [
    "F_GETFL",
    "F_GETOWN",
    "F_GETSIG",
    "F_SETFL",
    "F_SETOWN",
    "F_SETSIG",
    "IPPROTO_TCP",
    "O_ASYNC",
    "O_NONBLOCK",
    "SHUT_WR",
    "SOCK_DGRAM",
    "SOCK_NONBLOCK",
    "SOCK_STREAM",
    "SOL_SOCKET",
    "SO_RCVBUF",
    "SO_REUSEPORT",
    "TCP_NODELAY",
    "accept4",
    "bind",
    "close",
    "connect",
    "fcntl",
    "getsockname",
    "listen",
    "read",
    "recvfrom",
    "sendto",
    "setsockopt",
    "shutdown",
    "socket",
    "write",
]

CALLS: tuple[str, ...] = (
    "socket", "bind", "listen", "getsockname", "connect", "accept4", "read", "write", "close", "shutdown", "fcntl",
    "setsockopt", "sendto", "recvfrom",
)  # fmt: skip

SOCK_STREAM: Final = 1
SOCK_DGRAM: Final = 2
SOCK_NONBLOCK: Final = 0o4000
SOL_SOCKET: Final = 1
SO_RCVBUF: Final = 8
SO_REUSEPORT: Final = 15
IPPROTO_TCP: Final = 6
TCP_NODELAY: Final = 1
SHUT_WR: Final = 1
F_GETFL: Final = 3
F_SETFL: Final = 4
F_SETOWN: Final = 8
F_GETOWN: Final = 9
F_SETSIG: Final = 10
F_GETSIG: Final = 11
O_NONBLOCK: Final = 0o4000
O_ASYNC: Final = 0o20000


@coroutine
def socket(type: int = SOCK_STREAM) -> Trap[int]:
    """socket(2): a new IPv4 socket. ``type`` is SOCK_STREAM (TCP, also where no type is named) or SOCK_DGRAM (UDP),
    with or without SOCK_NONBLOCK. Errors: EMFILE."""
    return (yield "socket", (type,))


@coroutine
def bind(fd: int, address: Address) -> Trap[None]:
    """bind(2): give the socket a local address; port 0 lets the kernel choose. A port has one owner, unless all who
    bind it have set SO_REUSEPORT before. Errors: EADDRINUSE, EINVAL."""
    return (yield "bind", (fd, address))


@coroutine
def listen(fd: int, backlog: int = 4096) -> Trap[None]:
    """listen(2): become a listener. The accept queue holds ``backlog`` + 1 connections, at most somaxconn + 1."""
    return (yield "listen", (fd, backlog))


@coroutine
def getsockname(fd: int) -> Trap[Address]:
    """getsockname(2): the socket's own (host, port)."""
    return (yield "getsockname", (fd,))


@coroutine
def connect(fd: int, address: Address) -> Trap[None]:
    """connect(2). A datagram socket only learns its peer: write then sends to it, only its datagrams come in, and
    ECONNREFUSED meets the call after one that found nobody there. Errors: ECONNREFUSED, EISCONN, EINPROGRESS and
    EALREADY under O_NONBLOCK."""
    return (yield "connect", (fd, address))


@coroutine
def accept4(fd: int, flags: int = 0) -> Trap[int]:
    """accept4(2): the oldest established connection of a listener; sleeps while there is none. Errors: EAGAIN,
    EMFILE, EINVAL. ``flags`` may be SOCK_NONBLOCK. The peer's address is not returned."""
    return (yield "accept4", (fd, flags))


@coroutine
def read(fd: int, count: int = 65536) -> Trap[bytes]:
    """read(2): 1 … ``count`` bytes, or b"" at end of file; sleeps while there is nothing. Errors: EAGAIN,
    ECONNRESET, EBADF, EINVAL (an epoll descriptor), ENOTCONN (a socket without a peer)."""
    return (yield "read", (fd, count))


@coroutine
def write(fd: int, data: bytes) -> Trap[int]:
    """write(2): how many bytes were taken. A blocking write sleeps until all of them are; under O_NONBLOCK it
    takes what fits the send buffer. Errors: EAGAIN, EPIPE, ECONNRESET, EBADF, ENOTCONN."""
    return (yield "write", (fd, data))


@coroutine
def close(fd: int) -> Trap[None]:
    """close(2): free the descriptor; the last one of a file ends the file. Errors: EBADF."""
    return (yield "close", (fd,))


@coroutine
def shutdown(fd: int, how: int = SHUT_WR) -> Trap[None]:
    """shutdown(2) with SHUT_WR: the peer reads end of file, our own reading goes on. Errors: ENOTCONN, EBADF."""
    return (yield "shutdown", (fd, how))


@coroutine
def fcntl(fd: int, command: int, argument: int = 0) -> Trap[int]:
    """fcntl(2) with F_GETFL or F_SETFL: the flags, of which O_NONBLOCK and O_ASYNC count here. O_ASYNC sends a signal
    for every event of the socket: which one says F_SETSIG (0, as at first: a SIGIO that does not name the socket), and
    to whom says F_SETOWN (a process id). F_GETSIG and F_GETOWN tell them. Errors: EBADF, EINVAL, ESRCH (no such owner).
    """
    return (yield "fcntl", (fd, command, argument))


@coroutine
def setsockopt(fd: int, level: int, option: int, value: int) -> Trap[None]:
    """setsockopt(2): SOL_SOCKET with SO_REUSEPORT (before bind) or SO_RCVBUF (of a datagram socket, in bytes; Linux
    takes twice as many, for its own records count too), IPPROTO_TCP with TCP_NODELAY (every stream has it already).
    Errors: EBADF, ENOTSOCK, ENOPROTOOPT."""
    return (yield "setsockopt", (fd, level, option, value))


@coroutine
def sendto(fd: int, data: bytes, address: Address) -> Trap[int]:
    """sendto(2): one datagram; how many bytes it has. Where nobody listens, or the receiver's buffer is full, it is
    lost, and nobody is told. Errors: EMSGSIZE (over 65,507 bytes), EINVAL (port 0), EBADF, EPIPE (a stream)."""
    return (yield "sendto", (fd, data, address))


@coroutine
def recvfrom(fd: int, count: int = 65536) -> Trap[tuple[bytes, Address]]:
    """recvfrom(2): the oldest datagram and who sent it; sleeps while there is none. What is longer than ``count`` is
    cut off and lost. Errors: EAGAIN, EBADF, ENOTCONN (a stream without a peer)."""
    return (yield "recvfrom", (fd, count))
