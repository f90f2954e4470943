"""What goes wrong in a real run is told in one line that names the place."""

import os
from pathlib import Path

import pytest

from iosim.load import Load
from iosim.real.measure import measure

pytestmark = pytest.mark.real

SHORT = Load(clients=2, rate_per_s=1000, duration_ns=100_000_000, warmup_ns=0)
ACCEPTS = "from iosim.syscalls import accept4, clone, exit, fork, read, wait\n\n"

# name → (the program, what its one line of error says of it); ACCEPTS are its first two lines
PROGRAMS = {
    "raises": ("async def server(listener):\n    await accept4(listener)\n    raise KeyError('x')\n", "5: KeyError"),
    "errno": ("async def server(listener):\n    await read(999)\n", "4: OSError: [Errno 9] Bad file descriptor"),
    "returns": ("async def server(listener):\n    await accept4(listener)\n", "the program returned"),
    "exits": ("async def server(listener):\n    await exit(3)\n", "called exit(3)"),
    "hangs": ("async def server(listener):\n    await accept4(listener)\n    while True:\n        pass\n", "no call"),
    "hangs_at_once": ("async def server(listener):\n    while True:\n        pass\n", "no call"),
    "alien": (
        "import asyncio\nasync def server(listener):\n    await other()\n\n"
        "async def other():\n    await asyncio.sleep(0)\n",
        "8: TypeError",
    ),
    "wrong": ("async def server(listener):\n    await [].append(1)\n", "4: TypeError"),
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
    "orphan": (
        "async def server(listener):\n    await fork(other)\n    while True:\n        await accept4(listener)\n\n"
        "async def other():\n    raise ValueError('nobody waits')\n",
        "9: ValueError: nobody waits",
    ),
}


def program(folder: Path, name: str) -> str:
    path = folder / f"{name}_model.py"
    path.write_text(ACCEPTS + PROGRAMS[name][0])
    return str(path)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_faulty_program_is_one_line_that_names_the_place(name: str, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=rf"^{name}_model\.py:") as caught:
        measure(program(tmp_path, name), SHORT)
    message = str(caught.value)
    assert "\n" not in message
    assert PROGRAMS[name][1] in message
    if "hangs" in name:
        assert message.startswith((f"{name}_model.py:4:", f"{name}_model.py:5:", f"{name}_model.py:6:"))


def test_a_program_that_hangs_is_found_in_a_run_of_fixed_length_too(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"hangs_model\.py:[56]: .*makes no call"):
        measure(program(tmp_path, "hangs"), Load(clients=1, think_ns=0, requests=3))


def test_the_watchdog_ends_a_run(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"ended after 1\.\d s without a result"):
        measure("epoll_loop", Load(duration_ns=60 * 10**9), timeout_s=1.5)
    with pytest.raises(RuntimeError, match=r"^hangs_model\.py:[56]: .* makes no call; the real run was ended"):
        measure(program(tmp_path, "hangs"), Load(duration_ns=60 * 10**9), timeout_s=1.5)


def test_too_many_clients_are_refused_before_anything_starts() -> None:
    with pytest.raises(ValueError, match=r"^--clients 5000000: on this host .* at most --clients \d+ can"):
        measure("epoll_loop", Load(clients=5_000_000))


def test_too_many_cpus_and_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="--cpus 4097: a real run on this host"):
        measure("epoll_loop", SHORT, cpus=4097)
    with pytest.raises(LookupError, match="epoll_loop"):
        measure("epoll_lop", SHORT)
    with pytest.raises(ValueError, match="worker"):
        measure("prefork", SHORT, params={"worker": 3})


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs")
def test_a_server_on_the_clients_cpu_is_a_warning() -> None:
    run = measure("epoll_loop", SHORT, cpus=len(os.sched_getaffinity(0)))
    assert any("share CPU" in warning for warning in run.warnings)


def test_select_fails_as_select_fails() -> None:
    with pytest.raises(
        RuntimeError, match=r"^select_loop\.py:\d+: ValueError: select\(2\) knows descriptors 0 to 1023"
    ):
        measure("select_loop", Load(clients=1100, rate_per_s=100, duration_ns=50_000_000, warmup_ns=0))
