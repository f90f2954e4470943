"""io_uring."""

from iosim.real.aio_calls import AioCalls


class RingCalls(AioCalls):
    """io_uring."""
