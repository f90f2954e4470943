"""From timed calls to figures of ``iosim.Costs``: which difference of which probes each figure is.

Every figure is a difference of two probes of the same round, so that what both pay cancels: driver, coroutine, Python's
wrapper, entry and exit. The runtime's share of a call is the cost of its *twin* (/dev/zero, /dev/null) less entry and
exit; what a twin does in the kernel (a descriptor look-up, a fence: up to some 80 ns) is the error of that split. It
moves time between the runtime's share and the kernel's, and never changes their sum.
"""

import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

from iosim.costs import Costs
from iosim.primitives import MESSAGE, READY, SELECTABLE, SIZES, Rounds
from iosim.runtime_share import EVENTS

TINY_NS = 0.01
"""No figure is less: a negative one is noise."""


class Fitted(NamedTuple):
    """A figure, its spread (half the distance of its quartiles, over it), and how it was come by."""

    ns: float
    spread: float
    how: str


Figures = dict[str, Fitted]


class Round:
    """The probes of one round, by name."""

    def __init__(self, rounds: Rounds, number: int) -> None:
        self._rounds, self._number = rounds, number

    def __getitem__(self, probe: str) -> float:
        return self._rounds[probe][self._number]

    # what the figures below are made of

    @property
    def entry(self) -> float:
        return self["getppid"] - self["no call"]

    @property
    def read_twin(self) -> float:
        """A read that finds 64 bytes in a buffer of 64 KiB, without a socket."""
        return self["read twin"] + self["read null"] - self["read null 64"]

    @property
    def trap(self) -> float:
        """One call that does nothing: runtime, entry and exit."""
        return (self.read_twin + self["write twin"]) / 2

    @property
    def error(self) -> float:
        """A call that fails at once, above one that does nothing."""
        return self["read closed"] - self.trap

    @property
    def select_call(self) -> float:
        """Bitmaps to and from, above one call that does nothing: what a select pays that fails at once."""
        return self["select closed"] - self["read closed"]

    def slope(self, probe: str, sizes: tuple[int, ...]) -> float:
        """ns per unit, from the smallest to the largest size."""
        first, last = sizes[0], sizes[-1]
        return (self[f"{probe} {last}"] - self[f"{probe} {first}"]) / (last - first)

    def at_zero(self, probe: str, sizes: tuple[int, ...]) -> float:
        return self[f"{probe} {sizes[0]}"] - sizes[0] * self.slope(probe, sizes)


def hot(rounds: Rounds, scanned: tuple[int, ...]) -> tuple[Figures, dict[str, list[tuple[float, float]]]]:
    """(figures, figures with tiers: (sockets, ns) each) from the rounds of ``iosim.primitives``."""
    all_rounds = [Round(rounds, number) for number in range(len(rounds["getppid"]))]
    fits = _fits(scanned) | _signal_fits() | _sync_fits()
    figures = {name: fitted([fit(each) for each in all_rounds], how) for name, (fit, how) in fits.items()}
    tiers = {}
    for name, tiered in _tiers(scanned).items():
        tiers[name] = [(float(count), fitted([fit(each) for each in all_rounds]).ns) for count, fit in tiered]
    return figures, tiers


def fitted(values: Sequence[float], how: str = "") -> Fitted:
    """The mean without the outer tenths, and the spread.

    Discussion: not the median. A virtual CPU often has two speeds (a neighbour on the same core: x 1.4), and a server
    that runs for seconds meets both; the mean of the rounds is what it pays.
    """
    ordered = sorted(values)
    cut, quarter = len(ordered) // 10, len(ordered) // 4
    middle = max(TINY_NS, statistics.mean(ordered[cut : len(ordered) - cut]))
    return Fitted(middle, (ordered[-1 - quarter] - ordered[quarter]) / 2 / middle, how)


def shares(*names: str) -> dict[str, float]:
    """How the default table divides what cannot be measured apart."""
    defaults = Costs()
    total = sum(defaults.at(name) for name in names)
    return {name: defaults.at(name) / total for name in names}


Fit = Callable[[Round], float]


def _fits(scanned: tuple[int, ...]) -> dict[str, tuple[Fit, str]]:
    above_trap = "above one call that does nothing"
    sent = shares("write_ns", "input_ns")
    thread = shares("clone_ns", "thread_exit_ns")
    waiting = shares("register_ns", "unregister_ns")
    return {
        "call_ns": (
            lambda r: r.trap - r.entry,
            "read of /dev/zero and write to /dev/null through the driver, less entry",
        ),
        "event_ns": (
            _event_ns,
            "epoll_loop on scripted answers, many events a wait, less blocking; and Python's tuple",
        ),
        "request_ns": (
            lambda r: r["serve blocking"] - r["read twin"] - r["write twin"],
            "blocking on scripted answers, less its two calls",
        ),
        "error_ns": (lambda r: r.error, f"read of a closed descriptor, {above_trap}"),
        "select_call_ns": (lambda r: r.select_call, "select of a closed descriptor less read of one"),
        "entry_ns": (lambda r: r.entry, "os.getppid less a C function without a call"),
        "socket_ns": (lambda r: r["socket"] - r.trap, f"socket and TCP_NODELAY, {above_trap}"),
        "accept_ns": (lambda r: r["accept"] - r.trap, f"accept4 of an established connection, {above_trap}"),
        "close_ns": (lambda r: r["close"] - r.trap, f"close of a connection whose peer is open, {above_trap}"),
        "read_ns": (
            lambda r: r["read few"] - r.read_twin - len(MESSAGE) * r.slope("read", SIZES),
            "read of 64 bytes less read of /dev/zero",
        ),
        "read_empty_ns": (
            lambda r: r["read empty"] - r["read closed"],
            "EAGAIN less EBADF",
        ),
        "read_byte_ns": (lambda r: r.slope("read", SIZES), _sizes_text("read")),
        "write_ns": (lambda r: sent["write_ns"] * _sent_ns(r), _sent_text("sending")),
        "input_ns": (lambda r: sent["input_ns"] * _sent_ns(r), _sent_text("the peer's input")),
        "write_full_ns": (
            lambda r: r["write full"] - r["write closed"],
            "EAGAIN less EBADF",
        ),
        "write_byte_ns": (lambda r: r.slope("write", SIZES), _sizes_text("write")),
        "select_base_ns": (
            lambda r: r.at_zero("select", scanned[:2]) - r.trap - r.select_call,
            f"select of none, {above_trap} and select_call_ns (reading the answer is in it)",
        ),
        "poll_base_ns": (lambda r: r.at_zero("poll", scanned[:2]) - r.trap, f"poll of none, {above_trap}"),
        "register_ns": (lambda r: waiting["register_ns"] * _registered_ns(r, scanned), _REGISTERED),
        "unregister_ns": (lambda r: waiting["unregister_ns"] * _registered_ns(r, scanned), _REGISTERED),
        "epoll_wait_ns": (
            lambda r: r.at_zero("epoll", READY) - r.trap,
            f"epoll_wait that finds some ready, without them, {above_trap}",
        ),
        "epoll_event_ns": (
            lambda r: r.slope("epoll", READY) - r["tuple"],
            f"epoll_wait with {READY[0]} to {READY[-1]} ready, per event, less Python's tuple",
        ),
        "epoll_recheck_ns": (
            lambda r: r.slope("epoll stale", READY),
            f"epoll_wait with {READY[0]} to {READY[-1]} listed and not ready, per item",
        ),
        "epoll_add_ns": (lambda r: r["epoll add"] - r.trap, f"EPOLL_CTL_ADD, {above_trap}"),
        "epoll_mod_ns": (lambda r: r["epoll mod"] - r.trap, f"EPOLL_CTL_MOD, {above_trap}"),
        "clone_ns": (lambda r: thread["clone_ns"] * r["thread"], _THREAD),
        "thread_exit_ns": (lambda r: thread["thread_exit_ns"] * r["thread"], _THREAD),
        "epoll_del_ns": (lambda r: r["epoll del"] - r.trap, f"EPOLL_CTL_DEL, {above_trap}"),
    }


def _sync_fits() -> dict[str, tuple[Fit, str]]:
    above_trap = "above one call that does nothing"
    return {
        "eventfd_create_ns": (lambda r: r["eventfd"] - r.trap, f"eventfd, {above_trap}"),
        "eventfd_read_ns": (lambda r: r["eventfd read"] - r.trap, f"read of an eventfd, {above_trap}"),
        "eventfd_write_ns": (lambda r: r["eventfd write"] - r["write twin"], "write to an eventfd less to /dev/null"),
        "futex_call_ns": (
            lambda r: r["futex wake"] - r.trap - _WAKE_NOBODY_NS,
            f"a futex call by ctypes that wakes nobody, {above_trap} and the default's futex_wake_ns",
        ),
    }


def _signal_fits() -> dict[str, tuple[Fit, str]]:
    return {
        "signal_call_ns": (
            lambda r: (
                r["serve sigio"]
                - r["serve blocking"]
                - (r["getpid"] - r.entry)
                + r["signal refused"]
                - r["read closed"]
            ),
            "sigio on scripted answers less blocking and one trap; and a wait refused less a read refused",
        ),
        "signal_owner_ns": (lambda r: r["signal owner"] - r["signal twin"], "F_SETOWN less F_SETFL"),
        "signal_arm_ns": (
            lambda r: r["signal arm"] - r["signal twin"],
            "F_SETFL with O_ASYNC less one without",
        ),
        "signal_send_ns": (
            lambda r: r["write signalled"] - r["write unsignalled"],
            "write of 64 bytes to a socket that raises a signal, less one to a socket that does not",
        ),
        "signal_wait_ns": (lambda r: r["signal none"] - r["signal refused"], "EAGAIN less EINVAL"),
        "signal_take_ns": (
            lambda r: r["signal one"] - (r["signal none"] - r.error) - r["siginfo"],
            "sigtimedwait that finds one less one that finds none, without the error and Python's siginfo",
        ),
    }


def _tiers(scanned: tuple[int, ...]) -> dict[str, list[tuple[int, Fit]]]:
    """Figures that depend on how many sockets share the cache."""

    def scan(call: str, count: int) -> Fit:
        return lambda r: (r[f"{call} {count}"] - r.at_zero(call, scanned[:2])) / count - _BESIDE_SCAN[call]

    tiers: dict[str, list[tuple[int, Fit]]] = {}
    for call in ("poll", "select"):
        counts = [count for count in scanned[1:] if call == "poll" or count <= SELECTABLE]
        tiers[f"{call}_scan_ns"] = [(count, scan(call, count)) for count in counts]
    return tiers


_REGISTERED = (
    "poll that the last descriptor ends at once, less poll with time-out 0, per descriptor; its share as in the "
    "default table"
)
_WAKE_NOBODY_NS = Costs().at("futex_wake_ns")
_THREAD = "a thread that ends at once, start to end; its share as in the default table"
_BESIDE_SCAN = {"poll": Costs().at("poll_copy_ns"), "select": Costs().at("select_word_ns") / 64}
"""What the table prices apart, per descriptor (the defaults are kept: too small to be told from the scan)."""


def _event_ns(r: Round) -> float:
    few, many = EVENTS
    without_wait = (many * r[f"serve epoll {many}"] - few * r[f"serve epoll {few}"]) / (many - few)
    return without_wait - r["serve blocking"] + r["tuple"]


def _sent_ns(r: Round) -> float:
    return r["write few"] - r["write twin"] - len(MESSAGE) * r.slope("write", SIZES)


def _registered_ns(r: Round, scanned: tuple[int, ...]) -> float:
    middle = scanned[len(scanned) // 2]
    return (r[f"poll wait {middle}"] - r[f"poll {middle}"]) / middle


def _sent_text(part: str) -> str:
    return f"write of 64 bytes on loopback less write to /dev/null; {part} has its share as in the default table"


def _sizes_text(call: str) -> str:
    return f"{call} of {SIZES[0]} to {SIZES[-1]} bytes, per byte"
