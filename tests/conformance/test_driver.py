"""The driver of the real world: what it counts, what it lets through, what it refuses."""

import os
import time
from collections.abc import Generator
from typing import Any

import pytest

from iosim.real.driver import drive
from iosim.real.kernel import ProgramExit, RealKernel
from iosim.syscalls import (
    POLLIN,
    SOCK_NONBLOCK,
    VOCABULARY,
    PollFds,
    accept4,
    bind,
    clone,
    close,
    compute,
    connect,
    exit,
    fork,
    getsockname,
    listen,
    nanosleep,
    poll,
    socket,
    wait,
)

pytestmark = pytest.mark.real


def counted(census: list[int]) -> dict[str, int]:
    return {name: count for name, count in zip(VOCABULARY, census, strict=True) if count}


def test_every_call_is_counted_whether_it_fails_or_not() -> None:
    async def program() -> None:
        fd = await socket(SOCK_NONBLOCK)
        await listen(fd)
        for _ in range(3):
            with pytest.raises(BlockingIOError):
                await accept4(fd)
        await close(fd)

    census = [0] * len(VOCABULARY)
    drive(RealKernel(), program(), census)
    assert counted(census) == {"socket": 1, "listen": 1, "accept4": 3, "close": 1}


def test_each_thread_and_each_child_has_a_row_of_its_own() -> None:
    rows: list[list[int]] = []

    def new_counter() -> list[int]:
        rows.append([0] * len(VOCABULARY))
        return rows[-1]

    async def sleeper() -> None:
        await nanosleep(1000)

    async def program() -> None:
        await clone(sleeper)
        await fork(sleeper)
        await wait()
        await nanosleep(1_000_000)

    drive(RealKernel(new_counter), program())
    time.sleep(0.01)
    assert counted(rows[0]) == {"clone": 1, "fork": 1, "wait": 1, "nanosleep": 1}
    assert counted(rows[1]) == {"nanosleep": 1}
    assert counted(rows[2]) == {}  # the child counts in its own memory: this is a list, not shared


def test_what_a_program_raises_comes_out() -> None:
    async def program() -> None:
        await nanosleep(0)
        raise RuntimeError("the program's own")

    with pytest.raises(RuntimeError, match="the program's own"):
        drive(RealKernel(), program())


def test_what_a_thread_raises_is_kept() -> None:
    async def thread() -> None:
        raise RuntimeError("the thread's own")

    async def program() -> None:
        await clone(thread)
        await nanosleep(20_000_000)

    kernel = RealKernel()
    drive(kernel, program())
    assert [str(error) for error in kernel.failures] == ["the thread's own"]


def test_a_child_that_raises_ends_the_program_that_waits(capfd: pytest.CaptureFixture[str]) -> None:
    async def child() -> None:
        raise RuntimeError("the child's own")

    async def program() -> None:
        while True:
            await fork(child)
            await wait()

    with pytest.raises(ProgramExit, match="ended by an exception"):
        drive(RealKernel(), program())
    assert "RuntimeError: the child's own" in capfd.readouterr().err


def test_exit_leaves_the_driver() -> None:
    async def program() -> None:
        await exit(3)

    with pytest.raises(ProgramExit) as caught:
        drive(RealKernel(), program())
    assert caught.value.code == 3


def test_only_calls_can_be_awaited() -> None:
    class Foreign:
        def __await__(self) -> Generator[Any, Any, None]:
            yield "something else"

    async def program() -> None:
        with pytest.raises(TypeError, match="only the calls of iosim"):
            await Foreign()  # it is told where it happened

    drive(RealKernel(), program())


@pytest.mark.parametrize("host", ["0.0.0.0", "localhost", "192.0.2.1", ""])
def test_only_loopback_is_bound_and_called(host: str) -> None:
    async def program() -> None:
        fd = await socket()
        with pytest.raises(PermissionError, match="real runs stay on loopback"):
            await bind(fd, (host, 0))
        with pytest.raises(PermissionError, match="real runs stay on loopback"):
            await connect(fd, (host, 1))
        await listen(fd)
        assert (await getsockname(fd))[0] == "127.0.0.1"
        await close(fd)

    drive(RealKernel(), program())


def test_compute_uses_the_thread_s_own_time() -> None:
    async def program() -> None:
        await compute(0)  # measures its pace, once
        start_ns = time.thread_time_ns()
        await compute(3_000_000)
        assert time.thread_time_ns() - start_ns >= 2_900_000

    drive(RealKernel(), program())


def test_a_poll_array_is_kept_while_it_is_only_mended() -> None:
    async def program() -> None:
        fds = PollFds({await socket(): POLLIN})
        await poll(fds, 0)
        kept = fds.kernel_state
        fds[await socket()] = POLLIN
        await poll(fds, 0)
        assert fds.kernel_state is kept
        assert fds.changed == []
        for fd in fds:
            await close(fd)

    drive(RealKernel(), program())


def test_no_call_of_a_kernel_leaves_a_descriptor_behind() -> None:
    async def program() -> None:
        fd = await socket()
        for _ in range(3):
            await getsockname(fd)
        with pytest.raises(OSError, match="Bad file descriptor"):
            await getsockname(fd + 1000)
        await close(fd)

    before = len(os.listdir("/proc/self/fd"))
    drive(RealKernel(), program())
    assert len(os.listdir("/proc/self/fd")) == before
