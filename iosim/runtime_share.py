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
from iosim.syscalls import EPOLLIN, POLLIN, SIGRTMIN, PollFds, SigInfo

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


class Signalling(Scripted):
    """The same for a server that waits for signals: of one socket, which has nothing to read when it is accepted."""

    _looked = False

    def sigprocmask(self, how: int, signals: tuple[int, ...]) -> None:
        pass

    def fcntl(self, fd: int, command: int, argument: int = 0) -> int:  # noqa: ARG002
        return 0

    def poll(self, fds: PollFds, timeout_ms: int = -1) -> list[tuple[int, int]]:  # noqa: ARG002
        return [(LISTENER, POLLIN)] if self._unaccepted else []

    def sigwaitinfo(self, signals: tuple[int, ...]) -> SigInfo:  # noqa: ARG002
        return SigInfo(SIGRTMIN, FIRST, POLLIN)

    def read(self, fd: int, count: int = 65536) -> bytes:
        if not self._looked:
            self._looked = True
            self.begun_ns = time.thread_time_ns()
            raise BlockingIOError
        return super().read(fd, count)


def serve(rounds: Rounds, zero: int, null: int) -> None:
    """One round: ns per request of ``blocking``, of ``sigio``, of ``epoll_loop`` with few and with many requests a
    wait."""
    for probe, model, scripted, ready in [
        ("serve blocking", "blocking", Scripted, 1),
        ("serve sigio", "sigio", Signalling, 1),
        *((f"serve epoll {ready}", "epoll_loop", Scripted, ready) for ready in EVENTS),
    ]:
        kernel = scripted(zero, null, ready)
        try:
            drive(kernel, programs.find(model).server(LISTENER))
        except Enough:
            rounds[probe].append((time.thread_time_ns() - kernel.begun_ns) / REQUESTS)
