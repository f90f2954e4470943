"""Host: what this machine is, and which of its CPUs go to whom."""

import os
import platform
from pathlib import Path
from typing import Any


def host_description() -> dict[str, Any]:
    """{"kernel", "cpu", "cpus", "python"} of this machine: text, text, number of CPUs this process may use, text."""
    return {
        "kernel": f"{platform.system()} {platform.release()}",
        "cpu": _cpu_model(),
        "cpus": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def share_cpus(wanted: int) -> tuple[list[int], int, list[str]]:
    """The CPUs of the server (the first ``wanted``), that of the clients (the last), and what is wrong with it.

    ValueError in one line when there are not so many.
    """
    allowed = sorted(os.sched_getaffinity(0))
    if not 1 <= wanted <= len(allowed):
        raise ValueError(f"--cpus {wanted}: a real run on this host can give its server 1 to {len(allowed)}")
    server, clients = allowed[:wanted], allowed[-1]
    warnings = []
    if clients in server:
        warnings.append(
            f"the clients share CPU {clients} with the server, so latencies and throughput are worse than its own: "
            + ("this host has one CPU" if len(allowed) == 1 else f"give the server at most {len(allowed) - 1}")
        )
    return server, clients, warnings
