"""Signals as a source of events."""

from iosim.sim.process_calls import ProcessCalls


class SignalCalls(ProcessCalls):
    """Signals as a source of events."""
