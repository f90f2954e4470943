"""Signals as a source of events."""

__all__: list[str] = []

CALLS: tuple[str, ...] = ()
