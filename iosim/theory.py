"""Theory: what each model should cost, from work × price, without a simulation.

A model is described by the work of one *pass* of its loop, of one *request*, and of one *sleep*, in the units of
``Costs``. How many requests share a pass is then a small fixed point (closed loop) or a Markov chain (open loop):
*gated polling*, where one pass serves what had come when it began (Takagi, *Analysis of Polling Systems*, 1986).

*Range*: the eight models of ``models/``; one request fits one segment, one read and one send buffer; one request at a
time per connection (an open loop far below one request per connection and pass); no preemption by time slice.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from iosim.costs import Costs
from iosim.load import Load
from iosim.machine import Machine

SECOND_NS = 1e9
MAX_BATCH = 300
"""The open-loop chain is cut here; a batch this long means saturation."""

Work = dict[str, float]
"""Units of work by figure of Costs."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a model does, in units of work. ``passing(ready)`` is one pass that finds so many ready."""

    passing: Callable[[float], Work]
    request: Work
    sleep: Work
    burns: bool = False
    """It never sleeps."""
    sleeps_each: bool = False
    """Every request has a thread that slept for it; the work of that is in ``request``."""
    serves: int = 10**9
    """Connections that can be served at once."""
    servers: int = 1
    """CPUs that it can use."""
    stale: Work = field(default_factory=dict)
    """For a request whose connection is not ready again at the next pass."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What theory expects of one model under one load. ``work`` is per request, in units of the figures of Costs;
    ``batch`` is the mean number of requests that share one pass; ``p50_ns`` is given for the open loop below
    saturation."""

    model: str
    throughput_per_s: float
    cpu_ns_per_request: float
    utilization: float
    batch: float
    work: Mapping[str, float]
    p50_ns: float | None = None


def predict(
    model: str,
    load: Load,
    *,
    costs: Costs | None = None,
    machine: Machine | None = None,
    params: Mapping[str, Any] | None = None,
) -> Prediction:
    """Throughput, CPU time and work per request of ``model`` under ``load``.

    Closed loop: ``closed_loop``; open loop: ``open_loop``. Raises LookupError for a model that has no theory yet.
    """
    machine = machine or Machine()
    shape = shape_of(model, load, machine, params or {})
    at = _Priced(shape, load, costs or Costs(), machine)
    return open_loop(model, at) if load.open_loop else closed_loop(model, at)


def saturation(model: str, load: Load, **same: Any) -> Prediction:
    """The most that ``model`` can carry: the active clients of ``load`` ask again at once (closed loop, think time 0).
    Arguments and errors as ``predict``."""
    return predict(model, load.replace(rate_per_s=None, think_ns=0), **same)


# --- the eight models --------------------------------------------------------------------------------------------


def shape_of(model: str, load: Load, machine: Machine, params: Mapping[str, Any]) -> Shape:
    """The work of each model. Source: the model's text and the kernel's algorithm (fs/select.c, fs/eventpoll.c).

    n is the number of descriptors watched: the connections and the listener.
    """
    n = load.clients + 1
    read = _call(read_ns=1, read_byte_ns=load.request_bytes)
    write = _call(write_ns=1, write_byte_ns=load.response_bytes, input_ns=1, wake_ns=1)
    serve = _sum(read, write, {"request_ns": 1})
    asleep: Work = {"sleep_ns": 1, "switch_ns": 1}
    event: Work = {"event_ns": 1}
    if model in ("blocking", "threads", "prefork"):
        switch = asleep | ({"process_switch_ns": 1} if model == "prefork" else {})
        serves = {"blocking": 1, "threads": load.clients, "prefork": int(params.get("workers", 8))}[model]
        return Shape(
            passing=lambda _ready: {},
            request=_sum(serve, switch),
            sleep={},
            sleeps_each=True,
            serves=serves,
            servers=min(machine.cpus, serves),
        )
    if model == "nonblocking":
        # every pass asks the listener and every connection; those with data are priced in ``serve``
        return Shape(
            passing=lambda ready: _times(_call(read_empty_ns=1), max(0.0, n - ready)),
            request=serve,
            sleep={},
            burns=True,
        )
    if model == "select_loop":
        scan: Work = {"select_scan_ns": n, "select_word_ns": n / 64}

        def select(ready: float) -> Work:
            # wait-queue entries are added until the first ready descriptor is met
            registered = {"register_ns": (n + 1) / (ready + 1) if ready else 0.0}
            return _sum(_call(select_base_ns=1, descriptor_ns=n), scan, registered)

        return Shape(passing=select, request=_sum(serve, event), sleep=_sum(asleep, scan, {"register_ns": n}))
    if model == "poll_loop":
        look: Work = {"poll_scan_ns": n}

        def poll(ready: float) -> Work:
            registered = {"register_ns": (n + 1) / (ready + 1) if ready else 0.0}
            return _sum(_call(poll_base_ns=1, descriptor_ns=n, poll_copy_ns=n), look, registered)

        return Shape(passing=poll, request=_sum(serve, event), sleep=_sum(asleep, look, {"register_ns": n}))
    if model in ("epoll_loop", "epoll_edge"):
        edge = model == "epoll_edge"
        returned: Work = {"epoll_event_ns": 1} | event
        return Shape(
            passing=lambda _ready: _call(epoll_wait_ns=1),
            # edge-triggered: read until EAGAIN; level-triggered: the item is polled once more at the next wait
            request=_sum(serve, returned, _call(read_empty_ns=1) if edge else {}),
            sleep=asleep,
            stale={} if edge else {"epoll_recheck_ns": 1},
        )
    raise LookupError(f"no theory for model {model!r}; it knows {', '.join(MODELS)}")


MODELS = ("blocking", "threads", "prefork", "nonblocking", "select_loop", "poll_loop", "epoll_loop", "epoll_edge")


def _call(**work: float) -> Work:
    """The work of one system call: entry, the runtime's share, and its own."""
    return {"entry_ns": 1, "call_ns": 1, **work}


def _sum(*works: Work) -> Work:
    total: Work = {}
    for work in works:
        for figure, units in work.items():
            total[figure] = total.get(figure, 0) + units
    return total


def _times(work: Work, factor: float) -> Work:
    return {figure: units * factor for figure, units in work.items()}


# --- how many requests share a pass ------------------------------------------------------------------------------


class _Priced:
    """A shape under a price list: the times that the two loops need, in ns."""

    def __init__(self, shape: Shape, load: Load, costs: Costs, machine: Machine) -> None:
        self.shape, self.load, self.costs, self.machine = shape, load, costs, machine
        self.clients = min(load.active_clients, shape.serves)
        self.stale_ns = self.price(shape.stale)
        self.request_ns = self.price(shape.request) + load.work_ns
        self.sleep_ns = self.price(shape.sleep)
        self.wake_ns = 0.0 if shape.burns else self.delay("idle_exit_ns")
        self.away_ns = (
            self.delay("client_send_ns") + self.delay("client_receive_ns") + 2 * machine.latency_ns
        )  # from the server's reply until the next request has come, thinking apart

    def price(self, work: Work) -> float:
        return sum(units * self.costs.at(figure, self.load.clients) for figure, units in work.items())

    def delay(self, figure: str) -> float:
        return self.costs.at(figure, self.load.clients)

    def pass_ns(self, ready: float) -> float:
        return self.price(self.shape.passing(ready))

    def work(self, batch: float, sleeps: float, stale: float) -> Work:
        """Per request, with ``batch`` requests a pass, ``sleeps`` sleeps a pass and that share of stale ones.
        A pass that sleeps has found nothing first."""
        slept = _times(_sum(self.shape.passing(0), self.shape.sleep), sleeps)
        per_pass = _sum(_times(self.shape.passing(batch), 1 - sleeps), slept)
        return _sum(self.shape.request, _times(self.shape.stale, stale), _times(per_pass, 1 / batch))


def closed_loop(model: str, at: _Priced) -> Prediction:
    """N active clients that think Z and ask again: the asymptotic bounds of Denning and Buzen (1978) with a service
    time that depends on the batch.

    Always busy: a pass with b ready takes T(b) = P(b) + b·s; at its start the clients that were answered within the
    last D (the way to the client and back, and Z) are away, the others are ready: b + away(b) = N. Throughput is
    b/T(b) times the CPUs. Never busy: N / (D + R), with R one request from an idle CPU. The lesser of the two holds;
    near their crossing the true figure is below both.
    """
    away_ns = at.away_ns + (at.load.think_ns or 0)
    clients, servers = at.clients, at.shape.servers
    batch = _closed_batch(at, clients, away_ns)
    stale = 1.0 if at.shape.burns else min(1.0, away_ns / (at.pass_ns(batch) + batch * at.request_ns))
    request_ns = at.request_ns + stale * at.stale_ns
    busy_per_s = servers * SECOND_NS * batch / (at.pass_ns(batch) + batch * request_ns)
    alone_ns = at.wake_ns + at.sleep_ns + at.pass_ns(0) + request_ns
    idle_per_s = clients * SECOND_NS / (away_ns + alone_ns)
    if at.shape.burns or busy_per_s <= idle_per_s:
        work = at.work(batch, 0.0, stale)
        throughput_per_s = busy_per_s
    else:
        batch = 1.0
        work = at.work(batch, 1.0, 1.0)
        throughput_per_s = idle_per_s
    cpu_ns = at.price(work) + at.load.work_ns
    return Prediction(
        model=model,
        throughput_per_s=throughput_per_s,
        cpu_ns_per_request=cpu_ns,
        utilization=1.0 if at.shape.burns else throughput_per_s * cpu_ns / SECOND_NS / at.machine.cpus,
        batch=batch,
        work=work,
    )


def _closed_batch(at: _Priced, clients: int, away_ns: float) -> float:
    """The root of b + away(b) = N by bisection; away(b) counts replies of the last ``away_ns``, sent one per s at the
    end of each pass."""
    low, high = 1e-6, float(clients)
    for _ in range(60):
        batch = (low + high) / 2
        serving_ns = batch * at.request_ns
        turns, rest_ns = divmod(away_ns, at.pass_ns(batch) + serving_ns)
        away = batch * (turns + min(1.0, rest_ns / max(serving_ns, 1e-9)))
        low, high = (low, batch) if batch + away > clients else (batch, high)
    return high if at.shape.burns else max(1.0, high)


def open_loop(model: str, at: _Priced) -> Prediction:
    """Poisson arrivals at rate L: the Markov chain of batches.

    A pass that serves k takes T(k) = P(k) + k·s; the next serves Poisson(L T(k)), at most one per active client. If
    that is none, the server sleeps, and wakes for one request and for those that come while it wakes. From the
    chain's steady state: requests, passes and sleeps, hence the work per request. The median latency follows an arrival
    (which sees the time average, PASTA) through the rest of the pass that it meets. At and above saturation the
    figures are those of the closed loop.
    """
    assert at.load.rate_per_s is not None
    rate_per_ns = at.load.rate_per_s / SECOND_NS
    full = closed_loop(model, at)
    if at.load.rate_per_s >= full.throughput_per_s and at.clients > 1:
        return full
    rate_per_ns /= at.shape.servers  # several CPUs: each takes its share (exact for one CPU)
    chain = _Chain(at, rate_per_ns)
    sleeping, batch = chain.sleeping, chain.requests
    work = at.work(1.0, 0.0, 1.0) if at.shape.sleeps_each else chain.mean_work()
    cpu_ns = at.price(work) + at.load.work_ns
    if at.shape.burns:
        cpu_ns = SECOND_NS / at.load.rate_per_s
    return Prediction(
        model=model,
        throughput_per_s=at.load.rate_per_s,
        cpu_ns_per_request=cpu_ns,
        utilization=cpu_ns * at.load.rate_per_s / SECOND_NS / at.machine.cpus,
        batch=batch / (1 - chain.empty) if sleeping < 1 else 1.0,
        work=work,
        p50_ns=chain.median_ns(),
    )


class _Chain:
    """The embedded chain of gated polling: state k is a pass that serves k requests."""

    def __init__(self, at: _Priced, rate_per_ns: float) -> None:
        from scipy.stats import poisson

        self.at, self.rate = at, rate_per_ns
        most = MAX_BATCH if at.shape.sleeps_each else min(MAX_BATCH, at.clients)
        self.counts = np.arange(0 if at.shape.burns else 1, most + 1)
        request_ns = at.request_ns + at.stale_ns
        self.pass_ns = np.array([at.pass_ns(float(k)) for k in self.counts])
        self.time_ns = self.pass_ns + self.counts * request_ns
        self.woken_ns = at.wake_ns + at.sleep_ns
        arrivals = poisson.pmf(np.arange(most + 1)[None, :], (rate_per_ns * self.time_ns)[:, None])
        arrivals[:, -1] += 1 - arrivals.sum(axis=1)
        if at.shape.burns:
            self.asleep = np.zeros(len(self.counts))
            moves = arrivals
        else:
            self.asleep = arrivals[:, 0]
            woken = poisson.pmf(self.counts - 1, rate_per_ns * self.woken_ns)
            woken[-1] += 1 - woken.sum()
            moves = arrivals[:, 1:] + self.asleep[:, None] * woken[None, :]
        self.state = _steady_state(moves)
        self.awake = self.state @ (arrivals if at.shape.burns else arrivals[:, 1:])
        self.requests = float(self.state @ self.counts)
        self.sleeping = float(self.state @ self.asleep)
        self.empty = float(self.state[0]) if at.shape.burns else 0.0

    def mean_work(self) -> Work:
        """Per request, over the steady state; a pass that sleeps has found nothing first."""
        total = _times(_sum(self.at.shape.passing(0), self.at.shape.sleep), self.sleeping)
        for share, count in zip(self.awake, self.counts, strict=True):
            total = _sum(total, _times(self.at.shape.passing(float(count)), float(share)))
        per_request = _sum(self.at.shape.request, self.at.shape.stale)
        return _sum(per_request, _times(total, 1 / self.requests))

    def median_ns(self) -> float:
        """Half of the requests are answered within this time, from the planned time to the client's reading."""
        request_ns = self.at.request_ns + self.at.stale_ns
        idle_share = self.sleeping / self.rate  # mean time per pass spent asleep
        busy_share = self.state * self.time_ns
        steps = (np.arange(20) + 0.5) / 20
        rest_ns = self.time_ns[:, None] * steps[None, :]
        ahead = self.rate * (self.time_ns[:, None] - rest_ns)
        next_pass_ns = float(np.mean(self.pass_ns)) if len(self.pass_ns) else 0.0
        waits = np.append((rest_ns + next_pass_ns + ahead * request_ns).ravel(), self.woken_ns)
        weights = np.append((busy_share[:, None] / 20 * np.ones(20)[None, :]).ravel(), idle_share)
        order = np.argsort(waits)
        middle = np.searchsorted(np.cumsum(weights[order]), weights.sum() / 2)
        return float(waits[order][middle]) + self.at.request_ns + self.at.away_ns


def _steady_state(moves: np.ndarray) -> np.ndarray:
    """The probability vector p = p·moves (Stewart 1994: replace one balance equation by the sum)."""
    size = len(moves)
    equations = np.vstack([(moves.T - np.eye(size))[:-1], np.ones(size)])
    right = np.zeros(size)
    right[-1] = 1
    state: np.ndarray = np.linalg.solve(equations, right)
    state = np.clip(state, 0, None)
    state /= state.sum()
    return state
