"""Conformance: each ``async def test_…`` here is a program, and it runs in both worlds.

A program knows nothing but the vocabulary, so one text is the test of the simulated kernel and, on Linux, the proof
that the test itself is right. It was written on Linux first. It may leave descriptors and sleeping threads behind: the
arm sweeps up.
"""

import contextlib
import errno
import inspect
import os
import signal
import socket as _socket
import threading
import traceback
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, cast

import pytest

from iosim.real.driver import drive
from iosim.real.kernel import RealKernel
from iosim.syscalls import (
    EPOLL_CTL_ADD,
    EPOLLIN,
    F_SETFL,
    F_SETOWN,
    F_SETSIG,
    IORING_SETUP_DEFER_TASKRUN,
    IORING_SETUP_SINGLE_ISSUER,
    O_ASYNC,
    O_NONBLOCK,
    POLLIN,
    SIG_BLOCK,
    SIGIO,
    SIGRTMIN,
    Address,
    Cqe,
    PollFds,
    Ring,
    SigInfo,
    accept4,
    bind,
    close,
    connect,
    epoll_create,
    epoll_ctl,
    epoll_wait,
    fcntl,
    getpid,
    getsockname,
    io_uring_enter,
    io_uring_setup,
    listen,
    nanosleep,
    poll,
    read,
    sigprocmask,
    sigtimedwait,
    socket,
    write,
)

PATIENCE_S = 20
SIGNALS = (SIGIO, SIGRTMIN, SIGRTMIN + 1)
"""What tests of signals block."""
DEFERRED = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN


class World:
    """Where a program runs, and the few steps that many programs begin with."""

    def __init__(
        self,
        name: str,
        run: Callable[[Coroutine[Any, Any, None]], None],
        others_asleep: Callable[[], bool] = lambda: True,
    ) -> None:
        self.name = name
        self.run = run
        self._others_asleep = others_asleep

    async def listener(self, backlog: int = 128, flags: int = 0) -> tuple[int, Address]:
        """A listening socket on a port of the kernel's choice, and its address."""
        fd = await socket(flags)
        await bind(fd, ("127.0.0.1", 0))
        await listen(fd, backlog)
        return fd, await getsockname(fd)

    async def pair(self) -> tuple[int, int]:
        """Both ends of a connection: the one that called, the one that was accepted. Both blocking."""
        listener, address = await self.listener()
        client = await self.client(address)
        conn = await accept4(listener)
        await close(listener)
        return client, conn

    async def client(self, address: Address) -> int:
        """A blocking socket, connected."""
        fd = await socket()
        await connect(fd, address)
        return fd

    async def nonblocking(self, *fds: int) -> None:
        for fd in fds:
            await fcntl(fd, F_SETFL, O_NONBLOCK)

    async def ready(self, fd: int, events: int = POLLIN, timeout_ms: int = 0) -> int:
        """What poll(2) says of one descriptor; 0 at the time-out."""
        answer = await poll(PollFds({fd: events}), timeout_ms)
        return answer[0][1] if answer else 0

    async def interest(self, *fds: int, events: int = EPOLLIN) -> int:
        """A new epoll descriptor that watches these."""
        epoll = await epoll_create()
        for fd in fds:
            await epoll_ctl(epoll, EPOLL_CTL_ADD, fd, events)
        return epoll

    async def now(self, epoll: int, maxevents: int = 64) -> list[tuple[int, int]]:
        """What epoll_wait has without waiting."""
        return await epoll_wait(epoll, maxevents, 0)

    async def read_exactly(self, fd: int, count: int) -> bytes:
        """``count`` bytes of a blocking socket."""
        data = b""
        while len(data) < count:
            more = await read(fd, min(65536, count - len(data)))
            assert more, f"end of file after {len(data)} of {count} bytes"
            data += more
        return data

    async def fill(self, fd: int) -> int:
        """Write to a non-blocking socket until EAGAIN; how many bytes it took."""
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                sent += await write(fd, bytes(1 << 20))
        return sent

    async def ring(self, flags: int = DEFERRED, entries: int = 64, idle_ms: int = 50) -> Ring:
        """A ring; the test is skipped where the host forbids io_uring."""
        try:
            return await io_uring_setup(entries, flags, idle_ms)
        except OSError as error:
            if error.errno in (errno.ENOSYS, errno.EPERM):
                pytest.skip(str(error))
            raise

    async def completions(self, ring: Ring, count: int = 1) -> list[tuple[Any, int]]:
        """(user_data, result) of the ring's next so many completions."""
        found: list[Cqe] = []
        while len(found) < count:
            found += await io_uring_enter(ring, count - len(found))
        return [(cqe.user_data, cqe.res) for cqe in found]

    async def completes_nothing(self, ring: Ring) -> bool:
        """No completion comes, however long the kernel works on what it has."""
        return await io_uring_enter(ring, 1, 20) == []

    async def until_asleep(self) -> None:
        """Until all other threads and children sleep in the kernel. On a busy host no fixed time is long enough."""
        for _ in range(1000):
            await nanosleep(1_000_000)
            if self._others_asleep():
                break

    async def raise_signals(self, fd: int, signo: int = SIGRTMIN, flags: int = 0) -> None:
        """Block the signals, then have this descriptor raise one."""
        await sigprocmask(SIG_BLOCK, SIGNALS)
        await fcntl(fd, F_SETOWN, await getpid())
        await fcntl(fd, F_SETSIG, signo)
        await fcntl(fd, F_SETFL, O_ASYNC | flags)

    async def pending(self, signals: tuple[int, ...] = SIGNALS) -> list[SigInfo]:
        """Take all signals that wait."""
        taken = []
        with contextlib.suppress(BlockingIOError):
            while True:
                taken.append(await sigtimedwait(signals, 0))
        return taken

    def signals_of_others(self) -> int:
        """How many signals this user's other processes have queued: RLIMIT_SIGPENDING counts them too."""
        if self.name == "sim":
            return 0
        with open("/proc/self/status") as status:
            (queued,) = [line.split()[1] for line in status if line.startswith("SigQ")]
        return int(queued.partition("/")[0])

    @contextlib.contextmanager
    def fails(self, number: int) -> Iterator[None]:
        """The calls within must raise OSError with this errno."""
        with pytest.raises(OSError, match=r"\[Errno") as caught:
            yield
        came = caught.value.errno or 0
        assert came == number, f"came {errno.errorcode.get(came)}, expected {errno.errorcode[number]}"


@pytest.fixture(params=[pytest.param("real", marks=pytest.mark.real), "sim"])
def world(request: pytest.FixtureRequest, worlds: dict[str, World]) -> World:
    """One of the two: every test that asks for it runs in both."""
    return worlds[request.param]


@pytest.fixture(scope="session")
def worlds() -> dict[str, World]:
    """Both, for a test that compares them."""
    linux = Linux()
    return {"real": World("real", linux.run, linux.others_asleep), "sim": World("sim", run_in_simulation)}


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """A test that is a coroutine function is a program for its world."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    program = pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names})
    world = cast(World, pyfuncitem.funcargs["world"])
    if world.name == "real" and pyfuncitem.get_closest_marker("own_process"):
        run_in_child(world, program)
    else:
        world.run(program)
    return True


def run_in_simulation(program: Coroutine[Any, Any, None]) -> None:
    try:
        from iosim.sim.world import execute
    except ModuleNotFoundError:
        program.close()
        pytest.skip("the simulated world is not built yet")
    execute(program)


def run_in_child(world: World, program: Coroutine[Any, Any, None]) -> None:
    """In a process of its own, whose only thread is the program's. This one has others, which libraries started and
    which block nothing: a signal for the process would go to them, and end it. Mask and limit end with the child."""
    reading, writing = os.pipe()
    if not (child := os.fork()):
        try:
            world.run(program)
        except BaseException:
            os.write(writing, traceback.format_exc().encode()[-60_000:])
            os._exit(1)
        os._exit(0)
    os.close(writing)
    program.close()
    with os.fdopen(reading, "rb") as pipe:
        report = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        pytest.fail(f"the program was ended by signal {os.WTERMSIG(status)}")
    if status:
        pytest.fail(report, pytrace=False)


class Linux:
    """The real arm: drives a program with a watchdog, then ends what it left: threads, children, descriptors."""

    def __init__(self) -> None:
        self.foreign: list[threading.Thread] = []

    def run(self, program: Coroutine[Any, Any, None]) -> None:
        kernel = RealKernel()
        before, self.foreign = set(open_descriptors()), threading.enumerate()
        watchdog = signal.signal(signal.SIGALRM, give_up)
        signal.alarm(PATIENCE_S)
        try:
            drive(kernel, program)
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, watchdog)
            left = [fd for fd in open_descriptors() if fd not in before]
            started = self.started()
            for thread in started:
                thread.join(0.05)  # most are at their end
            raised = list(kernel.failures)
            sweep(kernel, left, started)
        if raised:
            raise raised[0]

    def started(self) -> list[threading.Thread]:
        """The threads of the program, but for the first."""
        return [thread for thread in threading.enumerate() if thread not in self.foreign]

    def others_asleep(self) -> bool:
        """Does every other thread of the program, and every child, sleep in a call? Waiting for the interpreter's
        lock, in a futex, is no sleep of the program's."""
        tasks = [f"/proc/self/task/{thread.native_id}" for thread in self.started()]
        tasks += [f"/proc/{child}" for child in children()]
        places = []
        for task in tasks:
            with contextlib.suppress(OSError), open(f"{task}/wchan") as file:  # it may have ended
                places.append(file.read())
        return not any(place == "0" or place.startswith("futex") for place in places)


def give_up(*_: object) -> None:
    raise TimeoutError(f"the program did not end in {PATIENCE_S} s: a call sleeps that should not")


def open_descriptors() -> list[int]:
    """The descriptors of this process, but not the one that lists them."""
    with os.scandir("/proc/self/fd") as entries:
        fds = [int(entry.name) for entry in entries]
    return [fd for fd in fds if is_open(fd)]


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def sweep(kernel: RealKernel, fds: list[int], threads: list[threading.Thread]) -> None:
    for fd in fds:
        wake_sleepers(fd)
    for thread in threads:
        thread.join(5)
    for fd in fds:
        with contextlib.suppress(OSError):
            kernel.close(fd)
    for child in children():
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert not any(thread.is_alive() for thread in threads), "a thread of the program sleeps on"
    assert not any(is_open(fd) for fd in fds), "a descriptor is still open"


def wake_sleepers(fd: int) -> None:
    """Whoever sleeps in a call on this socket returns; close alone would not do that."""
    with contextlib.suppress(OSError):  # no socket
        borrowed = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM, 0, fd)
        with contextlib.suppress(OSError):  # not connected
            borrowed.shutdown(_socket.SHUT_RDWR)
        borrowed.detach()


def children() -> list[int]:
    with open(f"/proc/self/task/{threading.get_native_id()}/children") as listing:
        return [int(child) for child in listing.read().split()]
