"""measure: the same program, the same load, on this host's kernel: real sockets on 127.0.0.1, and real processes.

*Models*: nothing. The server is a process pinned to the first CPUs; the clients are another one, pinned to the last,
which spins so that no wake-up of its own is in a latency. Both end with this process, however it ends; a watchdog ends
them after a bounded time, and says in which line the program stood.
*Does not know*: softirq time and switch time (Linux charges them to whoever runs), where in the kernel a latency arose,
and kernel memory per connection. These are ``None``.
"""

import time
from collections.abc import Mapping
from typing import Any

from iosim.load import Load
from iosim.programs import Model, bind_params, find
from iosim.real.abilities import require
from iosim.real.census import Census
from iosim.real.connecting import check_limits
from iosim.real.host import host_description, share_cpus
from iosim.real.peers import check
from iosim.real.processes import Child
from iosim.real.watch import Watch
from iosim.results import Run

START_S = 20.0
"""How long a process may take to start, on a busy host."""
SLACK_S = 15.0
PER_CLIENT_S = 0.002
ENOUGH_TICKS = 50
"""User and system time are sampled; fewer ticks than this say nothing of their shares."""
DISTURBANCES = ("steal_ns", "others_ns", "hiccups", "client_busy", "lateness_ns", "connected")
DISTURBED = 0.05
"""More of the time than this lost to others makes figures doubtful."""
LATE_NS = 50_000
SATURATED = 0.95


def measure(
    model: str,
    load: Load,
    *,
    seed: int = 1,
    cpus: int = 1,
    runtime: str | None = None,
    params: Mapping[str, Any] | None = None,
    timeout_s: float | None = None,
    costs_name: str | None = None,
) -> Run:
    """Run ``model`` (a name or a path) under ``load`` on this host, with its server on ``cpus`` CPUs.

    ``runtime``: cpython (the model itself), or a peer of ``iosim.real.peers`` that does its work; what calls that makes
    is not known. ``timeout_s`` bounds the whole run (default: what the load needs, and some slack).

    Raises, always in one line: LookupError and ValueError for a model, parameter, runtime or load that cannot be (too
    many clients for this host's limits), RuntimeError when this host forbids a call of the model, when the program
    raised, returned or hung (it names the line), or the time was over.
    """
    found = find(model)
    require(found)
    bound = bind_params(found, params or {})
    peer = None if runtime in (None, "cpython") else runtime
    if peer is not None:
        check(peer, found.name)
        bound = {"runtime": peer}
    check_limits(load.clients)
    server_cpus, client_cpu, warnings = share_cpus(cpus)
    started_s = time.monotonic()
    deadline_s = started_s + (timeout_s or _needed_s(load))
    report = _carry_out(found, load, seed, bound, server_cpus, client_cpu, deadline_s)
    return Run(
        model=found.name,
        world="real",
        load=load.model_dump(),
        seed=seed,
        costs=costs_name,
        machine={"cpus": cpus, "network": "loopback"},
        params=bound,
        wall_s=time.monotonic() - started_s,
        warnings=(*warnings, *_warnings(load, cpus, report)),
        **(_figures(cpus, report) | ({} if peer is None else {"syscalls": {}, "window_syscalls": {}})),
    )


def _carry_out(
    model: Model,
    load: Load,
    seed: int,
    params: Mapping[str, Any],
    server_cpus: list[int],
    client_cpu: int,
    deadline_s: float,
) -> Mapping[str, Any]:
    """Start both processes, have them do it, end them; what the clients report."""
    census = Census()
    children: list[Child] = []
    try:
        for module in ("iosim.real.server", "iosim.real.clients"):
            children.append(Child(module, inherit=(census.fd,)))
        server, clients = children
        watch = Watch(model.path, server, clients, census, deadline_s)
        server.say(
            {
                "model": str(model.path),
                "params": params,
                "runtime": params.get("runtime"),
                "reuse_port": model.reuse_port,
                "cpus": server_cpus,
                "census": census.fd,
            }
        )
        port = watch.answer(server)["port"]
        clients.say(
            {
                "port": port,
                "server": server.pid,
                "load": load.model_dump(),
                "seed": seed,
                "census": census.fd,
                "cpus": server_cpus,
                "cpu": client_cpu,
            }
        )
        report: Mapping[str, Any] = watch.answer(clients)["report"]
        watch.check(report["silent"])
        return report
    finally:
        for child in children:  # the server first: no reset of a connection shall reach a program
            child.end()
        census.close()


def _needed_s(load: Load) -> float:
    asking_s = load.end_ns / 1e9
    if load.requests is not None:
        work_s = (load.work_ns + 1_000_000) / 1e9
        wait_s = 1 / load.rate_per_s if load.rate_per_s else (load.think_ns or 0) / 1e9 / load.active_clients
        asking_s = load.requests * (work_s + wait_s)
    return START_S + SLACK_S + load.clients * PER_CLIENT_S + asking_s


def _figures(cpus: int, report: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a Run that come out of the clients' report."""
    busy = min(1.0, report["cpu_ns"] / (report["metered_ns"] * cpus))  # the clocks are not read at the same instant
    user_ticks, system_ticks = report["ticks"]
    known = user_ticks + system_ticks >= ENOUGH_TICKS
    user = busy * user_ticks / (user_ticks + system_ticks) if known else None
    # switches were counted while the clients asked, warm-up included
    share = report["window_ns"] / report["asked_ns"]
    voluntary, involuntary = report["switches"] or (None, None)
    return {
        "requests": report["requests"],
        "throughput_per_s": report["replies"] * 1e9 / report["window_ns"],
        "latency_ns": report["latency_ns"],
        "latency_parts_ns": None,
        "cpu": {
            "user": user,
            "system": None if user is None else busy - user,
            "softirq": None,
            "switch": None,
            "idle": 1 - busy,
        },
        "cpu_ns_per_request": report["cpu_ns"] / report["replies"] if report["replies"] else None,
        "syscalls": report["syscalls"],
        "window_syscalls": report["window_syscalls"],
        "context_switches": {
            "voluntary": None if voluntary is None else round(voluntary * share),
            "involuntary": None if involuntary is None else round(involuntary * share),
        },
        "wakeups": None,
        "memory_bytes": {"per_connection": None, "total": None},
        "events": None,
        "digest": None,
        "histogram": report["histogram"],
        "host": host_description() | {name: report[name] for name in DISTURBANCES},
    }


def _warnings(load: Load, cpus: int, report: Mapping[str, Any]) -> list[str]:
    """What makes the figures doubtful."""
    warnings = list(report["warnings"])
    if sum(report["ticks"]) < ENOUGH_TICKS:
        warnings.append(
            f"the user and system shares are not given: they are sampled, and {sum(report['ticks'])} samples are too "
            f"few (at least {ENOUGH_TICKS}: a longer --duration)"
        )
    if report["connected"] < load.clients:
        warnings.append(f"{load.clients - report['connected']} clients found the accept queue full: dropped")
    if report["stalled"]:
        warnings.append(f"the server answers no more, {report['requests']['in_flight']} requests wait: given up")
    lost = report["hiccups"]["total_ns"] / report["window_ns"]
    others, steal = (report[name] / report["asked_ns"] for name in ("others_ns", "steal_ns"))
    if max(lost, others, steal) > DISTURBED:
        warnings.append(
            f"this host was not quiet: the clients lost their CPU for {lost:.0%} of the time, other processes used "
            f"{others:.0%} of one CPU, {steal:.0%} was stolen; measure again, or take medians of several runs"
        )
    mean_ns, lateness_ns = report["latency_ns"]["mean"], report["lateness_ns"]["mean"]
    if mean_ns and lateness_ns > max(LATE_NS, mean_ns / 5):
        warnings.append(
            f"the client could not keep the arrival process: it sent {lateness_ns / 1000:.0f} us late on average "
            f"and was busy {report['client_busy']:.0%} of the time; latencies are worse than the server's own"
        )
    elif report["client_busy"] > SATURATED and report["cpu_ns"] < SATURATED * report["metered_ns"] * cpus:
        warnings.append(
            f"the client was busy {report['client_busy']:.0%} of the time and the server was not: "
            "the throughput is the client's limit"
        )
    return warnings
