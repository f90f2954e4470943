"""The interpreter's lock (GIL): one per process, and how its threads take turns.

*Models*: CPython 3.11 (Python/ceval_gil.h). A thread needs the lock in user mode and lets go of it around every system
call. Whoever finds it taken sleeps, in a queue, for at most the switch interval; if nobody else got the lock
meanwhile, the sleeper asks the holder to let go, and goes to sleep again, behind all others. Letting go wakes the first
of the queue, which owns nothing yet: the lock is whose thread comes first. A holder that was asked sleeps until the one
that it woke has the lock, so that it does not take it back at once.
*Does not model*: the few instructions until a holder notices that it was asked.
*Differs from CPython*: glibc's condition variable wakes in order only nearly.
"""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from iosim.sim.thread import Thread
    from iosim.sim.work import Priced

KERNEL: Final = 0
"""In a system call, or back from one: without the lock."""
USER: Final = 1
"""Holds the lock."""
QUEUED: Final = 2
"""Waits for the lock."""
YIELDED: Final = 3
"""Was asked to let go, and waits until another thread has the lock."""
NOT_WAITING: Final = -1


class Interpreter:
    """One lock."""

    def __init__(self) -> None:
        self.holder: Thread | None = None
        self.last_holder: Thread | None = None
        self.switches = 0
        """How often it went to another thread than the last."""
        self.asked = False
        """Somebody has waited for a whole interval: the holder is to let go."""
        self.waiters: dict[Thread, None] = {}
        """In order; who was woken is in it no more."""
        self.yielded: Thread | None = None
        self.promised: Thread | None = None
        """Who was woken by a holder that was asked: Linux lets the woken one run first (seen in traces)."""

    @property
    def contended(self) -> bool:
        """Does anyone but the holder wait for what happens to it?"""
        return bool(self.waiters) or self.asked or self.yielded is not None

    def is_free_for(self, thread: "Thread") -> bool:
        """May this thread take it?"""
        return self.holder is None and (self.promised is None or self.promised is thread)

    def take(self, thread: "Thread") -> "Thread | None":
        """The lock, which is free, is this thread's. Gives the one that waits for just that, if any."""
        assert self.holder is None, "two threads in one interpreter"
        self.holder = thread
        self.asked = False
        self.promised = None
        if self.last_holder is thread:
            return None
        self.last_holder = thread
        self.switches += 1
        yielded, self.yielded = self.yielded, None
        return yielded

    def release(self) -> "Thread | None":
        """The lock is free. Gives the thread to wake, if any."""
        self.holder = None
        for thread in self.waiters:
            del self.waiters[thread]
            if self.asked:
                self.promised = thread
            return thread
        return None

    def forget(self, thread: "Thread") -> None:
        """The thread is at its end, wherever it was."""
        self.waiters.pop(thread, None)
        if self.promised is thread:
            self.promised = None
        if self.yielded is thread:
            self.yielded = None
        if self.holder is thread:
            self.holder = None


class Turn:
    """Where one thread stands with its interpreter's lock, and what of its call is not paid yet."""

    __slots__ = ("kernel_part", "lock", "phase", "seen", "since", "ticket", "timed_out", "user_part", "waited_before")

    def __init__(self, lock: Interpreter) -> None:
        self.lock = lock
        self.phase = KERNEL
        self.user_part: Priced | None = None
        """To be paid with the lock: the rest of what it was asked in, or what a call leaves to do when it is back."""
        self.kernel_part: Priced | None = None
        """To be paid without the lock when the user part is done."""
        self.since = NOT_WAITING
        """When it began to wait for the lock."""
        self.waited_before = 0
        """The thread's time of waiting up to then."""
        self.seen = 0
        """``Interpreter.switches`` when its interval began."""
        self.timed_out = False
        self.ticket = 0
        """Number of the interval: the alarm of an earlier one does nothing."""
