"""Asynchronous I/O: POSIX and Linux."""

from iosim.sim.signal_calls import SignalCalls


class AioCalls(SignalCalls):
    """Asynchronous I/O: POSIX and Linux."""
