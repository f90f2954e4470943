"""The figures of the language runtime: what it is, what it adds to a call in user mode, and its interpreter lock."""

from typing import Literal

from pydantic import Field

from iosim.checked import Checked
from iosim.figures import Figure, cost, delay

Runtime = Literal["c", "cpython", "asyncio", "asyncio_streams", "uvloop"]
"""Without an interpreter; the models driven by ``iosim.real``; an event loop of Python on one of the two libraries."""
IN_C = "0: a server written in C"
CEVAL = "CPython 3.11, Python/ceval_gil.h"


class RuntimeCosts(Checked):
    """What user space adds, and whether its threads share an interpreter."""

    runtime: Runtime = Field("c", description="under any but c, the threads of a process share one interpreter lock")
    runtimes: dict[str, dict[str, Figure]] = Field(
        default_factory=dict, description="runtime → its figures, where they are not those of this list"
    )
    call_ns: Figure = cost(0, "user", "runtime", "the runtime's share of one system call (interpreter, driver)", IN_C)
    event_ns: Figure = cost(0, "user", "runtime", "the runtime's share of one returned event", IN_C)
    descriptor_ns: Figure = cost(
        0, "user", "runtime", "the runtime's share of one descriptor that select is handed", IN_C
    )
    pollfd_ns: Figure = cost(0, "user", "runtime", "the runtime's share of one pollfd that poll is handed", IN_C)
    turn_ns: Figure = cost(
        0, "user", "runtime", "the runtime's share of one turn of its event loop, above call_ns", IN_C
    )
    error_ns: Figure = cost(0, "user", "runtime", "the runtime's share of one call that fails, above call_ns", IN_C)
    select_call_ns: Figure = cost(
        0, "user", "runtime", "the runtime's share of one select, above call_ns: bitmaps are made and read", IN_C
    )
    request_ns: Figure = cost(0, "user", "runtime", "framing and answering one request", IN_C)
    lock_wait_ns: Figure = cost(
        1000, "system", "interpreter lock", "wait for the interpreter's lock: one futex, up to the sleep", "estimate: "
        "entry, sleep and the condition variable's own work"
    )  # fmt: skip
    lock_wake_ns: Figure = cost(
        1000,
        "system",
        "interpreter lock",
        "let a thread know that the lock is free: one futex",
        "estimate: entry, wake",
    )
    switch_interval_ns: Figure = delay(
        5_000_000,
        "how long a thread waits for the interpreter's lock before it asks the holder to let go",
        f"sys.getswitchinterval(); {CEVAL}",
    )
