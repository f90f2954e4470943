"""The commands as a person and as another program meet them."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from iosim import cli
from iosim.cli import app, main
from iosim.cli_options import FLAGS
from iosim.costs import Costs, load_costs
from iosim.load import Load
from iosim.machine import Machine
from iosim.programs import names
from iosim.results import Run

SHORT = ["--duration", "20ms", "--warmup", "5ms"]
LONG = ["run", "epoll_loop", "--clients", "100", "--rate", "50000", "--duration", "1000s"]
IOSIM = [sys.executable, "-m", "iosim"]
CONTRACT = {
    "format", "model", "world", "load", "seed", "costs", "requests", "throughput_per_s", "latency_ns",
    "latency_parts_ns", "cpu", "cpu_ns_per_request", "syscalls", "context_switches", "wakeups", "memory_bytes",
    "events", "wall_s", "digest", "warnings",
}  # fmt: skip
"""What other tools rely on."""


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """What the command prints as JSON; all of standard output, and nothing on the other stream."""
    assert main([*arguments, "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return json.loads(out)


def test_run_prints_the_object_of_the_contract(capsys: pytest.CaptureFixture[str]) -> None:
    run = answer(capsys, "run", "epoll_loop", "--clients", "10", *SHORT)
    assert set(run) >= CONTRACT
    assert (run["format"], run["model"], run["world"], run["seed"]) == (1, "epoll_loop", "sim", 1)
    assert (
        sum(run["requests"][key] for key in ("completed", "in_flight", "dropped", "failed"))
        == run["requests"]["issued"]
    )
    assert sum(run["latency_parts_ns"].values()) == pytest.approx(run["latency_ns"]["mean"])
    assert sum(run["cpu"].values()) == pytest.approx(1)
    assert Run.from_dict(run).to_dict() == run


def test_options_reach_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    options = (
        "--clients 20 --active 0.5 --think 2ms --think-distribution constant --request-bytes 100 --response-bytes 300 "
        "--work 3us --work-distribution exponential --duration 30ms --warmup 1ms --cpus 2 --network nic --latency 5us "
        "--seed 7 --set workers=20"
    )
    run = answer(capsys, "run", "prefork", *options.split())
    expected = Load(
        clients=20, active=0.5, think_ns=2_000_000, think="constant", request_bytes=100, response_bytes=300,
        work_ns=3_000, work="exponential", duration_ns=30_000_000, warmup_ns=1_000_000,
    )  # fmt: skip
    assert run["load"] == expected.model_dump()
    assert run["machine"] == Machine(cpus=2, network="nic", latency_ns=5_000).model_dump()
    assert (run["seed"], run["params"]) == (7, {"workers": 20})
    open_loop = answer(
        capsys, "run", "epoll_loop", "--rate", "999", "--arrivals", "constant", "--requests", "9", *SHORT
    )
    assert [open_loop["load"][key] for key in ("rate_per_s", "arrivals", "requests")] == [999, "constant", 9]


def test_a_price_list_reaches_the_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("slow.toml").write_text(Costs(name="slow", read_ns=50_000).to_toml())
    fast = answer(capsys, "run", "epoll_loop", "--rate", "1000", *SHORT)
    slow = answer(capsys, "run", "epoll_loop", "--rate", "1000", "--costs", "slow.toml", *SHORT)
    assert "slow" in slow["costs"]
    assert slow["cpu_ns_per_request"] > fast["cpu_ns_per_request"] + 40_000
    assert load_costs("slow.toml").read_ns == 50_000


def test_a_file_of_ones_own_runs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(
        "from iosim.protocol import respond\n"
        "from iosim.syscalls import accept4, read, write\n\n"
        "async def server(listener):\n"
        "    conn = await accept4(listener)\n"
        "    while request := await read(conn):\n"
        "        await write(conn, await respond(request))\n"
    )
    run = answer(capsys, "run", str(mine), "--clients", "1", *SHORT)
    assert run["model"] == "mine"
    assert run["requests"]["completed"] > 100


def test_compare_gives_a_list_and_a_parameter_to_whom_knows_it(capsys: pytest.CaptureFixture[str]) -> None:
    runs = answer(capsys, "compare", "threads", "prefork", "--set", "workers=3", "--clients", "3", *SHORT)
    assert [(run["model"], run["params"]) for run in runs] == [("threads", {}), ("prefork", {"workers": 3})]
    assert runs[0]["load"] == runs[1]["load"]


def test_compare_shows_a_row_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "threads", "epoll_loop", *SHORT]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["model", "threads", "epoll_loop"]


def test_compare_all_takes_every_model(capsys: pytest.CaptureFixture[str]) -> None:
    runs = answer(capsys, "compare", "all", "--clients", "1", *SHORT)
    assert [run["model"] for run in runs] == names()


@pytest.mark.real
def test_compare_both_shows_the_worlds_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    both = ["compare", "threads", "epoll_loop", "--world", "both", "--clients", "2", "--rate", "1000"]
    assert main([*both, "--duration", "200ms"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["model", *["sim", "real"] * 4]
    assert [line.split()[0] for line in lines[2:4]] == ["threads", "epoll_loop"]
    for line in lines[2:4]:
        simulated_per_s, measured_per_s = line.split()[1:3]
        assert 150 < int(simulated_per_s.replace(",", "")) < 5000, line
        assert 150 < int(measured_per_s.replace(",", "")) < 5000, line
    (sim, real) = answer(capsys, *both[:2], *both[3:], "--requests", "50")
    assert [sim["world"], real["world"]] == ["sim", "real"]
    assert sim["load"] == real["load"]


@pytest.mark.real
def test_the_real_world_gives_the_same_object(capsys: pytest.CaptureFixture[str]) -> None:
    load = ["epoll_loop", "--clients", "5", "--rate", "500", "--duration", "300ms"]
    measured = answer(capsys, "measure", *load)
    assert set(measured) == set(answer(capsys, "run", *load))
    assert measured["world"] == "real"
    assert measured["requests"]["issued"] > 0
    (compared,) = answer(capsys, "compare", *load, "--world", "real")
    assert compared["world"] == "real"


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    listed = answer(capsys, "list")
    by_name = {model["name"]: model for model in listed}
    assert by_name["prefork"]["params"]["workers"] == 8
    assert by_name["epoll_loop"]["kind"] == "multiplexing"
    assert main(["list"]) == 0
    page = capsys.readouterr().out
    assert all(name in page for name in by_name)
    assert "--set workers=8" in page


def test_help_names_every_command_and_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    front = capsys.readouterr().out
    commands = [command.name for command in app.registered_commands]
    assert commands == ["study", "list", "run", "measure", "compare", "calibrate"]
    for name in filter(None, commands):
        assert re.search(rf"│ {name} +\w", front)
        assert main([name, "--help"]) == 0
        page = capsys.readouterr().out
        assert "--json" in page
        assert f"iosim {name}" in page.partition("Options")[2], "no example"
    assert main(["run", "--help"]) == 0
    page = capsys.readouterr().out
    for option in [flag.name for flag in FLAGS] + ["--seed", "--costs", "--set"]:
        assert f"{option} " in page


def test_ctrl_c_stops_in_one_line() -> None:
    with subprocess.Popen([*IOSIM, *LONG], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        time.sleep(1.5)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (130, "", "iosim: stopped\n")


def test_ctrl_c_loses_no_finished_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    finished = cli._simulated

    def stopped_at_threads(model: str, *rest: Any) -> Run:
        if model == "threads":
            raise KeyboardInterrupt
        return finished(model, *rest)

    monkeypatch.setattr(cli, "_simulated", stopped_at_threads)
    assert main(["compare", "epoll_loop", "threads", "--json", *SHORT]) == 130
    out, err = capsys.readouterr()
    assert err == "iosim: stopped\n"
    assert [run["model"] for run in json.loads(out)] == ["epoll_loop"]


def test_a_closed_pipe_is_no_fault() -> None:
    done = subprocess.run(
        ["bash", "-c", '"$@" | head -c 10; echo " ${PIPESTATUS[0]}"', "-", *IOSIM, "list", "--json"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("[{")
    assert done.stderr == ""


def test_a_bar_shows_on_a_terminal_only() -> None:
    """A person at a terminal sees it on stderr (here at once); the JSON on stdout stays whole."""
    ours, theirs = pty.openpty()
    arguments = ["run", "epoll_loop", "--rate", "20000", "--duration", "500ms", "--json"]
    script = f"from iosim import cli, cli_progress; cli_progress.PATIENCE_S = 0; cli.main({arguments})"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=theirs, text=True) as process:
        os.close(theirs)
        assert process.stdout
        whole = process.stdout.read()
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert "simulating epoll_loop" in shown
    assert json.loads(whole)["model"] == "epoll_loop"
