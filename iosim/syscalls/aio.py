"""Asynchronous I/O: POSIX (glibc) and Linux."""

__all__: list[str] = []

CALLS: tuple[str, ...] = ()
