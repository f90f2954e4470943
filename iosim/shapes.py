"""The eight models as units of work: what one pass, one request and one sleep ask of the machine.

Source: each model's own text, and the kernel's algorithms (fs/select.c, fs/eventpoll.c). The loops of ``theory`` turn
these into figures.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from iosim.load import Load

Work = dict[str, float]
"""Units of work by figure of Costs."""
MODELS = ("blocking", "threads", "prefork", "nonblocking", "select_loop", "poll_loop", "epoll_loop", "epoll_edge")
MANY = 10**9


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a model does. A *pass* is one round of its loop; it finds connections that are ready, and serves them."""

    passing: Callable[[float], Work]
    """One pass that finds so many ready; with none, all that is done up to falling asleep."""
    request: Work
    """From finding a connection ready until its reply is out."""
    after: Work = field(default_factory=dict)
    """For each connection served, when its reply is out."""
    stale: Work = field(default_factory=dict)
    """For each connection served that is not ready again at the next pass."""
    merged: Work
    """For a further request in the same read."""
    again: Work = field(default_factory=dict)
    """A second look, after a sleep."""
    switch: Work = field(default_factory=dict)
    """Where another thread, or none, ran meanwhile; with a thread per connection, that is before each request."""
    burns: bool = False
    """It never sleeps."""
    sleeps_each: bool = False
    """Every connection has a thread, which sleeps before each request; ``after`` holds the work of that."""
    serves: int = MANY
    """Connections that can be served at once."""
    cpus: int = MANY
    """CPUs that it can use."""


def shape_of(model: str, load: Load, workers: int) -> Shape:
    """The work of that model under that load. Raises LookupError for a model that has no theory yet."""
    n = load.clients + 1
    if model in ("blocking", "threads", "prefork"):
        serves = {"blocking": 1, "threads": load.clients, "prefork": workers}[model]
        return _one_thread_each(load, serves, processes=model == "prefork")
    if model == "nonblocking":
        return _asks_all(load)
    if model == "select_loop":
        scan: Work = {"select_scan_ns": n, "select_word_ns": n / 64}
        return _scans_all(load, {"select_call_ns": 1, "descriptor_ns": load.clients + 1}, scan, {"select_base_ns": 1})
    if model == "poll_loop":
        polling: Work = {"poll_base_ns": 1, "poll_copy_ns": n, "pollfd_ns": n}
        return _scans_all(load, polling, {"poll_scan_ns": n}, {})
    if model in ("epoll_loop", "epoll_edge"):
        return _ready_list(load, edge=model == "epoll_edge")
    raise LookupError(f"no theory for model {model!r}; it knows {', '.join(MODELS)}")


def _one_thread_each(load: Load, serves: int, *, processes: bool) -> Shape:
    """blocking, threads, prefork: a read that finds nothing and sleeps; a switch, the rest of that read, a write."""
    served = min(load.active_clients, serves)
    switch: Work = {"switch_ns": 1}
    if processes:
        switch["process_switch_ns"] = 1 - 1 / served  # to the process that ran last it costs nothing more
    return Shape(
        passing=lambda _ready: {},
        request=add({"read_ns": 1, "read_byte_ns": load.request_bytes}, _write(load)),
        after=call(read_empty_ns=1, sleep_ns=1),
        switch=switch,
        merged=_write(load),
        sleeps_each=True,
        serves=serves,
        cpus=serves,
    )


def _asks_all(load: Load) -> Shape:
    """nonblocking: a pass asks the listener and every connection; those that have nothing answer EAGAIN."""
    return Shape(
        passing=lambda ready: times(call(read_empty_ns=1, error_ns=1), max(0.0, load.clients + 1 - ready)),
        request=add(_read(load), _write(load)),
        merged=_joined(load),
        burns=True,
        cpus=1,
    )


def _scans_all(load: Load, once: Work, scan: Work, answered: Work) -> Shape:
    """select, poll: every pass looks at all n descriptors, and adds wait-queue entries until the first ready one (at
    position (n + 1) / (ready + 1) on average, if any may be ready); after a sleep it looks at all of them again."""
    n = load.clients + 1

    def passing(ready: float) -> Work:
        entries = (n + 1) / (ready + 1) if ready else n
        found: Work = {"register_ns": entries}
        found |= {"unregister_ns": entries, **answered} if ready else {"sleep_ns": 1}
        return add(call(turn_ns=1, **once), scan, found)

    return Shape(
        passing=passing,
        request=add({"event_ns": 1}, _read(load), _write(load)),
        merged=_joined(load),
        again=add(scan, {"unregister_ns": n}, answered),
        switch={"switch_ns": 1},
        cpus=1,
    )


def _ready_list(load: Load, *, edge: bool) -> Shape:
    """epoll: a call costs what is ready. Level-triggered, an item is polled once more at the next call, unless it is
    ready again; edge-triggered, the connection is read until EAGAIN."""
    return Shape(
        passing=lambda ready: call(turn_ns=1, epoll_wait_ns=1, **({} if ready else {"sleep_ns": 1})),
        request=add({"epoll_event_ns": 1, "event_ns": 1}, _read(load), _write(load)),
        after=call(read_empty_ns=1, error_ns=1) if edge else {},
        stale={} if edge else {"epoll_recheck_ns": 1},
        merged=_joined(load),
        switch={"switch_ns": 1},
        cpus=1,
    )


def _read(load: Load) -> Work:
    return call(read_ns=1, read_byte_ns=load.request_bytes)


def _write(load: Load) -> Work:
    """Framing and answering, and a reply whose protocol input the sender pays (loopback). The client spins: nobody is
    woken."""
    return {"request_ns": 1, **call(write_ns=1, write_byte_ns=load.response_bytes, input_ns=1)}


def _joined(load: Load) -> Work:
    """A reply that goes out with another one, in one write."""
    return {"request_ns": 1, "read_byte_ns": load.request_bytes, "write_byte_ns": load.response_bytes}


def call(**work: float) -> Work:
    """The work of one system call: entry, the runtime's share, and its own."""
    return {"entry_ns": 1, "call_ns": 1, **work}


def add(*works: Work) -> Work:
    """The sum of these."""
    total: Work = {}
    for work in works:
        for figure, units in work.items():
            total[figure] = total.get(figure, 0) + units
    return total


def times(work: Work, factor: float) -> Work:
    """So many times that work."""
    return {figure: units * factor for figure, units in work.items()}
