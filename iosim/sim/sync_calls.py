"""eventfd, futex, and what is made of them."""

from iosim.sim.ring_calls import RingCalls


class SyncCalls(RingCalls):
    """eventfd, futex, and what is made of them."""
