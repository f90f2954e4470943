"""The link between clients and server.

*Models*: one-way latency, and with a nic the time that the bytes take on the wire, each way, one message after another.
*Does not model*: segments, loss, jitter; a loopback has no wire (its copies are priced as work).
"""

from iosim.load import SECOND_NS
from iosim.machine import Machine

FRAME_BYTES = 78
"""Ethernet preamble, header, checksum and gap (38), IPv4 (20), TCP (20): what a message of one segment adds."""
SEGMENT_BYTES = 1448


class Link:
    """When does what is sent now arrive?"""

    def __init__(self, machine: Machine) -> None:
        self.latency_ns = machine.latency_ns
        self._wire = machine.network == "nic"
        self._ps_per_byte = round(8 * 1000 * SECOND_NS / machine.bandwidth_bit_per_s)
        self._free_at = [0, 0]
        self.is_direct = not self._wire and not self.latency_ns
        """What is sent has arrived."""

    def to_server(self, now: int, count: int) -> int:
        """Arrival of ``count`` bytes that a client sends."""
        return self._arrival(0, now, count) if self._wire else now + self.latency_ns

    def to_client(self, now: int, count: int) -> int:
        """Arrival of ``count`` bytes that the server sends."""
        return self._arrival(1, now, count) if self._wire else now + self.latency_ns

    def _arrival(self, way: int, now: int, count: int) -> int:
        framed = count + FRAME_BYTES * max(1, -(-count // SEGMENT_BYTES))
        sent = max(now, self._free_at[way]) + framed * self._ps_per_byte // 1000
        self._free_at[way] = sent
        return sent + self.latency_ns
