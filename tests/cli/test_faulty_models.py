"""A model that fails while it runs: status 1, and one line that names the line of its file, in either world."""

from pathlib import Path

import pytest

from iosim.cli import main
from iosim.sim.watchdog import Watchdog

HEAD = "from iosim.syscalls import accept4, read\n\n\nasync def server(listener):\n    conn = await accept4(listener)\n"
FAULTS = {
    "raises": ("    1 / 0\n", "mine.py:6: ZeroDivisionError: division by zero"),
    "bad-descriptor": ("    await read(77)\n", "mine.py:6: OSError: [Errno 9] Bad file descriptor"),
    "foreign-await": (
        "    import asyncio\n    await asyncio.sleep(1)\n",
        "mine.py:7: RuntimeError: no running event loop",
    ),
}


@pytest.mark.parametrize("world", ["run", pytest.param("measure", marks=pytest.mark.real)])
@pytest.mark.parametrize(("body", "expected"), FAULTS.values(), ids=FAULTS)
def test_the_line_is_named(
    world: str, body: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(HEAD + body)
    assert main([world, str(mine), "--duration", "50ms"]) == 1
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"iosim: {expected}\n")


def test_a_program_that_never_awaits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Watchdog.__init__, "__defaults__", (0.3,))  # seconds of patience
    mine = tmp_path / "mine.py"
    mine.write_text(HEAD + "    while True:\n        pass\n")
    assert main(["run", str(mine)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "mine.py:" in err
    assert "without awaiting a call" in err


def test_select_fails_as_select_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "select_loop", "--clients", "1500"]) == 1
    assert "ValueError: select(2) knows descriptors 0 to 1023, came 1024" in capsys.readouterr().err
