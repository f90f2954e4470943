"""Bad input: one line that says what came and what was expected, status 2, nothing on stdout, nothing written."""

from pathlib import Path

import pytest

from iosim.cli import main

MODEL_FILES = {
    "broken.py": "async def server(listener:\n",
    "raises.py": "ready = True\nanswer = 1 / 0\n",
    "ends.py": "import sys\nsys.exit('no')\n",
    "empty.py": "",
    "plain.py": "def server(listener): pass\n",
    "listless.py": "async def server(): pass\n",
    "greedy.py": "async def server(listener, workers): pass\n",
    "odd.py": "async def server(listener, *, file=open): pass\n",
}
COSTS_FILES = {
    "noise.toml": ("this is not = = TOML", "Expected '='"),
    "unknown.toml": ("entry_nanos = 5\n", "Costs has no field entry_nanos; near: entry_ns"),
    "negative.toml": ("entry_ns = -5\n", "Costs.entry_ns: came -5, expected greater than or equal to 0"),
    "nan.toml": ("entry_ns = nan\n", "Costs.entry_ns: came nan, expected a finite number"),
    "text.toml": ("entry_ns = 'fast'\n", "Costs.entry_ns: came 'fast', expected a valid number"),
    "tier.toml": ("poll_scan_ns = [[100, 1], [200, -2]]\n", "Costs.poll_scan_ns: came -2, expected greater"),
    "tiers.toml": ("poll_scan_ns = [[100, 1], [10, 2]]\n", "expected tiers with ascending numbers of objects"),
}
CASES = {
    # the command line itself
    "no-such-command": ("rnu", "Did you mean 'run'"),
    "model-for-a-command": ("epoll_loop --clients 5", "no such command 'epoll_loop'; that is a model: `iosim run"),
    "no-model": ("run", "missing argument 'MODEL'"),
    "no-such-option": ("run epoll_loop --client 5", "--clients"),
    "option-without-value": ("run epoll_loop --clients", "--clients"),
    "two-models": ("run epoll_loop threads", "threads"),
    # models
    "near-name": ("run epol_loop", "near: epoll_loop"),
    "far-name": ("run zzz", "known: blocking"),
    "name-with-suffix": ("run epoll_loop.py", "the model of that name is called epoll_loop"),
    "name-of-a-file-here": ("run empty", "say ./empty.py"),
    "no-file": ("run ./nowhere.py", "no model file ./nowhere.py"),
    "folder": ("run ./", "no model file ./"),
    "no-python": ("run ./noise.toml", "ends in .py"),
    "syntax": ("run ./broken.py", "broken.py:1: SyntaxError"),
    "raises": ("run ./raises.py", "raises.py:2: ZeroDivisionError: division by zero"),
    "exits": ("run ./ends.py", "ends.py:2: SystemExit: no"),
    "no-server": ("run ./empty.py", "empty.py: has no `server`"),
    "sync-server": ("run ./plain.py", "no `async def`"),
    "no-listener": ("run ./listless.py", "takes no listener"),
    "positional-parameter": ("run ./greedy.py", "'workers', expected keyword-only"),
    "strange-parameter": ("run ./odd.py", "'file'"),
    "one-of-many": ("compare epoll_loop nope --world real", "'nope'"),
    # parameters of a model
    "no-equals": ("run prefork --set workers", "--set: came 'workers', expected KEY=VALUE"),
    "no-such-parameter": ("run epoll_loop --set workers=3", "no parameter 'workers'; it knows: none"),
    "nobodys-parameter": ("compare epoll_loop threads --set workers=3", "none of epoll_loop, threads"),
    "parameter-type": ("measure prefork --set workers=many", "prefork.workers: came 'many', expected a valid integer"),
    "negative-parameter": ("run prefork --set workers=-3", "prefork.workers: came '-3', expected 0 or more"),
    # units and values
    "bare-number": ("run epoll_loop --duration 5", "--duration: came '5', expected a duration with its unit"),
    "no-number": ("run epoll_loop --warmup ms", "--warmup: came 'ms'"),
    "unknown-unit": ("run epoll_loop --think 5minutes", "--think: came '5minutes'"),
    "negative-duration": ("run epoll_loop --work -5us", "--work: came '-5us'"),
    "too-short": ("run epoll_loop --duration 2ns", "--duration: came '2ns', expected greater than or equal to 1 µs"),
    "too-long": ("run epoll_loop --duration 90000s", "less than or equal to 86,400 s"),
    "half-nanosecond": ("run epoll_loop --work 0.5ns", "expected whole nanoseconds"),
    "no-clients": ("run epoll_loop --clients 0", "--clients: came '0', expected greater than or equal to 1"),
    "fractional-clients": ("run epoll_loop --clients 1.5", "--clients: came '1.5', expected a valid integer"),
    "absurd-clients": ("run epoll_loop --clients 99999999999", "--clients: came '99999999999', expected less"),
    "active-in-percent": ("run epoll_loop --active 50", "--active: came '50', expected less than or equal to 1"),
    "nan": ("run epoll_loop --active nan", "--active: came 'nan', expected a finite number"),
    "infinite": ("run epoll_loop --rate inf", "--rate: came 'inf'"),
    "negative-rate": ("measure epoll_loop --rate -1", "--rate: came '-1', expected greater than 0"),
    "word-for-rate": ("run epoll_loop --rate fast", "--rate: came 'fast', expected a valid number"),
    "both-loops": ("run epoll_loop --rate 5 --think 1ms", "--rate (open loop) and --think (closed loop) exclude"),
    "tiny-request": ("run epoll_loop --request-bytes 3", "--request-bytes: came '3', expected greater"),
    "unknown-arrivals": ("run epoll_loop --arrivals bursty", "expected 'poisson' or 'constant'"),
    "unknown-network": ("run epoll_loop --network wifi", "--network: came 'wifi', expected 'loopback' or 'nic'"),
    "no-cpu": ("run epoll_loop --cpus 0", "--cpus: came '0'"),
    "negative-seed": ("run epoll_loop --seed -1", "--seed: came '-1'"),
    "unknown-world": ("compare epoll_loop --world mars", "--world: came 'mars', expected 'sim', 'real' or 'both'"),
    "network-in-the-real-world": ("compare epoll_loop --world real --network nic", "--network: a real run takes this"),
    "network-in-both-worlds": ("compare epoll_loop --world both --network nic", "--network: a real run takes this"),
    "costs-in-the-real-world": ("compare epoll_loop --world real --costs default", "--costs: a real run takes this"),
    # costs
    "no-costs-file": ("run epoll_loop --costs nowhere.toml", "costs file nowhere.toml: No such file"),
    "costs-folder": ("run epoll_loop --costs .", "costs file .: Is a directory"),
    **{f"costs-{name}": (f"run epoll_loop --costs {name}", expected) for name, (_, expected) in COSTS_FILES.items()},
    # outputs
    "calibrate-into-nowhere": ("calibrate --output nowhere/host.toml", "the folder nowhere does not exist"),
    "study-onto-folder": ("study --output .", "is there already"),
    "calibrate-onto-folder": ("calibrate --output .", "is a folder, expected a file"),
}


REAL_CASES = {
    "too-many-clients": ("measure epoll_loop --clients 10000000", "--clients"),
    "too-many-cpus": ("measure epoll_loop --cpus 4000", "--cpus"),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with models and price lists that are wrong in one way each."""
    for name, text in MODEL_FILES.items():
        (tmp_path / name).write_text(text)
    for name, (text, _) in COSTS_FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    return tmp_path


@pytest.mark.parametrize(("arguments", "expected"), CASES.values(), ids=CASES)
def test_one_line(arguments: str, expected: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(folder.rglob("*"))
    assert main(arguments.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("iosim: ")
    assert err.count("\n") == 1
    assert expected in err
    assert sorted(folder.rglob("*")) == before


@pytest.mark.real
@pytest.mark.parametrize(("arguments", "expected"), REAL_CASES.values(), ids=REAL_CASES)
def test_this_host_is_asked_first(
    arguments: str, expected: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    test_one_line(arguments, expected, folder, capsys)
