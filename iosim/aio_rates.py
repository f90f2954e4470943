"""What asynchronous I/O costs on this host: what the figures of ``iosim.costs_aio`` are.

*Measures*: io_submit of polls that hold already, io_getevents of what is done, and Python's share of an iocb: a
submission to no context pays for that alone. *Does not measure*: glibc's lists, io_setup, polls that wait, and what
io_submit and io_getevents of none cost in C: there the defaults stand.
"""

from iosim.costs import Costs
from iosim.fits import Figures, Round, fitted
from iosim.primitives import BATCH, FEW_CALLS, MESSAGE, READY, Bench, Rounds
from iosim.real.abilities import linux_aio, posix_aio
from iosim.syscalls import IOCB_CMD_POLL, POLLIN, Aiocb, Iocb, aio_error, io_getevents, io_submit

NO_CONTEXT = 1
_SIZES = f"{READY[0]} to {READY[-1]} ready polls"


class AioBench:
    """A context, and the probes on some connections of a Bench. Raises OSError where the host cannot do it."""

    def __init__(self, bench: Bench) -> None:
        if reason := linux_aio() or posix_aio():
            raise OSError(reason)
        self._bench = bench
        self._context = bench.kernel.io_setup(FEW_CALLS * READY[-1])
        self._polls = [Iocb(IOCB_CMD_POLL, fd, POLLIN) for fd in bench.near[: READY[-1]]]

    def round(self) -> None:
        """Every probe once."""
        bench = self._bench
        for far in bench.far[: READY[-1]]:
            bench.kernel.write(far, MESSAGE)
        for ready in READY:
            polls = self._polls[:ready]
            bench.time(f"io submit nowhere {ready}", io_submit, [(NO_CONTEXT, polls)] * FEW_CALLS)
            bench.time(f"io submit {ready}", io_submit, [(self._context, polls)] * FEW_CALLS)
            bench.time(f"io getevents {ready}", io_getevents, [(self._context, ready, ready)] * FEW_CALLS)
        for near in bench.near[: READY[-1]]:
            bench.kernel.read(near)
        bench.time("aio_error", aio_error, [(Aiocb(bench.near[0], bytearray(1)),)] * BATCH)


def aio_figures(rounds: Rounds, hot: Figures) -> Figures:
    """The figures of the rounds; ``hot`` are those of the calls."""
    call_ns = hot["call_ns"].ns
    trap_ns = hot["entry_ns"].ns + call_ns
    default = Costs()
    each = [Round(rounds, number) for number in range(len(rounds["aio_error"]))]
    in_c_ns = default.at("io_submit_ns") + default.at("io_getevents_ns")
    handed = fitted([r.slope("io submit nowhere", READY) for r in each], "io_submit of 1 to 32 to no context, per iocb")
    return {
        "aio_handed_ns": handed,
        "io_call_ns": fitted(
            [(r.at_zero("io submit", READY) + r.at_zero("io getevents", READY) - in_c_ns) / 2 - trap_ns for r in each],
            "io_submit and io_getevents of none, above two calls and what they cost in C (the defaults)",
        ),
        "aio_function_ns": fitted(
            [r["aio_error"] - call_ns - default.at("aio_call_ns") for r in each], "aio_error, above call_ns"
        ),
        "aio_event_ns": fitted(
            [r.slope("io getevents", READY) - default.at("io_event_ns") for r in each],
            f"io_getevents of {_SIZES}, per event",
        ),
        "io_poll_ns": fitted(
            [r.slope("io submit", READY) - handed.ns for r in each], f"io_submit of {_SIZES}, per poll"
        ),
    }
