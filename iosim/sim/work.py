"""Work and its price: what a handler reports, and the nanoseconds that Costs makes of it.

Work is a flat tuple (kind, units, kind, units, …); a kind is the position of a figure in ``Costs``. Equal work at an
equal price is met again and again, so a price is computed once and then counted: that is what makes pricing cheap.
"""

from typing import Final, NamedTuple

from iosim.costs import CAUSES, FIGURES, IDLE_FIGURES, Costs
from iosim.figures import Cause

Work = tuple[int, ...]
NO_WORK: Final[Work] = ()
KIND = {name: kind for kind, name in enumerate(FIGURES)}
COMPUTE: Final = len(FIGURES)
"""The application's own work: one unit is one nanosecond."""
KIND_NAMES = (*FIGURES, "compute")
CAUSE_OF: dict[int, Cause] = {
    **{KIND[name]: cause for name, cause in CAUSES.items()},
    COMPUTE: Cause("user", "compute"),
}
MEMO_LIMIT: Final = 4096

CALL: Final = KIND["call_ns"]
EVENT: Final = KIND["event_ns"]
DESCRIPTOR: Final = KIND["descriptor_ns"]
REQUEST: Final = KIND["request_ns"]
ENTRY: Final = KIND["entry_ns"]
FCNTL: Final = KIND["fcntl_ns"]
SOCKET: Final = KIND["socket_ns"]
ACCEPT: Final = KIND["accept_ns"]
CLOSE: Final = KIND["close_ns"]
READ: Final = KIND["read_ns"]
READ_EMPTY: Final = KIND["read_empty_ns"]
READ_BYTE: Final = KIND["read_byte_ns"]
WRITE: Final = KIND["write_ns"]
WRITE_FULL: Final = KIND["write_full_ns"]
WRITE_BYTE: Final = KIND["write_byte_ns"]
INPUT: Final = KIND["input_ns"]
SELECT: Final = KIND["select_base_ns"]
SELECT_SCAN: Final = KIND["select_scan_ns"]
SELECT_WORD: Final = KIND["select_word_ns"]
SELECT_CALL: Final = KIND["select_call_ns"]
POLL: Final = KIND["poll_base_ns"]
POLL_SCAN: Final = KIND["poll_scan_ns"]
POLL_COPY: Final = KIND["poll_copy_ns"]
REGISTER: Final = KIND["register_ns"]
UNREGISTER: Final = KIND["unregister_ns"]
EPOLL_WAIT: Final = KIND["epoll_wait_ns"]
EPOLL_EVENT: Final = KIND["epoll_event_ns"]
EPOLL_RECHECK: Final = KIND["epoll_recheck_ns"]
EPOLL_ADD: Final = KIND["epoll_add_ns"]
EPOLL_MOD: Final = KIND["epoll_mod_ns"]
EPOLL_DEL: Final = KIND["epoll_del_ns"]
WAKE: Final = KIND["wake_ns"]
SLEEP: Final = KIND["sleep_ns"]
SWITCH: Final = KIND["switch_ns"]
PROCESS_SWITCH: Final = KIND["process_switch_ns"]
COLD: Final = KIND["cold_ns"]
ERROR: Final = KIND["error_ns"]
POLLFD: Final = KIND["pollfd_ns"]
TURN: Final = KIND["turn_ns"]
CLONE: Final = KIND["clone_ns"]
THREAD_EXIT: Final = KIND["thread_exit_ns"]
FORK: Final = KIND["fork_ns"]
LOCK_WAIT: Final = KIND["lock_wait_ns"]
LOCK_WAKE: Final = KIND["lock_wake_ns"]
EVENTFD_CREATE: Final = KIND["eventfd_create_ns"]
EVENTFD_READ: Final = KIND["eventfd_read_ns"]
EVENTFD_WRITE: Final = KIND["eventfd_write_ns"]
FUTEX_CALL: Final = KIND["futex_call_ns"]
FUTEX_WAIT: Final = KIND["futex_wait_ns"]
FUTEX_WAKE: Final = KIND["futex_wake_ns"]
UDP_SEND: Final = KIND["udp_send_ns"]
UDP_RECEIVE: Final = KIND["udp_receive_ns"]
UDP_INPUT: Final = KIND["udp_input_ns"]
SIGNAL_CALL: Final = KIND["signal_call_ns"]
SIGNAL_OWNER: Final = KIND["signal_owner_ns"]
SIGNAL_ARM: Final = KIND["signal_arm_ns"]
SIGNAL_SEND: Final = KIND["signal_send_ns"]
SIGNAL_WAIT: Final = KIND["signal_wait_ns"]
SIGNAL_TAKE: Final = KIND["signal_take_ns"]
AIO_HANDED: Final = KIND["aio_handed_ns"]
AIO_RETURNED: Final = KIND["aio_event_ns"]
AIO_FUNCTION: Final = KIND["aio_function_ns"]
IO_CALL: Final = KIND["io_call_ns"]
AIO_REQUEST: Final = KIND["aio_request_ns"]
AIO_CALL: Final = KIND["aio_call_ns"]
AIO_ENTRY: Final = KIND["aio_entry_ns"]
AIO_WALK: Final = KIND["aio_walk_ns"]
IO_SETUP: Final = KIND["io_setup_ns"]
IO_SUBMIT: Final = KIND["io_submit_ns"]
IO_POLL: Final = KIND["io_poll_ns"]
IO_GETEVENTS: Final = KIND["io_getevents_ns"]
IO_EVENT: Final = KIND["io_event_ns"]
URING_SQE: Final = KIND["uring_sqe_ns"]
URING_COLD: Final = KIND["uring_cold_ns"]
URING_CALL: Final = KIND["uring_call_ns"]
URING_SETUP: Final = KIND["uring_setup_ns"]
URING_ENTER: Final = KIND["uring_enter_ns"]
URING_OP: Final = KIND["uring_op_ns"]
URING_FIRST: Final = KIND["uring_first_ns"]
URING_ARM: Final = KIND["uring_arm_ns"]
URING_TASK: Final = KIND["uring_task_ns"]
URING_BUFFER: Final = KIND["uring_buffer_ns"]
URING_RECV: Final = KIND["uring_recv_ns"]
URING_SEND: Final = KIND["uring_send_ns"]
URING_SQ_PASS: Final = KIND["uring_sq_pass_ns"]


BRINGS: Final = {SELECT_CALL: TURN, POLL: TURN, EPOLL_WAIT: TURN, URING_FIRST: URING_COLD}
"""Work that always comes with other work, in as many units: what the runtime does about it."""


class Part(NamedTuple):
    """One line of a bill."""

    kind: int
    units: int
    ns: int


class Priced:
    """A bill: the parts of some work, their sum, and how often it was paid. ``kept`` says that an account knows it and
    will fold its count in; any other bill is booked when it is paid."""

    __slots__ = ("count", "kept", "ns", "parts")

    def __init__(self, parts: tuple[Part, ...], *, kept: bool = False) -> None:
        self.parts = parts
        self.ns = sum(part.ns for part in parts)
        self.count = 0
        self.kept = kept

    def joined(self, other: "Priced") -> "Priced":
        """One bill of both, in this order."""
        return Priced(self.parts + other.parts)

    def halves(self) -> tuple["Priced", "Priced"]:
        """What of it is paid in user mode, and the rest."""
        user = [part for part in self.parts if CAUSE_OF[part.kind].owner == "user"]
        rest = [part for part in self.parts if CAUSE_OF[part.kind].owner != "user"]
        return Priced(tuple(user)), Priced(tuple(rest))

    def split(self, elapsed_ns: int) -> tuple["Priced", "Priced"]:
        """What was paid after ``elapsed_ns``, and what is still to pay. The first keeps the units of a cut part, but
        for the passes of a polling thread: of those the rest may never be done."""
        head: list[Part] = []
        tail: list[Part] = []
        for part in self.parts:
            if elapsed_ns >= part.ns:
                head.append(part)
            elif elapsed_ns > 0:
                done = part.units if part.kind != URING_SQ_PASS else part.units * elapsed_ns // part.ns
                head.append(Part(part.kind, done, elapsed_ns))
                tail.append(Part(part.kind, part.units - done, part.ns - elapsed_ns))
            else:
                tail.append(part)
            elapsed_ns = max(0, elapsed_ns - part.ns)
        return Priced(tuple(head)), Priced(tuple(tail))


def idle_level(idle_ns: int) -> int:
    """8 log2(idle_ns), from below, by straight lines between powers of two: whole numbers, so that few prices have to
    be kept and every machine finds the same."""
    if idle_ns < 8:
        return 0
    bits = idle_ns.bit_length()
    return 8 * (bits - 1) + (idle_ns >> bits - 4 & 7)


class Rates:
    """The cost table at the present number of sockets, in integer picoseconds per unit."""

    def __init__(self, costs: Costs) -> None:
        self.costs = costs
        self.sockets = 0
        self.switch_interval_ns = self.ns_of("switch_interval_ns")
        self._exit_ns = None if isinstance(costs.idle_exit_ns, tuple) else self.ns_of("idle_exit_ns")
        """idle-exit where it is the same after any idleness."""
        self._exits: dict[int, int] = {}
        """idle-exit by level of idleness."""
        self._tiered = any(isinstance(getattr(costs, name), tuple) for name in set(FIGURES) - set(IDLE_FIGURES))
        self._valid_to = 0
        self._valid_from = 1
        self.accounts: list[Account] = []
        self.ps: list[int] = []
        self._refresh()

    def ns_of(self, figure: str) -> int:
        """A figure as whole nanoseconds: the delays, which are no work."""
        return round(self.costs.at(figure, max(1, self.sockets)))

    def after_idling_ns(self, figure: str, level: int) -> int:
        """One of IDLE_FIGURES for a CPU that was idle for 2^(level / 8) ns: see ``idle_level``."""
        return round(self.costs.at(figure, max(1.0, 2 ** (level / 8) / 1000)))

    def idle_exit_ns(self, idle_ns: int) -> int:
        """How long a CPU that was idle for so long takes until it runs a thread."""
        if self._exit_ns is not None:
            return self._exit_ns
        level = idle_level(idle_ns)
        exit_ns = self._exits.get(level)
        if exit_ns is None:
            exit_ns = self._exits[level] = self.after_idling_ns("idle_exit_ns", level)
        return exit_ns

    def opened(self) -> None:
        """A socket more. The table is read anew whenever their number has changed by a twentieth."""
        self.sockets += 1
        if self._tiered and self.sockets > self._valid_to:
            self._refresh()

    def closed(self) -> None:
        """A socket less."""
        self.sockets -= 1
        if self._tiered and self.sockets < self._valid_from:
            self._refresh()

    def _refresh(self) -> None:
        sockets = max(1, self.sockets)
        self._valid_from, self._valid_to = int(sockets / 1.05), int(sockets * 1.05)
        self.ps = [round(self.costs.at(name, sockets) * 1000) for name in FIGURES] + [1000]
        for account in self.accounts:
            account.forget()


class Account:
    """One CPU's books: every bill it has paid, by kind. Bills are kept by work and priced once."""

    def __init__(self, rates: Rates) -> None:
        self._rates = rates
        self._units = [0] * len(KIND_NAMES)
        self._ns = [0] * len(KIND_NAMES)
        self.calls: dict[Work, Priced] = {}
        """Bills of a call from its entry on, by the work that its handler reported."""
        self.others: dict[Work, Priced] = {}
        """Bills of work inside a call or outside of any."""
        rates.accounts.append(self)

    def price_call(self, work: Work) -> Priced:
        """The bill of a call: the runtime's share, entry and exit, and the handler's work."""
        return self.calls.get(work) or self._keep(self.calls, work, (CALL, 1, ENTRY, 1, *work))

    def price(self, work: Work) -> Priced:
        """The bill of other work: a handler that goes on after a sleep, a context switch, protocol input."""
        return self.others.get(work) or self._keep(self.others, work, work)

    def pay(self, bill: Priced) -> None:
        """Book a bill."""
        if bill.kept:
            bill.count += 1
            return
        for kind, units, ns in bill.parts:
            self._units[kind] += units
            self._ns[kind] += ns

    def totals(self) -> tuple[list[int], list[int]]:
        """(units, ns) by kind, up to now."""
        self._fold(self.calls)
        self._fold(self.others)
        return list(self._units), list(self._ns)

    def forget(self) -> None:
        """The prices have changed: book what was counted, price anew from now on."""
        for memo in (self.calls, self.others):
            self._fold(memo)
            for bill in memo.values():
                bill.kept = False
            memo.clear()

    def _keep(self, memo: dict[Work, Priced], work: Work, whole: Work) -> Priced:
        if len(memo) >= MEMO_LIMIT:
            self.forget()
        kinds = iter(whole)
        parts = []
        for kind, units in zip(kinds, kinds, strict=True):
            if kind in BRINGS:
                parts.append(self._part(BRINGS[kind], units))
            parts.append(self._part(kind, units))
        bill = memo[work] = Priced(tuple(parts), kept=True)
        return bill

    def _part(self, kind: int, units: int) -> Part:
        if kind == COLD:  # its tiers go by the idle time, whose level stands for the units
            return Part(COLD, 1, self._rates.after_idling_ns("cold_ns", units))
        return Part(kind, units, (self._rates.ps[kind] * units + 500) // 1000)

    def _fold(self, memo: dict[Work, Priced]) -> None:
        for bill in memo.values():
            if count := bill.count:
                bill.count = 0
                for kind, units, ns in bill.parts:
                    self._units[kind] += units * count
                    self._ns[kind] += ns * count
