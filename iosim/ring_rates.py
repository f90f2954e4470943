"""What io_uring costs on this host: batches of operations on a ring, and what the figures of ``iosim.costs_ring`` are.

*Measures*: the call itself, apart from what Python does to fill and read the queues, which is the runtime's share.
*Does not measure*: ``uring_setup_ns``, ``uring_sq_pass_ns``, and how operations grow dearer in a crowd.
"""

import os
from collections.abc import Callable
from typing import Any

from iosim.costs import Costs
from iosim.fits import TINY_NS, Figures, Fitted, fitted
from iosim.primitives import BARE_CALLS, MESSAGE, Bench, Rounds, clock
from iosim.real.uring import ENTER, GETEVENTS, Memory, call
from iosim.syscalls import IORING_SETUP_DEFER_TASKRUN, IORING_SETUP_SINGLE_ISSUER, Ring, io_uring_enter

BATCH = 16
"""Operations of one call: fewer than a call's share of task work."""
BUFFERS = 64
GETPPID = {"x86_64": 110, "aarch64": 173}
WARM = 2


class RingBench:
    """A ring, and the probes on some connections of a Bench. Raises OSError where the host forbids io_uring."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._near, self._far = bench.near[:BATCH], bench.far[:BATCH]
        flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN
        self._ring: Ring = bench.kernel.io_uring_setup(64, flags)
        bench.kernel.io_uring_register(self._ring, BUFFERS, len(MESSAGE))
        assert isinstance(self._ring.memory, Memory)
        self._memory = self._ring.memory
        self._latest: dict[str, float] = {}

    def round(self) -> None:
        """Every probe once: ns per call of the kernel's part ("ring …"), and of Python's ("ring … prepared")."""
        ring, near, far = self._ring, self._near, self._far
        for _ in range(WARM + 1):  # only the last is kept
            self._probe("nop", lambda fd: ring.prep_nop(fd), near, len(near))
            for count, label in ((BATCH, ""), (1, " one")):
                self._ask(far[:count])
                self._probe(f"recv{label}", lambda fd: ring.prep_recv(fd, fd), near[:count], count)
                self._probe(f"send{label}", lambda fd: ring.prep_send(fd, MESSAGE, fd), near[:count], count)
                self._answered(far[:count])
            self._probe("arm", lambda fd: ring.prep_recv(fd, fd), near, 0)
            self._ask(far)
            self._probe("task", None, near, len(near))
            self._probe("send", lambda fd: ring.prep_send(fd, MESSAGE, fd), near, len(near))
            self._answered(far)
            self._probe("multishot", lambda fd: ring.prep_recv(fd, fd, multishot=True), near, 0)
            self._ask(far)
            self._probe("multishot task", None, near, len(near))
            self._probe("send", lambda fd: ring.prep_send(fd, MESSAGE, fd), near, len(near))
            self._answered(far)
            self._probe("cancel", lambda fd: ring.prep_cancel(fd, fd), near, 2 * len(near))
        self._bench.time("ring through driver", io_uring_enter, [(ring,)] * 40)
        arguments = (self._memory.fd, 0, 0, GETEVENTS, 0, 0)
        for probe, number, given in (
            ("ring none", ENTER, arguments),
            ("ring twin", GETPPID[os.uname().machine], arguments),
        ):
            start = clock()
            for _ in range(BARE_CALLS):
                call(number, *given)
            self._note(probe, (clock() - start - self._bench.clock_ns) / BARE_CALLS)
        for probe, ns in self._latest.items():
            self._bench.rounds[probe].append(ns)

    def _probe(self, name: str, prepare: Callable[[int], Any] | None, fds: list[int], awaited: int) -> None:
        clock_ns, memory, ring = self._bench.clock_ns, self._memory, self._ring
        begun = clock()
        for fd in fds if prepare is not None else ():
            assert prepare is not None
            prepare(fd)
        memory.publish(ring.submissions)
        start = clock()
        call(ENTER, memory.fd, memory.unsubmitted(), awaited, GETEVENTS, 0, 0)
        end = clock()
        cqes = memory.reap(2 * BATCH)
        reaped = clock()
        for cqe in cqes:
            if cqe.flags & 1:
                ring.give_back(cqe)
        self._note(f"ring {name}", end - start - clock_ns)
        self._note(f"ring {name} prepared", (start - begun + reaped - end - 2 * clock_ns) / len(fds))

    def _note(self, probe: str, ns: float) -> None:
        self._latest[probe] = ns

    def _ask(self, far: list[int]) -> None:
        for fd in far:
            os.write(fd, MESSAGE)

    def _answered(self, far: list[int]) -> None:
        for fd in far:
            os.read(fd, 4096)


def ring_figures(rounds: Rounds, hot: Figures, settled: Figures) -> Figures:
    """The figures of the rounds. A recv and a send save in a ring what they save hot; ``settled`` is what they cost as
    calls of a server."""

    def each(batch: str) -> list[float]:
        """ns per operation of a batch, above the call."""
        pairs = zip(rounds[f"ring {batch}"], rounds["ring none"], strict=True)
        return [(whole - none) / BATCH for whole, none in pairs]

    def figure(values: list[float], less_ns: float, how: str) -> Fitted:
        return fitted([value - less_ns for value in values], how)

    middle = {name: fitted(each(name)).ns for name in ("nop", "recv", "send", "task")}
    trap_ns = hot["entry_ns"].ns + hot["call_ns"].ns
    enters = [a - b for a, b in zip(rounds["ring none"], rounds["ring twin"], strict=True)]
    enter = fitted(enters, "io_uring_enter of nothing less getppid(2), both by ctypes")
    bytes_ns = len(MESSAGE) * (hot["read_byte_ns"].ns + hot["write_byte_ns"].ns) / 2
    saved_recv_ns = hot["read_ns"].ns - (middle["recv"] - middle["nop"] - bytes_ns)
    sent_ns = hot["write_ns"].ns + hot["input_ns"].ns
    saved_send_ns = sent_ns - (middle["send"] - middle["nop"] - bytes_ns)
    saved = "as the call, less what a batch of 16 saves of it hot"
    firsts = [
        (one_recv + one_send) / 2 - none - (middle["recv"] + middle["send"]) / 2
        for one_recv, one_send, none in zip(
            rounds["ring recv one"], rounds["ring send one"], rounds["ring none"], strict=True
        )
    ]
    first = _first((saved_recv_ns + saved_send_ns) / 2)
    prepared = [
        (recv + send) / 2 for recv, send in zip(rounds["ring recv prepared"], rounds["ring send prepared"], strict=True)
    ]
    return {
        "uring_sqe_ns": fitted(prepared, "filling and reading the queues by ctypes, recv and send in batches of 16"),
        "uring_call_ns": figure(
            rounds["ring through driver"],
            trap_ns + enter.ns,
            "io_uring_enter of nothing, above one call and the kernel",
        ),
        "uring_enter_ns": enter,
        "uring_op_ns": figure(each("nop"), 0, "no-op in a batch of 16"),
        "uring_first_ns": first,
        "uring_cold_ns": figure(firsts, first.ns, "a recv or a send alone less one of 16, less uring_first_ns"),
        "uring_arm_ns": figure(each("arm"), middle["nop"], "recv of nothing in a batch of 16, less no-op"),
        "uring_task_ns": figure(
            each("task"), middle["recv"] - middle["nop"], "armed recvs completed in a batch of 16, less the recv"
        ),
        "uring_buffer_ns": figure(each("multishot task"), middle["task"], "the same, multishot, less without"),
        "uring_recv_ns": _less(settled["read_ns"], saved_recv_ns, saved),
        "uring_send_ns": _less(settled["write_ns"], saved_send_ns, saved),
    }


def crowded(figures: Figures) -> dict[str, list[tuple[float, float]]]:
    """The figures that grow with the sockets, as tiers: measured with 16, they grow as those of the default table."""
    grown = {}
    for name in ("uring_op_ns", "uring_task_ns"):
        usual = getattr(Costs(), name)
        grown[name] = [(sockets, figures[name].ns + ns - usual[0][1]) for sockets, ns in usual]
    return grown


def _first(saved_ns: float) -> Fitted:
    """Of what an operation alone costs more than one of a batch, the interpreter has the most. The kernel's part is the
    cold code that a batch saves the others, and grows with what it saves."""
    usual = Costs()
    usually_saved_ns = (
        usual.at("read_ns") - usual.at("uring_recv_ns") + usual.at("write_ns") - usual.at("uring_send_ns")
    ) / 2
    how = "what a batch of 16 saves of a call, times the default table's uring_first_ns by what is saved there"
    return Fitted(max(TINY_NS, saved_ns * usual.at("uring_first_ns") / usually_saved_ns), 0.0, how)


def _less(figure: Fitted, saved_ns: float, how: str) -> Fitted:
    return Fitted(max(TINY_NS, figure.ns - saved_ns), figure.spread, how)
