"""Asynchronous I/O: POSIX and Linux."""

from iosim.real.signal_calls import SignalCalls


class AioCalls(SignalCalls):
    """Asynchronous I/O: POSIX and Linux."""
