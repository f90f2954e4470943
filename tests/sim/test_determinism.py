"""One seed, one digest: in this process and in others, watched or not, with and without an event per burst."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from iosim.load import Load
from iosim.machine import Machine
from iosim.programs import names
from iosim.results import Run
from iosim.run import run

MS = 1_000_000
LOADS: dict[str, dict[str, Any]] = {
    "open": {"clients": 5, "rate_per_s": 20_000.0},
    "open, in step": {"clients": 4, "rate_per_s": 40_000.0, "arrivals": "constant", "work_ns": 10_000},
    "closed": {"clients": 5, "think_ns": 100_000, "work_ns": 20_000, "work": "exponential"},
    "closed, in step": {"clients": 3, "think_ns": 0, "think": "constant"},
    "mostly idle": {"clients": 40, "active": 0.1, "rate_per_s": 20_000.0},
    "large replies": {"clients": 3, "think_ns": 50_000, "response_bytes": 200_000},
    "large requests": {"clients": 3, "think_ns": 50_000, "request_bytes": 200_000},
    "a number of requests": {"clients": 4, "think_ns": 10_000, "requests": 40},
}
MACHINES: dict[str, dict[str, Any]] = {
    "one cpu": {},
    "two cpus": {"cpus": 2},
    "four cpus, nic": {"cpus": 4, "network": "nic", "irq_cpu": 3},
    "nic, slow link": {"network": "nic", "latency_ns": 100_000, "bandwidth_bit_per_s": 1e8},
    "tiny slices": {"cpus": 2, "slice_ns": 2000},
    "small buffers": {"receive_buffer_bytes": 2304, "send_buffer_bytes": 4608, "latency_ns": 1000},
}


def simulate(model: str, load: str, machine: str, seed: int = 1, **options: Any) -> Run:
    short = {"duration_ns": MS, "warmup_ns": 0}
    return run(model, Load(**short, **LOADS[load]), machine=Machine(**MACHINES[machine]), seed=seed, **options)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("model", names())
def test_neither_an_event_per_burst_nor_a_tracer_changes_anything(model: str, load: str, machine: str) -> None:
    plain = simulate(model, load, machine)
    assert plain.requests["issued"] > 0
    returned: list[int] = []
    watched = simulate(
        model, load, machine, coalesce=False, tracer=lambda when_ns, _thread, _call: returned.append(when_ns)
    )
    assert watched.digest == plain.digest
    assert returned
    unlike = ("events", "wall_s")
    assert {k: v for k, v in watched.to_dict().items() if k not in unlike} == {
        k: v for k, v in plain.to_dict().items() if k not in unlike
    }


def test_ten_runs_of_one_seed_are_one_and_other_seeds_are_others() -> None:
    same = {simulate("threads", "closed", "two cpus", seed=7).digest for _ in range(10)}
    assert len(same) == 1
    others = {simulate("threads", "closed", "two cpus", seed=seed).digest for seed in range(10)}
    assert len(others) == 10
    assert same <= others


SCRIPT = """
import json, sys
from iosim import Load, Machine, run
from iosim.programs import names
loads, machines = json.loads(sys.argv[1])
for model in names():
    for load in loads:
        for machine in machines:
            print(run(model, Load(**load), machine=Machine(**machine), seed=3).digest)
"""


def test_other_processes_and_other_hashes_give_the_same_digests() -> None:
    short = {"duration_ns": MS, "warmup_ns": 0}
    loads = [{**short, **LOADS[name]} for name in ("open", "closed", "mostly idle")]
    machines = [MACHINES[name] for name in ("one cpu", "four cpus, nic")]
    told = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, json.dumps([loads, machines])],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            stdout=subprocess.PIPE,
        )
        for hash_seed in ("0", "1", "random")
    ]
    digests = [process.communicate()[0].decode().split() for process in told]
    here = [
        run(model, Load(**load), machine=Machine(**machine), seed=3).digest
        for model in names()
        for load in loads
        for machine in machines
    ]
    assert all(process.returncode == 0 for process in told)
    assert digests == [here] * 3
