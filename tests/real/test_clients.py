"""The clients without a server of ours: what they ask and when, and how their loop keeps its books."""

import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from iosim.load import Load
from iosim.real.asking import NEVER, Asking, plan
from iosim.real.loop import Loop

pytestmark = pytest.mark.real

MS = 1_000_000


def test_an_open_loop_asks_what_the_load_says() -> None:
    load = Load(clients=7, rate_per_s=1000, work="exponential", work_ns=5000)
    asking = plan(load, 3, 10**9)
    batches = load.arrivals_of(3)
    for _ in range(2):
        for time_ns, client, request in zip(*next(batches), strict=True):
            assert asking.next_ns == 10**9 + time_ns
            assert asking.take() == (10**9 + time_ns, client, request)


def test_a_closed_loop_asks_in_order_of_time_after_each_answer() -> None:
    load = Load(clients=3, think_ns=1000, think="constant")
    asking = plan(load, 3, 0)
    first = [asking.take() for _ in range(3)]
    assert [time_ns for time_ns, _, _ in first] == sorted(load.think_time_ns(3, client, 0) for client in range(3))
    assert asking.next_ns == NEVER
    asking.answered(2, 5000)
    asking.answered(1, 4000)
    assert asking.take() == (5000, 1, load.request_of(3, 1, 1))
    assert asking.take() == (6000, 2, load.request_of(3, 2, 1))


@pytest.mark.parametrize("rate_per_s", [1000, None])
def test_a_plan_ends_after_the_requests_of_the_load(rate_per_s: float | None) -> None:
    load = Load(clients=2, rate_per_s=rate_per_s, think_ns=None if rate_per_s else 0, requests=1500)
    asking = plan(load, 1, 0)
    taken = 0
    while asking.next_ns < NEVER:
        _, client, _ = asking.take()
        asking.answered(client, taken)
        taken += 1
    assert taken == 1500


class _At:
    """A plan that is written down."""

    def __init__(self, *requests: tuple[int, int, bytes]) -> None:
        self._requests = list(requests)
        self.next_ns = requests[0][0]
        self.answers: list[int] = []

    def take(self) -> tuple[int, int, bytes]:
        taken = self._requests.pop(0)
        self.next_ns = self._requests[0][0] if self._requests else NEVER
        return taken

    def answered(self, client: int, now_ns: int) -> None:
        del now_ns
        self.answers.append(client)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    yield ours, theirs
    ours.close()
    theirs.close()


def spin(loop: Loop, until: Callable[[], bool]) -> None:
    """However little of the CPU this process gets."""
    give_up_s = time.monotonic() + 10
    while not until():
        assert time.monotonic() < give_up_s
        loop.run(time.perf_counter_ns() + MS // 10)


def test_replies_are_counted_in_order_however_they_are_cut(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    now_ns = time.perf_counter_ns()
    asking: Asking = _At(*((now_ns - MS, 0, b"ask") for _ in range(20)))
    loop = Loop([ours], asking, 7)
    loop.start_measuring(now_ns - MS)
    spin(loop, lambda: loop.issued == 20)
    assert theirs.recv(100) == b"ask" * 20
    assert (loop.issued, loop.unanswered, loop.in_flight) == (20, 20, 20)
    left = 7 * 20
    cut = random.Random(1)
    while left:
        sent = min(left, cut.randint(1, 15))
        theirs.send(bytes(sent))
        left -= sent
        while loop.replies < (7 * 20 - left) // 7:
            loop.run(time.perf_counter_ns() + MS // 10)
        assert loop.replies == (7 * 20 - left) // 7
    assert len(loop.latencies_ns) == 20
    assert min(loop.latencies_ns) > MS  # from the planned time
    assert list(loop.latencies_ns) == sorted(loop.latencies_ns)
    assert loop.in_flight == 0


def test_what_does_not_fit_waits_for_room(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    request = random.Random(2).randbytes(1_000_000)
    now_ns = time.perf_counter_ns()
    loop = Loop([ours], _At((now_ns, 0, request), (now_ns, 0, b"second")), 1)
    received = b""
    theirs.setblocking(False)
    while len(received) < len(request) + 6:
        loop.run(time.perf_counter_ns() + MS // 10)
        with suppress(BlockingIOError):
            received += theirs.recv(1 << 20)
    assert received == request + b"second"


def test_lost_and_absent_connections_and_late_requests_add_up(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    now_ns = time.perf_counter_ns()
    never_ns = now_ns + 3600 * 1000 * MS
    asking = _At((now_ns, 0, b"a"), (now_ns, 1, b"b"), (now_ns + 5 * MS, 0, b"c"), (never_ns, 0, b"d"))
    loop = Loop([ours, None], asking, 1)
    loop.start_measuring(now_ns)
    spin(loop, lambda: loop.issued >= 2)
    theirs.close()
    spin(loop, lambda: loop.issued >= 3 and loop.failed >= 1)
    loop.stop_measuring(never_ns + 1)
    assert (loop.issued, loop.dropped, loop.failed, loop.in_flight) == (4, 1, 2, 1)


def test_a_reply_that_nobody_asked_for_is_an_error(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    loop = Loop([ours], _At((NEVER, 0, b"")), 1)
    theirs.send(b"x")
    with pytest.raises(RuntimeError, match="had asked for nothing"):
        spin(loop, lambda: False)


def test_a_stolen_cpu_is_seen_as_a_hiccup(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, _ = pair

    class Sleepy(_At):
        def take(self) -> tuple[int, int, bytes]:
            time.sleep(0.01)
            return super().take()

    now_ns = time.perf_counter_ns()
    loop = Loop([ours], Sleepy((now_ns, 0, b"a")), 1)
    spin(loop, lambda: loop.issued == 1)
    assert max(loop.hiccups_ns) > 9 * MS
