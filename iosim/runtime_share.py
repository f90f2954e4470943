"""What the language runtime adds to a server: the models themselves, on a kernel whose answers are written beforehand.

The scripted kernel gives every request at once. Beneath each read and write it still makes one real system call on
/dev/zero or /dev/null, so that wrapper, entry and exit are paid as in a real run; beneath epoll_wait it makes none.
"""

import os
import time
from typing import NoReturn

from iosim import programs
from iosim.primitives import MESSAGE, Rounds
from iosim.protocol import pack_request
from iosim.real.driver import drive
from iosim.real.kernel import RealKernel
from iosim.syscalls import EPOLLIN

REQUEST = pack_request(len(MESSAGE), len(MESSAGE), 0)
REQUESTS = 320
EVENTS = (1, 32)
"""Requests that one epoll_wait returns."""
LISTENER = 3
FIRST = 4


class Enough(Exception):
    """The script is over."""


class Scripted(RealKernel):
    """Answers for ``REQUESTS`` requests, ``ready`` of them per wait."""

    def __init__(self, zero: int, null: int, ready: int) -> None:
        super().__init__()
        self._zero, self._null = zero, null
        self._unaccepted = list(range(FIRST, FIRST + ready))
        self._ready = [(fd, EPOLLIN) for fd in self._unaccepted]
        self._left = REQUESTS
        self.begun_ns = 0

    def accept4(self, fd: int, flags: int = 0) -> int:  # noqa: ARG002  (a script does not listen)
        made = self._unaccepted.pop()
        if not self._unaccepted:
            self.begun_ns = time.thread_time_ns()
        return made

    def epoll_ctl(self, epoll: int, operation: int, fd: int, events: int = 0) -> None:
        pass

    def epoll_wait(self, epoll: int, maxevents: int = 512, timeout_ms: int = -1) -> list[tuple[int, int]]:  # noqa: ARG002
        return [(LISTENER, EPOLLIN)] if self._unaccepted else self._ready

    def read(self, fd: int, count: int = 65536) -> bytes:  # noqa: ARG002
        if not self._left:
            self._end()
        self._left -= 1
        os.read(self._zero, len(MESSAGE))
        return REQUEST

    def write(self, fd: int, data: bytes) -> int:  # noqa: ARG002
        return os.write(self._null, data)

    def _end(self) -> NoReturn:
        raise Enough


def serve(rounds: Rounds, zero: int, null: int) -> None:
    """One round: ns per request of ``blocking`` and of ``epoll_loop`` with few and with many requests a wait."""
    for probe, model, ready in [
        ("serve blocking", "blocking", 1),
        *((f"serve epoll {ready}", "epoll_loop", ready) for ready in EVENTS),
    ]:
        kernel = Scripted(zero, null, ready)
        try:
            drive(kernel, programs.find(model).server(LISTENER))
        except Enough:
            rounds[probe].append((time.thread_time_ns() - kernel.begun_ns) / REQUESTS)
