"""Connecting: the clients' sockets, and whether this host has enough of them."""

import resource
import socket
import time
from collections.abc import Callable
from pathlib import Path

from iosim.real.kernel import HOST

GROUP = 64
QUEUE_ROOM = 2048
"""Connections that may wait in the accept queue (of 4096) before the clients wait for the server."""
NO_PROGRESS_S = 0.05
CONNECT_S = 2.0
"""Longer than the first retry of a SYN that met a full accept queue (1 s)."""
SPARE_DESCRIPTORS = 64


def check_limits(clients: int) -> None:
    """ValueError in one line when this host cannot have so many connections to one server."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    limits = {
        f"a process may open {hard} descriptors (ulimit -Hn)": hard - SPARE_DESCRIPTORS,
        f"there are {high - low + 1} ports for connections to one server (ip_local_port_range)": high - low + 1,
    }
    reason = min(limits, key=lambda name: limits[name])
    if clients > limits[reason]:
        raise ValueError(
            f"--clients {clients}: on this host {reason}; at most --clients {limits[reason]} can be measured here"
        )


def connect_all(port: int, clients: int, accepted: Callable[[], int]) -> list[socket.socket | None]:
    """So many connections to the server, non-blocking from then on, in order; None for those that could not be made.

    ``accepted()`` tells how many the server has taken. The clients go on while its queue has room; they wait at the
    end until it has taken all, or takes no more (a model that serves one connection at a time leaves the others there).
    RuntimeError in one line when the host refuses for another reason than a full queue.
    """
    made: list[socket.socket | None] = []
    while len(made) < clients:
        if len(made) - accepted() > QUEUE_ROOM:
            _wait_for(len(made) - QUEUE_ROOM // 2, accepted)
        for _ in range(min(GROUP, clients - len(made))):
            connection = _connect(port)
            if connection is None:  # the queue stays full: no later one can come in
                return made + [None] * (clients - len(made))
            made.append(connection)
    _wait_for(clients, accepted)
    return made


def _connect(port: int) -> socket.socket | None:
    try:
        connection = socket.create_connection((HOST, port), CONNECT_S)
    except TimeoutError:
        return None
    except ConnectionError as error:
        raise RuntimeError(f"the server does not listen any more: {error.strerror}") from None
    except OSError as error:
        raise RuntimeError(f"this host refuses a connection: {error.strerror}; fewer --clients") from None
    connection.setblocking(False)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _wait_for(wanted: int, accepted: Callable[[], int]) -> None:
    """Until the server has taken ``wanted`` connections, or has taken none for NO_PROGRESS_S."""
    seen, since = accepted(), time.monotonic()
    while seen < wanted and time.monotonic() - since < NO_PROGRESS_S:
        time.sleep(0.001)
        if (now := accepted()) > seen:
            seen, since = now, time.monotonic()
