"""Load: what the clients do. One seed gives both worlds the same workload, byte for byte.

Open loop: requests come at ``rate_per_s`` over all active clients, whether or not earlier ones were answered.
Closed loop: each active client thinks, asks, waits for the answer, and thinks again.

Times of a workload are integer nanoseconds since the clients began to ask (all connections stand by then).
"""

import math
import zlib
from collections.abc import Iterator
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from iosim.checked import Checked
from iosim.protocol import HEADER_BYTES, pack_request

SECOND_NS = 1_000_000_000
BATCH = 1024
_MASK = (1 << 64) - 1


class Load(Checked):
    """The clients: how many, how active, what they ask and how often. Every value is checked; all are keywords."""

    clients: int = Field(100, ge=1, le=10_000_000, description="connections, active and idle together")
    active: float = Field(1.0, gt=0, le=1, description="fraction of the connections that ever ask")
    rate_per_s: float | None = Field(
        None, gt=0, le=1e8, description="open loop: requests per second over all active clients"
    )
    think_ns: int | None = Field(
        None, ge=0, le=3600 * SECOND_NS, description="closed loop: mean time from a reply to the next request"
    )
    arrivals: Literal["poisson", "constant"] = Field("poisson", description="open loop: the arrival process")
    think: Literal["exponential", "constant"] = Field("exponential", description="closed loop: think time")
    request_bytes: int = Field(64, ge=HEADER_BYTES, le=1 << 26, description="length of a request")
    response_bytes: int = Field(64, ge=1, le=1 << 26, description="length of a response")
    work_ns: int = Field(0, ge=0, le=60 * SECOND_NS, description="mean CPU time of the application per request")
    work: Literal["constant", "exponential"] = Field("constant", description="distribution of that time")
    duration_ns: int = Field(SECOND_NS, ge=1000, le=86_400 * SECOND_NS, description="the measured time")
    warmup_ns: int = Field(
        SECOND_NS // 10, ge=0, le=3600 * SECOND_NS, description="asked before it and left out of every figure"
    )
    requests: int | None = Field(
        None,
        ge=1,
        le=10**10,
        description="stop asking after so many requests, answer all, close all connections",
    )

    @model_validator(mode="before")
    @classmethod
    def _open_loop_by_default(cls, values: dict[str, object]) -> dict[str, object]:
        if values.get("rate_per_s") is None and values.get("think_ns") is None:
            return {**values, "rate_per_s": 10_000.0}
        return values

    @model_validator(mode="after")
    def _one_loop(self) -> Self:
        if self.rate_per_s is not None and self.think_ns is not None:
            raise ValueError("rate_per_s (open loop) and think_ns (closed loop) exclude each other: give one")
        return self

    @property
    def open_loop(self) -> bool:
        return self.rate_per_s is not None

    @property
    def active_clients(self) -> int:
        """How many clients ever ask (at least one)."""
        return max(1, round(self.clients * self.active))

    @property
    def end_ns(self) -> int:
        """When measuring stops, from the first moment of asking."""
        return self.warmup_ns + self.duration_ns

    def askers(self, seed: int) -> list[int]:
        """The client numbers (0 … clients-1, ascending) that ask: a random subset of size ``active_clients``."""
        if self.active_clients == self.clients:
            return list(range(self.clients))
        chosen = stream(seed, "active").choice(self.clients, self.active_clients, replace=False)
        return sorted(int(client) for client in chosen)

    def arrivals_of(self, seed: int) -> Iterator[tuple[list[int], list[int], list[bytes]]]:
        """Open loop: endless batches of (times in ns, client numbers, requests), times ascending.

        Poisson arrivals choose a random asker each (the superposition of independent Poisson clients); constant
        ones go round.
        """
        assert self.rate_per_s is not None
        askers = np.array(self.askers(seed), dtype=np.int64)
        gaps, choices, works = stream(seed, "arrivals"), stream(seed, "clients"), stream(seed, "work")
        gap_ns = SECOND_NS / self.rate_per_s
        last_ns, count = 0.0, 0
        while True:
            if self.arrivals == "poisson":
                times: np.ndarray = last_ns + np.cumsum(gaps.exponential(gap_ns, BATCH))
                clients = askers[choices.integers(0, len(askers), BATCH)]
                last_ns = float(times[-1])
            else:
                numbers = np.arange(count, count + BATCH)
                times, clients = (numbers + 1) * gap_ns, askers[numbers % len(askers)]
                count += BATCH
            if self.work == "constant" or not self.work_ns:
                requests = [self._request(self.work_ns)] * BATCH
            else:
                requests = [self._request(int(ns)) for ns in works.exponential(self.work_ns, BATCH)]
            yield times.astype(np.int64).tolist(), clients.tolist(), requests

    def think_time_ns(self, seed: int, client: int, number: int) -> int:
        """Closed loop: how long ``client`` thinks before its request ``number`` (0 …)."""
        assert self.think_ns is not None
        if self.think == "constant":
            # the first request is staggered, so that the clients do not march in step
            return self.think_ns if number else int(self.think_ns * _uniform(seed, client, number, 1))
        return int(-self.think_ns * math.log(_uniform(seed, client, number, 1)))

    def request_of(self, seed: int, client: int, number: int) -> bytes:
        """Closed loop: the bytes of request ``number`` of ``client``."""
        if self.work == "constant" or not self.work_ns:
            return self._request(self.work_ns)
        return self._request(int(-self.work_ns * math.log(_uniform(seed, client, number, 2))))

    def _request(self, work_ns: int) -> bytes:
        return pack_request(self.request_bytes, self.response_bytes, work_ns)


def stream(seed: int, actor: str) -> np.random.Generator:
    """The random stream of one actor: independent of every other, the same on every machine."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(actor.encode())])))


def _uniform(seed: int, client: int, number: int, purpose: int) -> float:
    """A uniform number in (0, 1] that depends on its arguments alone (the finaliser of SplitMix64, Steele 2014), so
    that clients may draw in any order."""
    x = (seed * 0x9E3779B97F4A7C15 + client * 0xD1B54A32D192ED03 + number * 0x8CB92BA72F3D8DD7 + purpose) & _MASK
    for _ in range(2):
        x = (x + 0x9E3779B97F4A7C15) & _MASK
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
        x ^= x >> 31
    return ((x >> 11) + 1) / (1 << 53)
