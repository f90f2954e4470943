"""Meters: what Linux says of processes that are not our own, without disturbing them.

Sources: clock_getcpuclockid(3), proc(5). Times in ns; ``/proc`` ticks are 1 / sysconf(_SC_CLK_TCK).
"""

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

SECOND_NS = 1_000_000_000
MOST_STATUS_FILES = 2000
"""Reading one takes some 20 us; with more threads than this the switches stay unknown."""


def cpu_time_ns(pids: Sequence[int]) -> int:
    """CPU time, user and system, of these processes: all threads, also those that ended. Exact, about 1 us each."""
    # the clock of another process is ~pid << 3 | CPUCLOCK_SCHED: what clock_getcpuclockid(3) computes
    return sum(time.clock_gettime_ns((~pid << 3) | 2) for pid in pids)


def group_members(group: int) -> list[int]:
    """The living processes of that process group, ascending (a zombie, which only waits to be reaped, is not one)."""
    members = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                fields = _after_name(f"/proc/{entry.name}/stat")
            except OSError:
                continue  # it ended meanwhile
            if int(fields[2]) == group and fields[0] not in "ZX":
                members.append(int(entry.name))
    return sorted(members)


def asleep(pids: Sequence[int]) -> bool:
    """Do all threads of these processes sleep? (One that is not there any more does.)"""
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):
            for thread in os.listdir(f"/proc/{pid}/task"):
                if _after_name(f"/proc/{pid}/task/{thread}/stat")[0] in "RD":
                    return False
    return True


def descriptors(pids: Sequence[int]) -> int:
    """How many descriptors these processes have open."""
    return sum(_descriptors(pid) for pid in pids)


def _descriptors(pid: int) -> int:
    folder = f"/proc/{pid}/fd"
    return os.stat(folder).st_size or len(os.listdir(folder))  # Linux before 6.2 gives no size


@dataclass(frozen=True)
class Slow:
    """Meters that take long to read (a file per thread), so that they are read outside the measured time."""

    user_ticks: int
    system_ticks: int
    switches: tuple[int, int] | None
    """Voluntary and involuntary context switches; None where threads are too many, or ended since the last reading."""
    steal_ns: int
    """What the host of this virtual machine took from these CPUs."""
    others_ns: int
    """CPU time on these CPUs less that of these processes and of our own: what other processes took (sampled)."""


def read_slow(pids: Sequence[int], cpus: Sequence[int]) -> Slow:
    """All of them now. A thread that ended takes its switches with it: ``switches`` counts the living."""
    ticks = [_after_name(f"/proc/{pid}/stat")[11:13] for pid in pids]
    busy_ns, steal_ns = _cpu_use_ns(cpus)
    return Slow(
        user_ticks=sum(int(user) for user, _ in ticks),
        system_ticks=sum(int(system) for _, system in ticks),
        switches=_switches(pids),
        steal_ns=steal_ns,
        others_ns=busy_ns - cpu_time_ns(pids) - time.process_time_ns(),
    )


def _switches(pids: Sequence[int]) -> tuple[int, int] | None:
    threads = [f"/proc/{pid}/task/{thread}/status" for pid in pids for thread in os.listdir(f"/proc/{pid}/task")]
    if len(threads) > MOST_STATUS_FILES:
        return None
    voluntary = involuntary = 0
    for path in threads:
        try:
            lines = Path(path).read_text().rsplit("\n", 3)  # the last two lines
        except OSError:
            continue
        voluntary += int(lines[-3].partition(":")[2])
        involuntary += int(lines[-2].partition(":")[2])
    return voluntary, involuntary


def _cpu_use_ns(cpus: Sequence[int]) -> tuple[int, int]:
    """Time that these CPUs spent in processes, and time that was stolen from them, since the machine started."""
    wanted = {f"cpu{cpu}" for cpu in cpus}
    busy = steal = 0
    with open("/proc/stat") as lines:
        for line in lines:
            name, *values = line.split()
            if not name.startswith("cpu"):
                break
            if name in wanted:
                user, nice, system, *_, stolen, _guest, _guest_nice = map(int, values)
                busy += user + nice + system
                steal += stolen
    tick_ns = SECOND_NS // os.sysconf("SC_CLK_TCK")
    return busy * tick_ns, steal * tick_ns


def _after_name(path: str) -> list[str]:
    """The fields of a ``stat`` file after the command's name, which may itself hold spaces and brackets."""
    return Path(path).read_text().rpartition(")")[2].split()
