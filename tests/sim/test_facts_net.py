"""Facts of the sheet on SO_REUSEPORT and UDP, exactly."""

import platform
from pathlib import Path

import pytest

from iosim.load import Load
from iosim.machine import Machine
from iosim.real.measure import measure
from iosim.results import Run
from iosim.run import run
from iosim.sim.ports import FIRST_EPHEMERAL_PORT, LOOPBACK, flow_hash, picked
from iosim.sim.world import execute
from iosim.syscalls import SO_RCVBUF, SOCK_DGRAM, SOL_SOCKET, bind, getsockname, sendto, setsockopt, socket

MS = 1_000_000
CLIENTS = 64
LATE = """\
from iosim.protocol import respond, write_all
from iosim.syscalls import *

async def server(listener, *, serves: bool = True):
    await fork(late, await getsockname(listener), serves)
    await loop(listener)

async def late(address, serves):
    await compute(150_000_000)
    await setsockopt(another := await socket(), SOL_SOCKET, SO_REUSEPORT, 1)
    await bind(another, address)
    await listen(another)
    while not serves:
        await nanosleep(1_000_000_000)
    await loop(another, late=True)

async def loop(listener, late=False):
    epoll = await epoll_create()
    await epoll_ctl(epoll, EPOLL_CTL_ADD, listener, EPOLLIN)
    while True:
        for fd, _ in await epoll_wait(epoll):
            if fd == listener:
                conn = await accept4(listener)
                await epoll_ctl(epoll, EPOLL_CTL_ADD, conn, EPOLLIN)
                if late:
                    await getsockname(conn)
            elif data := await read(fd):
                await write_all(fd, await respond(data))
            else:
                await close(fd)
"""
"""Two listeners, the second of which takes its time; getsockname counts the connections that come to it."""


def of_second_listener(clients: int) -> int:
    """How many of the simulated clients the hash gives to the second of two listeners."""
    return sum(picked(flow_hash(80, LOOPBACK, FIRST_EPHEMERAL_PORT + client), 2) for client in range(clients))


def late(tmp_path: Path, world: str, serves: bool) -> Run:
    model = tmp_path / "late.py"
    model.write_text(LATE)
    load = Load(clients=CLIENTS, think_ns=20 * MS, think="constant", duration_ns=100 * MS, warmup_ns=0)
    params = {"serves": serves}
    return run(str(model), load, params=params) if world == "sim" else measure(str(model), load, params=params)


def test_the_hash_is_fair() -> None:
    assert [of_second_listener(n) for n in (10, 100, 1000, 10_000)] == [6, 55, 514, 4929]
    shares = [0] * 7
    for port in range(7000):
        shares[picked(flow_hash(80, LOOPBACK, port), 7)] += 1
    assert all(900 < share < 1100 for share in shares)


@pytest.mark.parametrize("world", ["sim", pytest.param("real", marks=pytest.mark.real)])
def test_clients_wait_until_every_listener_stands(world: str, tmp_path: Path) -> None:
    result = late(tmp_path, world, serves=True)
    assert result.requests["dropped"] == result.requests["failed"] == 0
    second = result.syscalls["getsockname"] - 1
    assert result.syscalls["accept4"] == CLIENTS
    if world == "sim":
        assert second == of_second_listener(CLIENTS)
    assert CLIENTS / 8 < second < CLIENTS * 7 / 8


@pytest.mark.parametrize("world", ["sim", pytest.param("real", marks=pytest.mark.real)])
def test_a_listener_whose_worker_never_comes_keeps_its_clients(world: str, tmp_path: Path) -> None:
    """Stuck: they are connected, and nobody answers, though the other worker is idle."""
    result = late(tmp_path, world, serves=False)
    stuck = CLIENTS - result.syscalls["accept4"]
    if world == "sim":
        assert stuck == of_second_listener(CLIENTS)
    assert CLIENTS / 8 < stuck < CLIENTS * 7 / 8
    assert result.requests["dropped"] == 0
    assert (result.requests["in_flight"] or 0) >= stuck


def test_workers_of_reuseport_stay_on_their_cpus() -> None:
    load = Load(clients=40, think_ns=0, think="constant", work_ns=20_000, duration_ns=50 * MS, warmup_ns=0)
    two = run("reuseport", load, machine=Machine(cpus=2))
    one = run("reuseport", load, machine=Machine(cpus=1))
    assert two.cpu["idle"] == pytest.approx(0, abs=0.05)
    assert 1.9 < two.throughput_per_s / one.throughput_per_s < 2.2
    four = run("reuseport", load, machine=Machine(cpus=4), params={"workers": 2})
    assert four.cpu["idle"] == pytest.approx(0.5, abs=0.05)  # nobody uses the other two


# --- a full receive buffer

MEASURED = [
    *[(asked, length, kept) for length in (0, 1, 64) for asked, kept in ((2304, 5), (4096, 9), (16384, 39))],
    *[(65536, 64, 157), (65536, 197, 157), (65536, 198, 102), (65536, 645, 102), (65536, 646, 56)],
    *[(65536, 1472, 56), (65536, 4000, 15), (65536, 9000, 7), (16384, 4000, 3), (1, 64, 2), (1, 200, 1)],
]
"""(SO_RCVBUF, bytes of a datagram, datagrams kept of many): read off Linux 6.18 on x86-64."""


def kept_in_simulation(asked: int, length: int) -> int:
    async def program() -> None:
        fd = await socket(SOCK_DGRAM)
        await setsockopt(fd, SOL_SOCKET, SO_RCVBUF, asked)
        await bind(fd, ("127.0.0.1", 0))
        for _ in range(200):
            assert await sendto(fd, bytes(length), await getsockname(fd)) == length

    return 200 - execute(program()).datagrams_dropped


@pytest.mark.parametrize(("asked", "length", "kept"), MEASURED)
def test_a_full_buffer_drops(asked: int, length: int, kept: int) -> None:
    assert kept_in_simulation(asked, length) == kept


def test_a_run_warns_of_them(tmp_path: Path) -> None:
    model = tmp_path / "lossy.py"
    model.write_text(
        "from iosim.syscalls import *\n\n"
        "async def server(listener):\n"
        "    await bind(fd := await socket(SOCK_DGRAM), ('127.0.0.1', 0))\n"
        "    await setsockopt(fd, SOL_SOCKET, SO_RCVBUF, 2304)\n"
        "    for _ in range(12):\n"
        "        await sendto(fd, b'', await getsockname(fd))\n"
        "    await wait_for_ever()\n\n"
        "async def wait_for_ever():\n"
        "    while True:\n"
        "        await nanosleep(1_000_000_000)\n"
    )
    result = run(str(model), Load(clients=1, think_ns=MS, duration_ns=100 * MS))
    assert "7 datagrams were dropped by a full receive buffer" in result.warnings


@pytest.mark.real
def test_linux_keeps_as_many() -> None:
    import socket as _socket

    if tuple(map(int, platform.release().split(".")[:2])) < (6, 18) or platform.machine() != "x86_64":
        pytest.skip("what a datagram takes in memory was read off Linux 6.18 on x86-64; this is another")
    for asked, length, kept in MEASURED:
        with (
            _socket.socket(type=_socket.SOCK_DGRAM) as receiver,
            _socket.socket(type=_socket.SOCK_DGRAM) as sender,
        ):
            receiver.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVBUF, asked)
            receiver.bind(("127.0.0.1", 0))
            receiver.setblocking(False)
            for _ in range(200):
                sender.sendto(bytes(length), receiver.getsockname())
            found = 0
            try:
                while True:
                    receiver.recv(65536)
                    found += 1
            except BlockingIOError:
                assert (asked, length, found) == (asked, length, kept)
