"""What threads tell each other with: eventfd, futex."""

from iosim.checked import Checked
from iosim.figures import Figure, cost

HERE = "measured here: median of 15 loops of 50,000 calls in C, on a 2-vCPU KVM guest (Linux 6.18), less entry_ns"


class SyncCosts(Checked):
    """Prices above entry; whom a call wakes costs ``wake_ns`` more, and who sleeps ``sleep_ns``."""

    eventfd_create_ns: Figure = cost(1000, "system", "hand-over", "make an eventfd", HERE + "; half of it is its close")
    eventfd_read_ns: Figure = cost(40, "system", "hand-over", "read an eventfd's counter", HERE)
    eventfd_write_ns: Figure = cost(50, "system", "hand-over", "add to an eventfd's counter", HERE)
    futex_call_ns: Figure = cost(
        0, "user", "runtime", "the runtime's share of one futex call, above call_ns", "0: a server in C"
    )
    futex_wait_ns: Figure = cost(75, "system", "hand-over", "compare the word, find its queue", HERE)
    futex_wake_ns: Figure = cost(15, "system", "hand-over", "find the word's queue", HERE)
