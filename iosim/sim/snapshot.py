"""The books of a simulated machine at one moment, and the Run that lies between two of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from iosim.load import SECOND_NS, Load
from iosim.results import Run
from iosim.sim.epoll import Epoll
from iosim.sim.ledger import PARTS
from iosim.sim.sockets import Listener
from iosim.sim.work import CAUSE_OF, KIND_NAMES

if TYPE_CHECKING:
    from iosim.sim.kernel import SimKernel

OWNERS = ("user", "system", "softirq", "switch")


@dataclass(frozen=True)
class Snapshot:
    """Everything that counts up, at one moment of the clock."""

    now: int
    units: list[int]
    ns: list[int]
    idle_ns: int
    census: dict[str, int]
    voluntary: int
    involuntary: int
    wakeups: int


def snapshot(kernel: "SimKernel") -> Snapshot:
    """The books of all CPUs, summed."""
    books = [cpu.books() for cpu in kernel.scheduler.cpus]
    return Snapshot(
        now=kernel.clock.now,
        units=[sum(column) for column in zip(*(units for units, _, _ in books), strict=True)],
        ns=[sum(column) for column in zip(*(ns for _, ns, _ in books), strict=True)],
        idle_ns=sum(idle_ns for _, _, idle_ns in books),
        census=dict(kernel.census),
        voluntary=kernel.voluntary_switches,
        involuntary=kernel.involuntary_switches,
        wakeups=kernel.scheduler.wakeups,
    )


def run_of(
    before: Snapshot,
    after: Snapshot,
    kernel: "SimKernel",
    *,
    wall_s: float,
    digest: str,
    events: int,
    model: str,
    load: Load,
    seed: int,
    params: Mapping[str, Any],
) -> Run:
    """The result: what happened between the two snapshots, and what the ledger says of the requests."""
    ledger = kernel.ledger
    elapsed_ns = after.now - before.now
    cpu_ns = elapsed_ns * len(kernel.scheduler.cpus)
    kinds = range(len(KIND_NAMES))
    ns = [after.ns[kind] - before.ns[kind] for kind in kinds]
    units = [after.units[kind] - before.units[kind] for kind in kinds]
    idle_ns = after.idle_ns - before.idle_ns
    assert sum(ns) + idle_ns == cpu_ns, "CPU time is more or less than its parts"
    by_owner, by_cause = _charged(ns)
    completed = ledger.completed
    in_flight = ledger.issued - completed - ledger.dropped - ledger.failed
    assert in_flight >= 0, "more requests out than in"
    latency, warnings = ledger.latencies.summary()
    warnings.extend(_warnings(kernel, in_flight))
    return Run(
        model=model,
        world="sim",
        load=load.model_dump(),
        seed=seed,
        costs=f"{kernel.rates.costs.name} {kernel.rates.costs.digest}",
        machine=kernel.machine.model_dump(),
        params=dict(params),
        requests={
            "issued": ledger.issued,
            "completed": completed,
            "in_flight": in_flight,
            "dropped": ledger.dropped,
            "failed": ledger.failed,
        },
        throughput_per_s=ledger.replies * SECOND_NS / elapsed_ns if elapsed_ns else 0.0,
        latency_ns=latency,
        latency_parts_ns={part: ns / completed for part, ns in zip(PARTS, ledger.parts, strict=True)}
        if completed
        else None,
        cpu={
            **{owner: ns / (cpu_ns or 1) for owner, ns in by_owner.items()},
            "idle": idle_ns / cpu_ns if cpu_ns else 1.0,
        },
        cpu_ns_per_request=(cpu_ns - idle_ns) / ledger.replies if ledger.replies else None,
        syscalls={name: count for name, count in kernel.census.items() if count},
        context_switches={
            "voluntary": after.voluntary - before.voluntary,
            "involuntary": after.involuntary - before.involuntary,
        },
        wakeups=after.wakeups - before.wakeups,
        memory_bytes=memory_of(kernel),
        events=events,
        wall_s=wall_s,
        digest=digest,
        warnings=tuple(warnings),
        cpu_causes_ns=by_cause,
        work={name: units[kind] for kind, name in enumerate(KIND_NAMES) if units[kind]},
        window_syscalls={name: count for name in after.census if (count := after.census[name] - before.census[name])},
        histogram=ledger.latencies.encode(),
    )


def _charged(ns: list[int]) -> tuple[dict[str, int], dict[str, int]]:
    """The nanoseconds of each kind of work, by owner and by cause."""
    by_owner = dict.fromkeys(OWNERS, 0)
    by_cause: dict[str, int] = {}
    for kind, cause in CAUSE_OF.items():
        by_owner[cause.owner] += ns[kind]
        if ns[kind]:
            by_cause[cause.cause] = by_cause.get(cause.cause, 0) + ns[kind]
    return by_owner, by_cause


def _warnings(kernel: "SimKernel", in_flight: int) -> Iterator[str]:
    if dropped := sum(port.syns_dropped for port in kernel.tcp.every_owner() if isinstance(port, Listener)):
        yield f"{dropped} SYNs were dropped by a full accept queue"
    if kernel.datagrams_dropped:
        yield f"{kernel.datagrams_dropped} datagrams were dropped by a full receive buffer"
    if kernel.clients is not None and kernel.clients.stalled:
        yield f"the server answers no more, {in_flight} requests wait: given up"


def memory_of(kernel: "SimKernel") -> dict[str, float | None]:
    """Bytes of kernel and user memory that the connections and threads take, at their number of this moment."""
    costs = kernel.rates.costs
    sockets = kernel.rates.sockets
    epolls = {
        file
        for process in kernel.processes.values()
        for fd in process.table.epolls
        if isinstance(file := process.table.files[fd], Epoll)
    }
    threads = sum(len(process.threads) for process in kernel.processes.values())
    total = (
        sockets * costs.socket_bytes
        + sum(len(epoll.items) for epoll in epolls) * costs.epoll_item_bytes
        + kernel.fasyncs * costs.fasync_bytes
        + kernel.user.queued * costs.signal_bytes
        + threads * costs.thread_bytes
        + max(0, len(kernel.processes) - 1) * costs.process_bytes
    )
    return {"per_connection": total / sockets if sockets else None, "total": total}
