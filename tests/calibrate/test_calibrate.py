"""Calibrating this host: a valid table, in the range of the facts, and nothing left behind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from iosim.calibrate import calibrate
from iosim.costs import FIGURES, RUNTIME_FIGURES, Costs, load_costs
from iosim.costs_udp import UdpCosts

pytestmark = pytest.mark.real

TIMES = 10
"""A host is expected within so many times of the default table, either way."""
OWN_WAY = {
    # set by the interpreter and its size, by how deep this host sleeps, by how fast it copies: not comparable
    *RUNTIME_FIGURES, "cold_ns", "idle_exit_ns", "select_base_ns", "read_byte_ns", "write_byte_ns", "fork_ns",
}  # fmt: skip
WHOLE_CALLS = {
    f"{call}_ns"
    for call in (
        "read", "read_empty", "write", "write_full", "accept", "close", "epoll_mod", "eventfd_read", "eventfd_write",
    )
}  # fmt: skip
"""They are compared with entry and exit: which part of a call is the kernel's, and which is the interpreter's, cannot
be told to a tenth of a microsecond, and a call may cost no more than that."""
SLEEPERS = {"wake_ns", "sleep_ns", "switch_ns", "process_switch_ns", "client_send_ns", "client_receive_ns"}
"""Where others have the CPUs, as in a test suite that runs in parallel, these are theirs."""


@pytest.fixture(scope="module")
def before() -> tuple[set[int], list[str], int]:
    return os.sched_getaffinity(0), _children(), len(os.listdir("/proc/self/fd"))


@pytest.fixture(scope="module")
def seen() -> list[tuple[str, float]]:
    return []


@pytest.fixture(scope="module")
def costs(before: object, seen: list[tuple[str, float]]) -> Costs:
    assert before
    return calibrate(seconds=2, quick=True, progress=lambda label, done: seen.append((label, done)))


def _children() -> list[str]:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


def test_every_figure_is_positive(costs: Costs) -> None:
    for name in set(FIGURES) - {"descriptor_ns", "pollfd_ns", "turn_ns"}:
        assert costs.at(name, 100) > 0, name


def test_figures_are_within_an_order_of_magnitude_of_the_facts(costs: Costs) -> None:
    default = Costs()
    noisy = SLEEPERS if "noisy" in costs.host else set()
    for name in set(FIGURES) - OWN_WAY - noisy:
        fact, found = (
            table.at(name, 100) + (table.at("entry_ns") if name in WHOLE_CALLS else 0) for table in (default, costs)
        )
        assert fact / TIMES < found < fact * TIMES, name


def test_what_an_interpreter_adds_is_told_apart(costs: Costs) -> None:
    assert 100 < costs.at("call_ns") < 10_000
    assert 100 < costs.at("request_ns") < 20_000
    assert costs.in_c().at("call_ns") == 0


def test_each_measured_figure_has_a_source(costs: Costs) -> None:
    kept = {
        "fcntl_ns", "select_word_ns", "poll_copy_ns", "futex_wait_ns", "futex_wake_ns", "uring_setup_ns",
        "uring_sq_pass_ns", *UdpCosts.model_fields, "aio_request_ns",
        "aio_call_ns", "aio_entry_ns", "aio_walk_ns", "io_setup_ns", "io_submit_ns", "io_getevents_ns", "io_event_ns",
    }  # fmt: skip
    rings = {name for name in FIGURES if name.startswith("uring_")}
    if not rings & set(costs.sources):  # the host forbids io_uring
        kept |= rings
    assert set(FIGURES) - kept == set(costs.sources) - {"runtimes"}


def test_64_kib_cost_more_than_64_bytes(costs: Costs) -> None:
    for call in ("read", "write"):
        byte = costs.at(f"{call}_byte_ns")
        assert 65536 * byte > 64 * byte > 0


def test_a_longer_sleep_costs_more_than_none(costs: Costs) -> None:
    assert costs.at("cold_ns", 1000) >= costs.at("cold_ns", 100) >= costs.at("cold_ns", 1)


def test_it_survives_the_file(costs: Costs, tmp_path: Path) -> None:
    path = tmp_path / "host.toml"
    path.write_text(costs.to_toml())
    assert load_costs(path) == costs
    assert load_costs(path).digest == costs.digest


def test_the_table_says_where_and_when(costs: Costs) -> None:
    assert costs.name.startswith("host-")
    assert "an empty C call takes" in costs.host
    assert costs.date.endswith("+00:00")


def test_progress_comes_and_grows(costs: Costs, seen: list[tuple[str, float]]) -> None:
    assert costs
    fractions = [done for _, done in seen]
    assert len(fractions) > 2
    assert fractions == sorted(fractions)
    assert 0 <= fractions[0] <= fractions[-1] <= 1


def test_nothing_is_left_behind(costs: Costs, before: tuple[set[int], list[str], int]) -> None:
    assert costs
    assert (os.sched_getaffinity(0), _children(), len(os.listdir("/proc/self/fd"))) == before
    assert not _running("iosim.calibration")


def _running(module: str) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if module.encode() in line.split(b"\0"):
                found.append(entry.name)
    return found


def test_it_ends_with_its_caller() -> None:
    """A caller that is killed takes the measuring processes with it."""
    code = "from iosim.calibrate import calibrate; calibrate(progress=lambda *_: print('on', flush=True))"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as caller:
        assert caller.stdout is not None
        assert caller.stdout.readline() == b"on\n"
        groups = [_group(child) for child in _of_parent(caller.pid)]
        assert groups
        caller.kill()
        caller.wait()
        for _ in range(500):
            if not any(_alive(group) for group in groups):
                break
            _pause()
        assert not any(_alive(group) for group in groups)


def _of_parent(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def _group(pid: str) -> int:
    return os.getpgid(int(pid))


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _pause() -> None:
    import time

    time.sleep(0.01)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), 1e9])
def test_absurd_times_are_refused_in_one_line(seconds: float) -> None:
    with pytest.raises(ValueError, match="seconds=") as raised:
        calibrate(seconds=seconds)
    assert "\n" not in str(raised.value)
