"""Ports of one protocol, and which of several listeners gets a connection. They know no clock.

*Models*: a port has one owner, or several that have all set SO_REUSEPORT; the hash of addresses and ports picks one of
them (net/core/sock_reuseport.c), whatever the others do; the last one takes the place of one that leaves.
*Does not model*: hosts, SO_REUSEADDR, TIME_WAIT, owners of different users, a BPF program that picks.
*Differs from Linux*: the hash has no secret, so that equal runs are equal; to take SO_REUSEPORT back has an effect.
"""

import errno
from collections import Counter
from typing import Final, Generic, TypeVar

from iosim.sim.datagrams import Datagram
from iosim.sim.files import fail
from iosim.sim.sockets import Listener, Socket, Stream

FIRST_EPHEMERAL_PORT: Final = 32768
LAST_PORT: Final = 65535
LOOPBACK: Final = 0x7F000001
U32: Final = 0xFFFFFFFF
Owner = TypeVar("Owner", bound=Socket | Listener | Datagram)


def _rotated(word: int, bits: int) -> int:
    return (word << bits | word >> 32 - bits) & U32


def flow_hash(port: int, source_host: int, source_port: int) -> int:
    """inet_ehashfn: Jenkins' hash of the three words that make a 4-tuple, 32 bits; all of it goes to 127.0.0.1."""
    seed = 0xDEADBEEF + 12
    a, b, c = LOOPBACK + seed & U32, source_host + seed & U32, (port << 16 | source_port) + seed & U32
    c = (c ^ b) - _rotated(b, 14) & U32
    a = (a ^ c) - _rotated(c, 11) & U32
    b = (b ^ a) - _rotated(a, 25) & U32
    c = (c ^ b) - _rotated(b, 16) & U32
    a = (a ^ c) - _rotated(c, 4) & U32
    b = (b ^ a) - _rotated(a, 14) & U32
    return (c ^ b) - _rotated(b, 24) & U32


def picked(hashed: int, count: int) -> int:
    """reciprocal_scale: which of ``count`` a 32-bit hash stands for."""
    return hashed * count >> 32


class Ports(Generic[Owner]):
    """Who owns which port."""

    def __init__(self, next_free: int = FIRST_EPHEMERAL_PORT) -> None:
        self._owners: dict[int, list[Owner]] = {}
        self._streams: Counter[int] = Counter()
        """Connections between programs, by port; those that let others bind their port are in ``_sharing``."""
        self._sharing: Counter[int] = Counter()
        self._next = next_free

    def take(self, owner: Owner, port: int) -> int:
        """Give the owner that port, or for 0 a free one. Raises EADDRINUSE."""
        port = self.check(port, owner.reuse_port)
        self._owners.setdefault(port, []).append(owner)
        return port

    def check(self, port: int, reuse: bool = False) -> int:
        """That port, or for 0 a free one. Raises EADDRINUSE unless all who use it, and who asks, let others use it."""
        if not port:
            return self.free()
        owners = self._owners.get(port, ())
        shared = reuse and not self._streams[port] and all(owner.reuse_port for owner in owners)
        if not shared and (owners or self._streams[port] or self._sharing[port]):
            raise fail(errno.EADDRINUSE)
        return port

    def free(self) -> int:
        """A port that nobody uses. Raises EADDRINUSE when there is none."""
        for _ in range(LAST_PORT - FIRST_EPHEMERAL_PORT):
            port = self._next
            self._next = port + 1 if port < LAST_PORT else FIRST_EPHEMERAL_PORT
            if port not in self._owners and not self._streams[port] and not self._sharing[port]:
                return port
        raise fail(errno.EADDRINUSE)

    def replace(self, old: Owner, new: Owner, port: int) -> None:
        """A socket became a listener: among those that share the port it is the latest."""
        self.leave(old, port)
        self._owners.setdefault(port, []).append(new)

    def leave(self, owner: Owner, port: int) -> None:
        """It owns the port no more, if it did."""
        owners = self._owners.get(port, [])
        if owner in owners:
            owners[owners.index(owner)] = owners[-1]
            owners.pop()
            if not owners:
                del self._owners[port]

    def owners(self, port: int) -> "list[Owner]":
        """All of them, in the order that the hash counts them."""
        return self._owners.get(port, [])

    def every_owner(self) -> "list[Owner]":
        """Those of all ports."""
        return [owner for owners in self._owners.values() for owner in owners]

    # --- connections between programs use ports, too

    def add_stream(self, stream: Stream) -> None:
        """Its port is in use."""
        (self._sharing if stream.reuse_port else self._streams)[stream.address[1]] += 1

    def remove_stream(self, stream: Stream) -> None:
        """Not by this one any more."""
        (self._sharing if stream.reuse_port else self._streams)[stream.address[1]] -= 1


def listener_for(ports: "Ports[Socket | Listener]", port: int, source_host: int, source_port: int) -> Listener | None:
    """__inet_lookup_listener: who gets a connection from there; None when nobody listens."""
    listening = [owner for owner in ports.owners(port) if isinstance(owner, Listener)]
    if len(listening) > 1:
        return listening[picked(flow_hash(port, source_host, source_port), len(listening))]
    return listening[0] if listening else None
