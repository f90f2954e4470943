"""Compiled or not, the simulation is the same one."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DIGESTS = """
import json, iosim, iosim.sim.cpu
load = iosim.Load(clients=8, rate_per_s=30_000, work_ns=3_000, work="exponential", duration_ns=20_000_000)
machine = iosim.Machine(cpus=2, slice_ns=20_000, network="nic", latency_ns=1_000)
digests = {
    model.name: iosim.run(model.name, load.replace(clients=clients), machine=machine).digest
    for model in iosim.models()
    for clients in (1, 8)
}
print(json.dumps([iosim.sim.cpu.__file__, digests]))
"""


def digests(checkout: Path) -> tuple[str, dict[str, str]]:
    """The file that the CPU comes from, and the digest of each model, of the iosim in that folder."""
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    answer = subprocess.run(
        [sys.executable, "-c", DIGESTS], cwd=checkout, env=environment, capture_output=True, text=True, check=True
    )
    file, found = json.loads(answer.stdout)
    return file, found


@pytest.mark.skipif(not (shutil.which("cc") or shutil.which("gcc")), reason="needs a C compiler")
def test_the_compiled_kernel_gives_the_same_digests(tmp_path: Path) -> None:
    plain_file, plain = digests(ROOT)
    copy = tmp_path / "compiled"
    build = subprocess.run(
        [sys.executable, ".ci/compile", copy], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )
    assert build.returncode == 0, build.stderr[-2000:]
    compiled_file, compiled = digests(copy)
    assert plain_file.endswith(".py")
    assert compiled_file.endswith(".so")
    assert compiled == plain
