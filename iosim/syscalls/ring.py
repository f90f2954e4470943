"""io_uring(7), at the level of a C program with liburing."""

__all__: list[str] = []

CALLS: tuple[str, ...] = ()
