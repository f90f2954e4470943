"""What signals cost."""

from pydantic import Field

from iosim.checked import Checked
from iosim.figures import Figure, cost

MEASURED = "measured in C on a 2-vCPU KVM guest (Linux 6.18), ±20 %"


class SignalCosts(Checked):
    """Prices of signal-driven I/O."""

    signal_call_ns: Figure = cost(
        0, "user", "runtime", "the runtime's share of one wait for a signal, above call_ns", "0: a server written in C"
    )
    signal_owner_ns: Figure = cost(170, "system", "registration", "F_SETOWN: find a process, above fcntl_ns", MEASURED)
    signal_arm_ns: Figure = cost(
        350, "system", "registration", "F_SETFL sets O_ASYNC: allocate, enlist, above fcntl_ns", MEASURED
    )
    signal_send_ns: Figure = cost(
        740, "softirq", "signals", "allocate one signal, queue it, look whom to wake", MEASURED
    )
    signal_wait_ns: Figure = cost(95, "system", "readiness call", "sigwaitinfo, above entry", MEASURED)
    signal_take_ns: Figure = cost(170, "system", "signals", "dequeue one signal, free it, copy its siginfo", MEASURED)
    fasync_bytes: int = Field(
        112, ge=0, description="what O_ASYNC adds to a socket: fasync_struct (48), fown_struct (64)"
    )
    signal_bytes: int = Field(80, ge=0, description="kernel memory of one queued signal")
