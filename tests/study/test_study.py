"""``iosim study`` from end to end, and what it leaves when it is cut short."""

import re
import sys
import time
from pathlib import Path
from typing import NoReturn

import pandas as pd
import pytest

from iosim.study import study

FEW_S = 40
"""The bound of a quick study on two idle CPUs; a busy host may take twice as long before this test minds."""


@pytest.mark.real
def test_a_quick_study_from_end_to_end(tmp_path: Path) -> None:
    told: list[float] = []
    begun_s = time.monotonic()
    found = study(tmp_path / "out", quick=True, progress=lambda _label, done: told.append(done))
    assert time.monotonic() - begun_s < 2 * FEW_S
    assert told == sorted(told)
    assert told[-1] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    files = {path.name for path in found.path.iterdir()}
    assert {"report.html", "table.parquet", "costs.toml"} <= files
    assert sum(name.endswith(".png") for name in files) == sum(name.endswith(".svg") for name in files) == 6
    table = pd.read_parquet(found.path / "table.parquet")
    assert len(table) == len(found.table)
    for model, rows in table.groupby("model"):
        assert set(rows.world) == {"theory", "sim", "real"}, f"{model}: {found.skips}"
    assert (table.throughput_per_s > 0).all()
    page = found.report.read_text()
    assert not re.findall(r"https?://|@import|url\(", page)
    assert "epoll_loop" in page


@pytest.mark.parametrize("cut", [KeyboardInterrupt, RuntimeError])
def test_a_study_that_is_cut_short_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: type[BaseException]
) -> None:
    import iosim.calibrate  # noqa: F401

    def calibrate(**_options: object) -> NoReturn:
        raise cut

    monkeypatch.setattr(sys.modules["iosim.calibrate"], "calibrate", calibrate)
    with pytest.raises(cut):
        study(tmp_path / "results" / "out")
    assert list((tmp_path / "results").iterdir()) == []


def test_a_folder_that_is_there_is_not_touched(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match=r"is there already: name another folder"):
        study(tmp_path)
    assert list(tmp_path.iterdir()) == []
