"""What asynchronous I/O costs: glibc's helper-thread library, and the calls of Linux AIO."""

from iosim.checked import Checked
from iosim.figures import Figure, cost

HERE = "measured here by a C program that calls it 1000 times hot (2-vCPU KVM guest, Linux 6.18, glibc 2.36, ±20 %)"


class AioCosts(Checked):
    """Prices of asynchronous I/O."""

    aio_handed_ns: Figure = cost(
        0,
        "user",
        "runtime",
        "the runtime's share of one control block handed to aio_suspend or io_submit",
        "0: a server in C",
    )
    aio_request_ns: Figure = cost(
        100, "user", "library", "glibc enqueues or finishes one request: lock, lists, unlock", "estimate: two locks"
    )
    aio_call_ns: Figure = cost(10, "user", "library", "aio_error, aio_return: lock, look, unlock", HERE + ": 8 to 13")
    aio_entry_ns: Figure = cost(
        3, "user", "library", "aio_suspend looks at one entry of its list, in one of its two passes", HERE
    )
    aio_walk_ns: Figure = cost(
        1.4,
        "user",
        "library",
        "glibc passes one request under way on its way to another, in a list sorted by descriptor",
        HERE + ": aio_suspend over 64, 128, 200 requests takes 2.9, 11.4, 29 µs",
    )
    io_setup_ns: Figure = cost(45_000, "system", "control", "io_setup or io_destroy, above entry", HERE)
    io_submit_ns: Figure = cost(200, "system", "readiness call", "io_submit, above entry and requests", HERE)
    io_poll_ns: Figure = cost(
        330,
        "system",
        "registration",
        "one IOCB_CMD_POLL: copy it, get the file, poll it, stand in its wait queue",
        HERE + ": 310 idle, 370 ready",
    )
    io_getevents_ns: Figure = cost(
        270, "system", "readiness call", "io_getevents, above entry", HERE + ": 165 with nothing to return"
    )
    io_event_ns: Figure = cost(6, "system", "readiness scan", "io_getevents copies one event of its ring", HERE)
