"""Theory: what each model should cost, from work × price, without a simulation.

A model is its work per pass, per request and per sleep (``iosim.shapes``), in the units of ``Costs``. How many requests
share a pass is then a fixed point (closed loop) or a Markov chain (open loop): *gated polling*, where one pass serves
what had come when it began (Takagi, *Analysis of Polling Systems*, 1986).

*Range*: the eight models of ``models/`` on loopback; a request fits one segment, one read and one send buffer; no
preemption by time slice. Against the simulation (tests/theory): throughput, CPU time and median latency within 3 %,
those of ``nonblocking`` within 10 %; where few of its connections ask, its clients fall in step with its passes, and
its throughput is up to 20 % off.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from iosim.costs import Costs
from iosim.load import SECOND_NS, Load
from iosim.machine import Machine
from iosim.shapes import Shape, Work, add, shape_of, times

MAX_BATCH = 200
"""The open-loop chain is cut here; longer batches are met close to saturation only."""
COLD: Work = {"cold_ns": 1}


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What theory expects of one model under one load. ``work`` is per request, in units of the figures of Costs, and
    ``priced_ns`` is what these cost; ``batch`` is the mean number of requests that share one pass; ``p50_ns`` is given
    for the open loop below saturation."""

    model: str
    throughput_per_s: float
    cpu_ns_per_request: float
    utilization: float
    batch: float
    work: Mapping[str, float]
    priced_ns: Mapping[str, float]
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
    shape = shape_of(model, load, int((params or {}).get("workers", 8)))
    at = Priced(shape, load, costs or Costs(), machine)
    return open_loop(model, at) if load.open_loop else closed_loop(model, at)


def saturation(model: str, load: Load, **same: Any) -> Prediction:
    """The most that ``model`` can carry: the active clients of ``load`` ask again at once (closed loop, think time 0).
    Arguments and errors as ``predict``."""
    return predict(model, load.replace(rate_per_s=None, think_ns=0), **same)


class Priced:
    """A shape under a price list: times in ns."""

    def __init__(self, shape: Shape, load: Load, costs: Costs, machine: Machine) -> None:
        self.shape, self.load, self.costs = shape, load, costs
        self.clients = min(load.active_clients, shape.serves)
        self.cpus = min(shape.cpus, machine.cpus)
        self.machine_cpus = machine.cpus
        self.request = add(shape.request, shape.switch) if shape.sleeps_each else shape.request
        """A thread per connection: another thread ran before this one, as a rule."""
        self.reply_ns = self.price(self.request) + load.work_ns
        self.after_ns = self.price(shape.after)
        self.stale_ns = self.price(shape.stale)
        self.merged_ns = self.price(shape.merged) + load.work_ns
        self.again_ns = self.price(shape.again)
        self.idle_us: list[float] = []
        """How long the CPU was idle before a wake-up: a sample, which ``idle_exit_ns`` and ``cold_ns`` are priced
        by."""
        self.switch_ns = 0.0 if shape.sleeps_each else self.price(shape.switch)
        self.away_ns = self._delay("client_send_ns") + self._delay("client_receive_ns") + 2 * machine.latency_ns
        """From the server's reply until the next request has come, thinking apart."""

    @property
    def exit_ns(self) -> float:
        """From a wake-up until an idle CPU is there, on average."""
        return sum(map(self._exit_ns, self.idle_us)) / len(self.idle_us)

    def _exit_ns(self, idle_us: float) -> float:
        return self.costs.at("idle_exit_ns", idle_us)

    @property
    def rouse_ns(self) -> float:
        """From a wake-up until an idle CPU runs the thread, its caches cold."""
        return self.exit_ns + self.switch_ns + self._delay("cold_ns")

    def price(self, work: Work) -> float:
        return sum(self.priced_ns(work).values())

    def priced_ns(self, work: Work) -> dict[str, float]:
        """What each part of that work costs."""
        return {figure: units * self._delay(figure) for figure, units in work.items()}

    def pass_ns(self, ready: float) -> float:
        return self.price(self.shape.passing(ready))

    def serving_ns(self, ready: float, requests: float) -> float:
        """Serving so many connections, that have so many requests in all."""
        return ready * (self.reply_ns + self.after_ns + self.stale_ns) + (requests - ready) * self.merged_ns

    def distinct(self, requests: float) -> float:
        """How many connections so many requests come from, each from a random client."""
        return self.clients * (1 - (1 - 1 / self.clients) ** requests) if self.clients > 1 else min(1.0, requests)

    def _delay(self, figure: str) -> float:
        if figure == "cold_ns":  # a CPU cools until it is there
            cold = [self.costs.at(figure, us + self._exit_ns(us) / 1000) for us in self.idle_us]
            return sum(cold) / len(cold) if cold else 0.0
        return self.costs.at(figure, self.load.clients)


def closed_loop(model: str, at: Priced) -> Prediction:
    """N active clients that think Z and ask again: the asymptotic bounds of Denning and Buzen (1978) with a service
    time that depends on the batch.

    Always busy: a pass with b ready takes T(b) = P(b) + b·s; at its start the clients that were answered within the
    last D (the way to the client and back, and Z) are away, the others are ready: b + away(b) = N. Throughput is
    b/T(b) times the CPUs. Where that gives b < 1 the server waits for its clients (``_waiting``).
    """
    shape = at.shape
    away_ns = at.away_ns + (at.load.think_ns or 0)
    each_ns = at.reply_ns + at.after_ns
    batch = _closed_batch(at, at.clients, each_ns, away_ns)
    if batch >= 1 and not (shape.sleeps_each and _caught(at, away_ns)):
        stale = min(1.0, away_ns / (at.pass_ns(batch) + batch * each_ns))
        work = add(at.request, shape.after, times(shape.stale, stale), times(shape.passing(batch), 1 / batch))
        cpu_ns = at.price(work) + at.load.work_ns
        throughput_per_s = at.cpus * SECOND_NS / cpu_ns
    else:
        throughput_per_s, work = _waiting(at, away_ns)
        cpu_ns = at.price(work) + at.load.work_ns
        batch = 1.0
    return Prediction(
        model=model,
        throughput_per_s=throughput_per_s,
        cpu_ns_per_request=cpu_ns,
        utilization=throughput_per_s * cpu_ns / SECOND_NS / at.machine_cpus,
        batch=batch,
        work=work,
        priced_ns=at.priced_ns(work),
    )


def _waiting(at: Priced, away_ns: float) -> tuple[float, Work]:
    """Requests per second and work per request of a server that waits for its clients: N / (D + R), with R one request
    to a server that sleeps; or that is caught still looking, if D is shorter than its way to sleep; or, if it asks for
    ever, that is half-way through its pass."""
    shape = at.shape
    if shape.burns:
        per_s = at.clients * SECOND_NS / (away_ns + at.pass_ns(0) / 2 + at.reply_ns)
        in_vain_ns = SECOND_NS / per_s - at.reply_ns
        return per_s, add(at.request, times(shape.passing(0), max(0.0, in_vain_ns) / at.pass_ns(0)))
    always = add(shape.request, shape.after, shape.stale, {} if shape.sleeps_each else shape.passing(0), shape.again)
    if _caught(at, away_ns):
        return at.cpus * SECOND_NS / (at.price(always) + at.load.work_ns), always
    at.idle_us = [max(1.0, (away_ns - _until_asleep_ns(at)) / 1000)]
    per_s = at.clients * SECOND_NS / (away_ns + at.rouse_ns + at.again_ns + at.reply_ns)
    return per_s, add(always, shape.switch, COLD)


def _caught(at: Priced, away_ns: float) -> bool:
    """Does the next request of a client come before the server has fallen asleep?"""
    return not at.shape.burns and away_ns < _until_asleep_ns(at)


def _until_asleep_ns(at: Priced) -> float:
    return at.after_ns + at.stale_ns + at.pass_ns(0)


def _closed_batch(at: Priced, clients: int, each_ns: float, away_ns: float) -> float:
    """The root of b + away(b) = N by bisection; away(b) counts the replies of the last ``away_ns``, which go out one
    per request at the end of each pass."""
    low, high = 1e-6, float(clients)
    for _ in range(60):
        batch = (low + high) / 2
        serving_ns = batch * each_ns
        turns, rest_ns = divmod(away_ns, at.pass_ns(batch) + serving_ns)
        away = batch * (turns + min(1.0, rest_ns / max(serving_ns, 1e-9)))
        low, high = (low, batch) if batch + away > clients else (batch, high)
    return high


def open_loop(model: str, at: Priced) -> Prediction:
    """Poisson arrivals at rate L: the Markov chain of batches (``Chain``), from which requests, passes and sleeps
    follow, hence the work per request. At and above saturation the figures are those of the closed loop. Several CPUs
    are taken to share the rate evenly, each with a queue of its own."""
    assert at.load.rate_per_s is not None
    shape = at.shape
    full = closed_loop(model, at)
    if at.load.rate_per_s * full.cpu_ns_per_request >= at.cpus * SECOND_NS and not (shape.burns and at.clients == 1):
        return full
    chain = Chain(at, at.load.rate_per_s / SECOND_NS / at.cpus)
    work = chain.work()
    cpu_ns = at.price(work) + at.load.work_ns
    return Prediction(
        model=model,
        throughput_per_s=at.load.rate_per_s,
        cpu_ns_per_request=cpu_ns,
        utilization=cpu_ns * at.load.rate_per_s / SECOND_NS / at.machine_cpus,
        batch=chain.batch,
        work=work,
        priced_ns=at.priced_ns(work),
        p50_ns=chain.median_ns(),
    )


class Chain:
    """The embedded chain of gated polling. A state is a pass and the number of requests that it serves, k.

    A pass that serves k from c(k) connections takes T = P(c) + serving. What comes meanwhile, Poisson(L T), is served
    by the next pass. If nothing came, the next pass finds nothing, which takes F = P(0). If something comes while it
    looks, it looks again (A) and serves that; else the server sleeps, and wakes for one request and for those that
    come while it is roused. A model that burns serves 0 instead of sleeping.
    """

    def __init__(self, at: Priced, rate_per_ns: float) -> None:
        from scipy.stats import poisson

        self.at, self.rate = at, rate_per_ns
        first = 0 if at.shape.burns else 1
        # the time until something comes is exponential: twenty of its quantiles
        at.idle_us = [max(1.0, -float(np.log1p(-u)) / rate_per_ns / 1000) for u in (np.arange(20) + 0.5) / 20]
        k = self.requests = np.arange(first, MAX_BATCH + 1)
        self.ready = np.array([at.distinct(float(requests)) for requests in k])
        serving_ns = np.array([at.serving_ns(c, float(n)) for c, n in zip(self.ready, k, strict=True)])
        found_ns = np.array([at.pass_ns(c) for c in self.ready]) + serving_ns
        looking_ns = at.pass_ns(0)

        def arrivals(time_ns: Any, counts: Any) -> Any:
            chances = poisson.pmf(counts[None, :], (rate_per_ns * np.atleast_1d(time_ns))[:, None])
            chances[:, -1] += np.clip(1 - chances.sum(axis=1) - (poisson.pmf(0, rate_per_ns * time_ns) * first), 0, 1)
            return chances

        if at.shape.burns:
            self.time_ns = found_ns
            self.found = self.state = _steady_state(arrivals(found_ns, k))
            self.caught = self.slept = 0.0
            return
        # states: k found by a first look, then k found by a second one
        self.time_ns = np.concatenate([found_ns, at.again_ns + serving_ns])
        nothing = np.exp(-rate_per_ns * self.time_ns)
        quiet = float(np.exp(-rate_per_ns * looking_ns))
        second = arrivals(looking_ns, k)[0] + quiet * arrivals(at.rouse_ns, k - 1)[0]
        second /= second.sum()
        moves = np.hstack([arrivals(self.time_ns, k), nothing[:, None] * second[None, :]])
        self.state = _steady_state(moves)
        self.found = self.state[: len(k)]
        looked_in_vain = float(self.state @ nothing)
        self.caught, self.slept = looked_in_vain * (1 - quiet), looked_in_vain * quiet

    @property
    def per_pass(self) -> float:
        """Requests."""
        return float(self.state @ np.resize(self.requests, len(self.state)))

    @property
    def batch(self) -> float:
        """Requests per pass that serves any."""
        return self.per_pass / (1 - float(self.state[0])) if self.at.shape.burns else self.per_pass

    def work(self) -> Work:
        """Per request, in the steady state."""
        shape = self.at.shape
        served = float(self.state @ np.resize(self.ready, len(self.state)))
        total = times(add(self.at.request, shape.after, shape.stale), served)
        total = add(total, times(shape.merged, self.per_pass - served))
        if not shape.sleeps_each:
            in_vain = times(add(shape.passing(0), shape.again), self.caught + self.slept)
            passes = (times(shape.passing(float(c)), float(p)) for c, p in zip(self.ready, self.found, strict=True))
            total = add(total, in_vain, times(shape.switch, self.slept), *passes)
        total = add(total, times(COLD, self.slept))
        return times(total, 1 / self.per_pass)

    def median_ns(self) -> float:
        """Half of the requests are answered within this time, from the planned time to the client's reading.

        An arrival sees the time average (PASTA): the rest of a pass, then a look, and those that came before it; or a
        sleeping server. A model that burns meets it when the pass comes by.
        """
        at = self.at
        steps = (np.arange(24) + 0.5) / 24
        if at.shape.burns:
            return float(self.state @ self.time_ns**2 / (self.state @ self.time_ns)) / 2 + at.reply_ns + at.away_ns
        each_ns = at.reply_ns + at.after_ns + at.stale_ns
        looking_ns = at.pass_ns(0)
        times_ns = np.append(self.time_ns, looking_ns)
        shares = np.append(self.state, self.caught + self.slept) * times_ns
        next_ns = np.append(np.full(len(self.state), at.pass_ns(1)), at.again_ns)
        rest_ns = times_ns[:, None] * (1 - steps[None, :])
        ahead = self.rate * times_ns[:, None] * steps[None, :]
        waits = np.append((rest_ns + next_ns[:, None] + ahead * each_ns).ravel(), at.rouse_ns + at.again_ns)
        weights = np.append(np.repeat(shares / len(steps), len(steps)), self.slept / self.rate)
        order = np.argsort(waits)
        middle = np.searchsorted(np.cumsum(weights[order]), weights.sum() / 2)
        return float(waits[order][middle]) + at.reply_ns + at.away_ns


def _steady_state(moves: Any) -> Any:
    """The probability vector p = p·moves (Stewart 1994: one balance equation is replaced by the sum)."""
    size = len(moves)
    equations = np.vstack([(moves.T - np.eye(size))[:-1], np.ones(size)])
    right = np.zeros(size)
    right[-1] = 1
    state = np.clip(np.linalg.solve(equations, right), 0, None)
    return state / state.sum()
