"""What the README shows is run: its commands, its Python, its test line; and no figure in it is still to come."""

import re
import shlex
from pathlib import Path

import pytest

from iosim.cli import main
from iosim.programs import find

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
SHELL = [line for language, block in BLOCKS if language == "sh" for line in block.splitlines()]
COMMANDS = [line.removeprefix("iosim ") for line in SHELL if line.startswith("iosim ")]
TEST_LINE = "sh .ci/setup dev && .venv/bin/python -m pytest"
STUDY_LINE = "sh .ci/setup && .venv/bin/iosim study"
SHORTER = {
    "run": "--duration 50ms",
    "compare": "--duration 50ms",
    "measure": "--duration 100ms",
    "calibrate": "--quick",
}


def test_the_two_lines() -> None:
    assert SHELL[0] == STUDY_LINE
    assert SHELL[-1] == TEST_LINE
    assert set(SHELL) == {STUDY_LINE, TEST_LINE, *(f"iosim {command}" for command in COMMANDS)}


def test_the_whole_check_runs_the_test_line() -> None:
    check = (ROOT / ".ci" / "run").read_text().splitlines()
    assert any(line.partition(" || ")[0] == TEST_LINE for line in check)
    assert {line.split()[0].rpartition("/")[2] for line in check if line.startswith(".venv/bin/")} == {"ruff", "mypy"}


def test_every_figure_is_there() -> None:
    assert not re.findall("«.*?»", README)


@pytest.mark.real
def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """One after the other, for one of them writes the file that the next one reads; shorter than shown."""
    monkeypatch.chdir(tmp_path)
    for command in COMMANDS:
        words = shlex.split(command)
        assert main([*words, *shlex.split(SHORTER.get(words[0], ""))]) == 0, capsys.readouterr().err
        out, _ = capsys.readouterr()
        assert out or "--output" in words, command


def test_the_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = [block for language, block in BLOCKS if language == "python" and "import iosim" in block]
    exec(compile(code, "README.md", "exec"), {})
    assert "epoll_loop" in capsys.readouterr().out


def test_the_model_shown_is_the_model() -> None:
    (shown,) = [block for language, block in BLOCKS if language == "python" and "async def server" in block]
    assert find("epoll_loop").path.read_text().endswith(shown)
