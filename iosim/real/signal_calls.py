"""Signals as a source of events."""

from iosim.real.process_calls import ProcessCalls


class SignalCalls(ProcessCalls):
    """Signals as a source of events."""
