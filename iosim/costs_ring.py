"""What io_uring costs: the prices of its own work, and of a recv and a send inside it.

A system call's kernel entry leaves cold code behind (branch predictors are flushed), and ``read_ns`` and ``write_ns``
contain that. Of a batch only the first operation meets it: hence prices of their own here, and ``uring_first_ns``.
"""

from iosim.checked import Checked
from iosim.figures import Figure, cost

HERE = "measured here in C: 16 loopback sockets in one thread, means of 3000 rounds, AMD EPYC guest, Linux 6.18, ±20 %"

CROWD = "of 512 sockets a request took 290 more than of 16 or 128, beyond what it took epoll more: half of it here"


class RingCosts(Checked):
    """io_uring's part of the price list."""

    uring_sqe_ns: Figure = cost(
        0, "user", "runtime", "the runtime's share of one operation prepared for a ring", "0: a server in C"
    )
    uring_call_ns: Figure = cost(
        0, "user", "runtime", "the runtime's share of one io_uring_enter, above call_ns", "0: a server in C"
    )
    uring_cold_ns: Figure = cost(
        0, "user", "runtime", "the runtime's share of what uring_first_ns is for the kernel", "0: a server in C"
    )
    uring_setup_ns: Figure = cost(
        30_000, "system", "registration", "io_uring_setup, io_uring_register: pages and their mappings", "estimate"
    )
    uring_enter_ns: Figure = cost(
        60, "system", "readiness call", "io_uring_enter, above entry", HERE + ": empty enter 280, getppid 215"
    )
    uring_op_ns: Figure = cost(
        ((128, 90.0), (512, 170.0)),
        "system",
        "ring",
        "take one submission, post its completion",
        HERE + ": no-op in a batch of 32: 88; " + CROWD,
    )
    uring_first_ns: Figure = cost(
        400,
        "system",
        "ring",
        "the first operation after an entry or a sleep finds cold code; those behind it do not",
        HERE
        + ": one operation alone less one of 16, less the call: send 450, recv 610, arm 330, task work 530, no-op 135",
    )
    uring_arm_ns: Figure = cost(
        420,
        "system",
        "registration",
        "try one operation in vain, arm its internal poll",
        HERE + ": 533 with a no-op and the call",
    )
    uring_task_ns: Figure = cost(
        ((128, 50.0), (512, 180.0)),
        "system",
        "ring",
        "one piece of task work, above what it does",
        HERE + ": 553 with its recv and the call; " + CROWD,
    )
    uring_buffer_ns: Figure = cost(
        130, "system", "ring", "pick a provided buffer for one arrival of a multishot recv", HERE + ": 684 less 553"
    )
    uring_recv_ns: Figure = cost(
        1050,
        "system",
        "network stack",
        "recv that finds data, inside a ring",
        "read_ns less 50: " + HERE + ": 540 in a ring, 586 above entry as a system call",
    )
    uring_send_ns: Figure = cost(
        800,
        "system",
        "network stack",
        "send of one message, inside a ring",
        "write_ns less 500: " + HERE + ": 3753 with protocol input, 4266 above entry as a system call",
    )
    uring_sq_pass_ns: Figure = cost(
        200, "system", "sq polling", "the kernel's thread looks at its submission queue once, in vain", "estimate"
    )
