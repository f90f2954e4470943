"""What threads tell each other with: eventfd, futex, a bounded queue."""

__all__: list[str] = []

CALLS: tuple[str, ...] = ()
