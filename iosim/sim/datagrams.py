"""UDP sockets. They know no clock.

*Models*: datagrams that are received whole, cut off or lost, never merged; a receive buffer that counts the memory of a
datagram and not its bytes, and drops what finds no room (net/ipv4/udp.c); a peer, and that nobody is there to hear it;
the poll events (udp_poll).
*Does not model*: multicast, fragments, a send buffer (over loopback a datagram has left it when the call returns).
*Differs from Linux*: memory that was read is free at once; Linux may give it back in batches of a quarter buffer.
"""

import errno
from collections import deque
from typing import Final

from iosim.sim.files import File, Watcher, fail
from iosim.syscalls import EPOLLERR, EPOLLIN, EPOLLOUT, Address

LARGEST_BYTES: Final = 65_507
"""What one datagram holds: 65,535 without the headers of IP and UDP."""
DEFAULT_BUFFER_BYTES: Final = 212_992
"""net.core.rmem_default, and rmem_max."""
LEAST_BUFFER_BYTES: Final = 2304
RECORD_BYTES: Final = 256
"""struct sk_buff."""
OVERHEAD_BYTES: Final = 379
"""Headers and struct skb_shared_info. Linux 6.18 shows it: the memory of a datagram grows at 198, 646, 1670 … bytes."""
SMALL_HEAD_BYTES: Final = 576
"""What the kernel takes for data and overhead; where that is too small, the next power of two from 1024 on."""


def memory_of(length: int) -> int:
    """SKB_TRUESIZE: what a datagram of that many bytes counts in a receive buffer."""
    needed = length + OVERHEAD_BYTES
    head = SMALL_HEAD_BYTES if needed <= SMALL_HEAD_BYTES else 1 << max(10, (needed - 1).bit_length())
    return RECORD_BYTES + head


class Datagram(File):
    """A UDP socket."""

    __slots__ = ("address", "bound", "buffer_bytes", "dropped", "error", "memory", "peer", "queue", "reuse_port")

    def __init__(self, watcher: Watcher, flags: int = 0) -> None:
        super().__init__(watcher, flags)
        self.address: Address | None = None
        self.bound = False
        self.reuse_port = False
        self.peer: Address | None = None
        """Whom connect(2) named: only his datagrams come in."""
        self.error = 0
        """The errno that the next call meets (SO_ERROR)."""
        self.queue: deque[tuple[bytes, Address]] = deque()
        self.buffer_bytes = DEFAULT_BUFFER_BYTES
        self.memory = 0
        """What the datagrams in the queue take of it."""
        self.dropped = 0

    def mask(self) -> int:
        return EPOLLOUT | (EPOLLIN if self.queue else 0) | (EPOLLERR if self.error else 0)

    def resize(self, asked_bytes: int) -> None:
        """SO_RCVBUF: twice what was asked for, at most rmem_max."""
        asked_bytes = min(asked_bytes, DEFAULT_BUFFER_BYTES) if asked_bytes >= 0 else DEFAULT_BUFFER_BYTES
        self.buffer_bytes = max(LEAST_BUFFER_BYTES, 2 * asked_bytes)

    def receive(self, data: bytes, source: Address) -> bool:
        """A datagram arrives. False when it found no room; an empty queue has room for any."""
        memory = memory_of(len(data))
        if self.queue and self.memory + memory > self.buffer_bytes:
            self.dropped += 1
            return False
        self.queue.append((data, source))
        self.memory += memory
        if len(self.queue) == 1:
            self.watcher.became_readable(self)
        self.notify(EPOLLIN)
        return True

    def refuse(self) -> None:
        """ICMP says that nobody is at the peer's port (udp_err)."""
        self.error = errno.ECONNREFUSED
        self.watcher.became_readable(self)
        self.notify(EPOLLERR)

    def check(self) -> None:
        """Raise the pending error, once."""
        if self.error:
            number, self.error = self.error, 0
            if not self.queue:
                self.watcher.became_unreadable(self)
            raise fail(number)

    def take(self, count: int) -> tuple[bytes, Address]:
        """The oldest datagram, cut off after ``count`` bytes, and who sent it."""
        data, source = self.queue.popleft()
        self.memory -= memory_of(len(data))
        if not self.queue:
            self.watcher.became_unreadable(self)
        return data[:count], source
