"""How the clients connect: in groups, before the load begins, and not before the server has gone to sleep. So it is in
a real run, and by then a program has armed what it waits with. (On a shared port, who came earlier would stand in the
queue of the first listener.)

*Models*: the handshake; a SYN or an ACK that meets a full queue, and is sent again after 1, 2, 4 … s; SO_REUSEPORT.
*Does not model*: the server's work for a handshake in softirq.
"""

from collections.abc import Callable

from iosim.sim.alarm import Alarm
from iosim.sim.kernel import SimKernel
from iosim.sim.network import Link
from iosim.sim.ports import FIRST_EPHEMERAL_PORT, LOOPBACK, listener_for
from iosim.sim.socket_calls import SYN_RETRIES, SYN_RETRY_NS
from iosim.sim.sockets import Listener, Stream

GROUP = 64
"""Connections that are opened at once; the next ones follow when the server has accepted these."""
PATIENCE_NS = 50_000_000
"""How long to wait for a server that accepts no more before going on without it."""
LOOK_NS = 100_000
"""How often to look whether the server sleeps."""
MANY_CALLS = 1000
"""A server that never sleeps, because it asks in vain, has started when it has made so many."""
STARTED_NS = 1_000_000_000
"""No server takes longer to start, or nobody waits for it."""
PORTS = 28_232
"""Clients of one address, each with an ephemeral port of its own."""
SETTLE_NS = 1_000_000
SETTLE_PER_CLIENT_NS = 5_000
"""What a server may still do about a connection that it has accepted (epoll_edge learns that it is writable)."""


class Connecting:
    """Tells ``connected`` of every connection that stands, and ``all_connected`` when no more will come."""

    def __init__(
        self,
        kernel: SimKernel,
        listener: Listener,
        clients: int,
        link: Link,
        connected: Callable[[int, Stream], None],
        all_connected: Callable[[Alarm], None],
    ) -> None:
        self.kernel = kernel
        self.clock = kernel.clock
        self.scheduler = kernel.scheduler
        self.listener = listener
        self.clients = clients
        self.link = link
        self.connected = connected
        self.all_connected = all_connected
        self._direct = link.is_direct
        self._begun = 0
        self._group = 0
        self._under_way = False
        self._stopped = False
        kernel.on_all_accepted = self._accepted_all

    def start(self) -> None:
        """Open the first connections, when the server has started: when it sleeps."""
        self._look(Alarm(self._look, None))

    def _look(self, _alarm: Alarm) -> None:
        """Does the server sleep?"""
        restless = self.clock.now >= STARTED_NS or sum(self.kernel.census.values()) > MANY_CALLS
        if restless or self.kernel.all_asleep():
            self._under_way = True
            self._connect_group(Alarm(self._connect_group, 0))
        else:
            self.clock.call_at(self.clock.now + LOOK_NS, self._look)

    def stop(self) -> None:
        """Whoever is not connected yet never will be."""
        self._stopped = True

    def _accepted_all(self) -> None:
        if self._under_way and not self._waiting():
            self.clock.call_at(self.clock.now, self._connect_group, self._group)

    def _connect_group(self, alarm: Alarm) -> None:
        if alarm.value != self._group:
            return
        self._group += 1
        if self._begun == self.clients:
            self._under_way = False
            settled = self.clock.now + SETTLE_NS + SETTLE_PER_CLIENT_NS * self.clients
            self.clock.call_at(settled, self.all_connected)
            return
        self.scheduler.holding = True
        first, self._begun = self._begun, min(self._begun + GROUP, self.clients)
        for client in range(first, self._begun):
            self._send_syn(client, 0)
        self._be_patient()
        self.scheduler.release()

    def _be_patient(self) -> None:
        """Wait for the server to accept, as long as it does."""
        waiting = (self._group, self._waiting())
        handshake_ns = 3 * self.link.latency_ns
        self.clock.call_at(self.clock.now + PATIENCE_NS + handshake_ns, self._patience_over, waiting)

    def _patience_over(self, alarm: Alarm) -> None:
        group, length = alarm.value
        if group == self._group and self._waiting() < length:
            self._be_patient()
        elif group == self._group:
            self._connect_group(Alarm(self._connect_group, group))

    def _waiting(self) -> int:
        """Connections in the accept queues of all listeners on the port."""
        if not self.listener.reuse_port:
            return len(self.listener.accept_queue)
        owners = self.kernel.tcp.owners(self.listener.address[1])
        return sum(len(owner.accept_queue) for owner in owners if isinstance(owner, Listener))

    def _picked(self, client: int) -> Listener | None:
        """Whose queue this client comes into."""
        if not self.listener.reuse_port:
            return self.listener
        host, port = LOOPBACK + client // PORTS, FIRST_EPHEMERAL_PORT + client % PORTS
        return listener_for(self.kernel.tcp, self.listener.address[1], host, port)

    def _send_syn(self, client: int, retries: int) -> None:
        if self._direct:
            self._syn_arrives(client, retries)
        else:
            self._after_ns(self.link.latency_ns, lambda: self._syn_arrives(client, retries))

    def _syn_arrives(self, client: int, retries: int) -> None:
        listener = self._picked(client)
        if listener is None:
            return  # refused
        if listener.admit_syn():
            if self._direct:
                self._ack_arrives(client, listener, 0)
            else:
                self._after_ns(2 * self.link.latency_ns, lambda: self._ack_arrives(client, listener, 0))
        elif retries < SYN_RETRIES:
            self._after_ns(SYN_RETRY_NS << retries, lambda: self._send_syn(client, retries + 1))

    def _ack_arrives(self, client: int, listener: Listener, retries: int) -> None:
        """The connection is established, unless the accept queue has filled up since the SYN: then the server sends its
        SYN-ACK again, and the client its ACK."""
        if self._stopped:
            return
        if not listener.has_room():
            if retries < SYN_RETRIES:
                self._after_ns(SYN_RETRY_NS << retries, lambda: self._ack_arrives(client, listener, retries + 1))
            return
        stream = self.kernel.new_stream(listener.address, listener.reuse_port)
        self.connected(client, stream)
        listener.establish(stream)

    def _after_ns(self, delay_ns: int, act: Callable[[], None]) -> None:
        """An event of its own: whom it wakes runs after it."""

        def event(_alarm: Alarm) -> None:
            self.scheduler.holding = True
            act()
            self.scheduler.release()

        self.clock.call_at(self.clock.now + delay_ns, event)
