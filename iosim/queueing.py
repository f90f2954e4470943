"""The classical queues: what a simulation that claims to be one must meet.

Rates are per second, times are nanoseconds. Service is by order of arrival and queues have no end unless a docstring
says otherwise. Sources: Kleinrock, *Queueing Systems* I (1975); Harchol-Balter, *Performance Modeling and Design of
Computer Systems* (2013); Reiser and Lavenberg, "Mean-value analysis of closed multichain queuing networks" (1980).
"""

import math
from dataclasses import dataclass

SECOND_NS = 1e9


@dataclass(frozen=True, kw_only=True)
class Queue:
    """Means in the steady state. ``in_system`` counts the customers waiting or in service; by Little's law it is
    ``throughput_per_s`` times ``sojourn_ns``."""

    throughput_per_s: float
    utilization: float
    wait_ns: float
    sojourn_ns: float

    @property
    def in_system(self) -> float:
        return self.throughput_per_s * self.sojourn_ns / SECOND_NS


def mm1(rate_per_s: float, service_ns: float) -> Queue:
    """M/M/1: Poisson arrivals, exponential service, one server. Sojourn = S / (1 - rho). Kleinrock 3.2.

    Raises ValueError at rho >= 1, where there is no steady state.
    """
    return mg1(rate_per_s, service_ns, 1.0)


def md1(rate_per_s: float, service_ns: float) -> Queue:
    """M/D/1: Poisson arrivals, constant service: half the wait of M/M/1. Kleinrock 5.7. Raises as ``mm1``."""
    return mg1(rate_per_s, service_ns, 0.0)


def mg1(rate_per_s: float, service_ns: float, squared_variation: float) -> Queue:
    """M/G/1 (Pollaczek-Khinchine): wait = rho S (1 + c²) / (2 (1 - rho)), with c² the squared coefficient of
    variation of the service time (0 constant, 1 exponential). Kleinrock 5.6, Harchol-Balter 23. Raises as ``mm1``."""
    rho = _utilization(rate_per_s, service_ns, 1)
    wait_ns = rho * service_ns * (1 + squared_variation) / (2 * (1 - rho))
    return Queue(throughput_per_s=rate_per_s, utilization=rho, wait_ns=wait_ns, sojourn_ns=wait_ns + service_ns)


def erlang_c(servers: int, offered: float) -> float:
    """The probability that a customer of M/M/c must wait; ``offered`` is rate times service time, in Erlang, below
    ``servers``. By Erlang B's recursion B(k) = aB(k-1) / (k + aB(k-1)), which does not overflow. Kleinrock 3.5."""
    blocked = 1.0
    for k in range(1, servers + 1):
        blocked = offered * blocked / (k + offered * blocked)
    return servers * blocked / (servers - offered * (1 - blocked))


def mmc(rate_per_s: float, service_ns: float, servers: int) -> Queue:
    """M/M/c: one queue, c equal servers. wait = C(c, a) S / (c - a). Kleinrock 3.5, Harchol-Balter 14.
    Raises as ``mm1``."""
    rho = _utilization(rate_per_s, service_ns, servers)
    offered = rho * servers
    wait_ns = erlang_c(servers, offered) * service_ns / (servers - offered)
    return Queue(throughput_per_s=rate_per_s, utilization=rho, wait_ns=wait_ns, sojourn_ns=wait_ns + service_ns)


def closed(clients: int, think_ns: float, service_ns: float) -> Queue:
    """M/M/1//N, the machine repairman: N clients think (exponential or not), ask, wait, and think again.

    Exact mean-value analysis: R(n) = S (1 + Q(n-1)), X(n) = n / (Z + R(n)), Q(n) = X(n) R(n). Exponential service;
    any think time of that mean. Reiser and Lavenberg 1980, Harchol-Balter 7.
    """
    in_queue = sojourn_ns = per_ns = 0.0
    for n in range(1, clients + 1):
        sojourn_ns = service_ns * (1 + in_queue)
        per_ns = n / (think_ns + sojourn_ns)
        in_queue = per_ns * sojourn_ns
    return Queue(
        throughput_per_s=per_ns * SECOND_NS,
        utilization=per_ns * service_ns,
        wait_ns=sojourn_ns - service_ns,
        sojourn_ns=sojourn_ns,
    )


def _utilization(rate_per_s: float, service_ns: float, servers: int) -> float:
    rho = rate_per_s * service_ns / SECOND_NS / servers
    if not (math.isfinite(rho) and rho < 1):
        raise ValueError(f"utilization {rho:.3g}: an open queue has a steady state below 1 only; lower the rate")
    return rho
