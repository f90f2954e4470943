"""A program that fails in the simulation is one line that names its place; nothing runs for ever."""

import time
from pathlib import Path

import pytest

from iosim.costs import Costs
from iosim.load import Load
from iosim.machine import Machine
from iosim.run import run
from iosim.sim import watchdog
from iosim.sim.world import execute
from iosim.syscalls import FdSet, accept4, bind, listen, nanosleep, select, socket

SHORT = Load(clients=2, rate_per_s=1000, duration_ns=20_000_000, warmup_ns=0)
CALLS = (
    "from iosim.syscalls import accept4, clone, compute, exit, fcntl, fork, nanosleep, read, shutdown, wait, write\n\n"
)

# name → (the program, what its one line of error says of it); CALLS are its first two lines
PROGRAMS = {
    "raises": (
        "async def server(listener):\n    await accept4(listener)\n    1 / 0\n",
        "5: ZeroDivisionError: division",
    ),
    "errno": ("async def server(listener):\n    await read(999)\n", "4: OSError: [Errno 9] Bad file descriptor"),
    "alien": (
        "import asyncio\nasync def server(listener):\n    await other()\n\n"
        "async def other():\n    await asyncio.sleep(0)\n",
        "8: TypeError: the program awaited None: only the calls",
    ),
    "wrong": ("async def server(listener):\n    await [].append(1)\n", "4: TypeError"),
    "argument": ("async def server(listener):\n    await read('3')\n", "4: TypeError"),
    "past": ("async def server(listener):\n    await nanosleep(-1)\n", "4: OSError: [Errno 22] Invalid argument"),
    "negative": ("async def server(listener):\n    await compute(-1)\n", "4: ValueError: compute needs 0 ns or more"),
    "thread": (
        "async def server(listener):\n    await clone(other)\n    while True:\n        await accept4(listener)\n\n"
        "async def other():\n    raise ValueError('two\\nlines')\n",
        "9: ValueError: two lines",
    ),
    "worker": (
        "async def server(listener):\n    await fork(other)\n    while True:\n        await wait()\n\n"
        "async def other():\n    raise ValueError('in a worker')\n",
        "9: ValueError: in a worker",
    ),
    "returns": ("async def server(listener):\n    await accept4(listener)\n", "returned"),
    "returns_at_once": ("async def server(listener):\n    return\n", "returned"),
    "exits": ("async def server(listener):\n    await accept4(listener)\n    await exit(3)\n", "exit"),
    "answers_unasked": (
        "async def server(listener):\n    await write(await accept4(listener), b'hello')\n",
        "4: RuntimeError: the program wrote to a client that has asked nothing",
    ),
    "answers_too_much": (
        "async def server(listener):\n    conn = await accept4(listener)\n"
        "    await read(conn)\n    await write(conn, bytes(65))\n",
        "6: RuntimeError: the program wrote 1 bytes more than its client asked for",
    ),
}


@pytest.mark.parametrize("load", [SHORT, Load(clients=2, think_ns=1000, requests=10)], ids=["duration", "requests"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_faulty_program_is_one_line_that_names_the_place(name: str, load: Load, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=rf"^{name}_model\.py:") as caught:
        run(program(tmp_path, name, PROGRAMS[name][0]), load)
    message = str(caught.value)
    assert "\n" not in message
    assert PROGRAMS[name][1] in message


def program(folder: Path, name: str, text: str) -> str:
    path = folder / f"{name}_model.py"
    path.write_text(CALLS + text)
    return str(path)


def test_a_program_that_never_awaits_is_found_by_the_watchdog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "PATIENCE_S", 0.1)
    spins = program(tmp_path, "spins", "async def server(listener):\n    while True:\n        pass\n")
    with pytest.raises(RuntimeError, match=r"spins_model\.py:[45]: the program has run for 0\.1 s without awaiting"):
        run(spins, SHORT)


@pytest.mark.parametrize("model", ["nonblocking", "blocking"])
def test_a_clock_that_stands_still_is_found_by_the_watchdog(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All is free: the one asks without end, the others are asked and answer without end."""
    monkeypatch.setattr(watchdog, "PATIENCE_S", 0.1)
    with pytest.raises(RuntimeError, match=r"clock stands still after \d+ calls: the program asks without end"):
        run(model, Load(clients=1, think_ns=0, duration_ns=1000), costs=Costs().scaled_to_zero())


def test_a_server_that_answers_no_more_is_given_up_and_said() -> None:
    """One connection at a time: the second client waits for ever."""
    run_ = run("blocking", Load(clients=2, think_ns=0, requests=100))
    assert run_.requests["issued"] == run_.requests["completed"] + 1
    assert run_.requests["in_flight"] == 1
    assert "the server answers no more, 1 requests wait: given up" in run_.warnings


def test_a_program_that_asks_in_vain_for_ever_is_given_up(tmp_path: Path) -> None:
    vain = program(
        tmp_path,
        "vain",
        "async def server(listener):\n    await accept4(listener)\n"
        "    while True:\n        await nanosleep(10_000_000)\n",
    )
    run_ = run(vain, Load(clients=1, think_ns=0, requests=100))
    assert run_.requests["in_flight"] == 1


def test_select_fails_as_select_fails() -> None:
    with pytest.raises(
        RuntimeError, match=r"^select_loop\.py:\d+: ValueError: select\(2\) knows descriptors 0 to 1023"
    ):
        run("select_loop", Load(clients=1100, rate_per_s=1000, duration_ns=1_000_000))
    run("select_loop", Load(clients=1020, rate_per_s=1000, duration_ns=1_000_000))  # 0 … 3 are taken


def test_too_few_descriptors() -> None:
    with pytest.raises(RuntimeError, match=r"^epoll_loop\.py:\d+: OSError: \[Errno 24\] Too many open files"):
        run("epoll_loop", SHORT.replace(clients=20), machine=Machine(nofile=10))


def test_a_program_that_nobody_wakes() -> None:
    async def sleeps() -> None:
        fd = await socket()
        await bind(fd, ("127.0.0.1", 0))
        await listen(fd)
        await accept4(fd)

    with pytest.raises(RuntimeError, match="sleeps for ever"):
        execute(sleeps())


def test_an_error_of_a_program_without_clients_comes_out() -> None:
    async def fails() -> None:
        await nanosleep(1000)
        await select(FdSet(), FdSet(), 1)
        raise KeyError("x")

    with pytest.raises(KeyError, match="x"):
        execute(fails())


def test_an_alarm_of_others_is_left_alone() -> None:
    """The watchdog takes SIGALRM for the run only."""
    import signal

    run("epoll_loop", SHORT)
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert time.monotonic() > 0
