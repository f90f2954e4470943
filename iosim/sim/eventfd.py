"""eventfd(2) as fs/eventfd.c does it. It knows no clock.

*Models*: a 64-bit counter that a write adds to and a read takes (or, as a semaphore, takes 1 from); the poll events.
*Differs from Linux*: of several threads asleep in a read, all are woken by a write, as there, but the latest is first.
"""

from typing import Final

from iosim.sim.files import File, Watcher
from iosim.syscalls import EFD_SEMAPHORE, EPOLLIN, EPOLLOUT

MOST: Final = (1 << 64) - 2
"""The counter never holds more."""


class EventFd(File):
    """One counter."""

    __slots__ = ("count", "semaphore")

    def __init__(self, watcher: Watcher, count: int, flags: int) -> None:
        super().__init__(watcher, flags)
        self.count = count
        self.semaphore = bool(flags & EFD_SEMAPHORE)
        if count:
            watcher.became_readable(self)

    def mask(self) -> int:
        """eventfd_poll."""
        return (EPOLLIN if self.count else 0) | (EPOLLOUT if self.count < MOST else 0)

    def take(self) -> int:
        """eventfd_ctx_do_read: what a read returns; there is something."""
        taken = 1 if self.semaphore else self.count
        self.count -= taken
        if not self.count:
            self.watcher.became_unreadable(self)
        self.notify(EPOLLOUT)
        return taken

    def add(self, value: int) -> None:
        """eventfd_write; there is room."""
        if value and not self.count:
            self.watcher.became_readable(self)
        self.count += value
        self.notify(EPOLLIN)
