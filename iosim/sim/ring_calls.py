"""io_uring."""

from iosim.sim.aio_calls import AioCalls


class RingCalls(AioCalls):
    """io_uring."""
