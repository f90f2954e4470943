"""Threads, processes, time."""

from collections.abc import Iterable
from types import coroutine
from typing import Any, NoReturn

from iosim.syscalls.trap import Program, Trap

__all__ = [
    "clone",
    "compute",
    "exit",
    "fork",
    "getpid",
    "nanosleep",
    "sched_getaffinity",
    "sched_setaffinity",
    "wait",
]

CALLS: tuple[str, ...] = (
    "clone", "fork", "wait", "exit", "getpid", "nanosleep", "compute", "sched_setaffinity", "sched_getaffinity",
)  # fmt: skip


@coroutine
def clone(program: Program, *args: Any) -> Trap[int]:
    """clone(2) as pthread_create(3) uses it: run ``program(*args)`` in a thread of this process; its thread id."""
    return (yield "clone", (program, *args))


@coroutine
def fork(program: Program, *args: Any) -> Trap[int]:
    """fork(2) whose child runs ``program(*args)`` and exits: the child's process id. Descriptors are shared files."""
    return (yield "fork", (program, *args))


@coroutine
def wait() -> Trap[int]:
    """wait(2): sleep until a child has ended; its process id. Errors: ECHILD."""
    return (yield "wait", ())


@coroutine
def exit(status: int = 0) -> Trap[NoReturn]:
    """exit_group(2): end every thread of this process. A thread ends alone by returning."""
    yield "exit", (status,)
    raise AssertionError("a process came back from exit")


@coroutine
def getpid() -> Trap[int]:
    """getpid(2): the id of this process."""
    return (yield "getpid", ())


@coroutine
def nanosleep(duration_ns: int) -> Trap[None]:
    """nanosleep(2). Errors: EINVAL (a negative time)."""
    return (yield "nanosleep", (duration_ns,))


@coroutine
def compute(work_ns: int) -> Trap[None]:
    """Not a system call: the program's own work, ``work_ns`` of CPU time in user mode."""
    return (yield "compute", (work_ns,))


@coroutine
def sched_setaffinity(cpus: Iterable[int]) -> Trap[None]:
    """sched_setaffinity(2) of the calling thread: from now on it runs on these CPUs only, and so do the threads and
    processes that it starts. CPUs that this machine has not are left out. Errors: EINVAL (none is left)."""
    return (yield "sched_setaffinity", (cpus,))


@coroutine
def sched_getaffinity() -> Trap[list[int]]:
    """sched_getaffinity(2) of the calling thread: the CPUs that it may run on, ascending."""
    return (yield "sched_getaffinity", ())
