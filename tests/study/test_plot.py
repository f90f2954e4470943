"""Pictures: every axis has its unit, every picture its load, every model its look."""

from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from iosim import plot
from iosim.study_table import QUANTITIES


def texts(figure: Figure) -> str:
    return " ".join(text.get_text() for text in (figure._supylabel, figure._supxlabel, figure._suptitle) if text)  # type: ignore[attr-defined]


@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize("activity", [0.1, 1.0])
def test_a_comparison_names_units_loop_and_activity(table: pd.DataFrame, quantity: object, activity: float) -> None:
    figure = plot.compared(table, quantity, activity)  # type: ignore[arg-type]
    assert ("requests/s" if "throughput" in str(quantity) else "µs") in texts(figure)
    assert ("open loop" if "steady" in str(quantity) else "closed loop") in texts(figure)
    assert f"{100 * activity:.0f} % of the connections active" in texts(figure)
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title("left") for axes in panels] == list(dict.fromkeys(plot.in_order(table.model)))
    assert any("connections" in axes.get_xlabel() for axes in panels)


def test_models_keep_their_colours_and_markers() -> None:
    looks = list(plot.STYLES.values())
    assert len(set(looks)) == len({colour for colour, _ in looks}) == len({marker for _, marker in looks}) == 8
    assert plot.style_of("mine") == plot.style_of("yours")


def test_causes_are_stacked_in_one_order_and_what_burns_is_cut(table: pd.DataFrame) -> None:
    figure = plot.cpu_by_cause(table, 100, 0.1)
    axes = figure.axes[0]
    assert "µs" in axes.get_xlabel()
    assert any("▸" in text.get_text() for text in axes.texts)
    assert "100 connections" in texts(figure)


def test_the_error_picture_has_a_band_and_hollow_markers(table: pd.DataFrame) -> None:
    table.loc[(table.world == "real") & (table.model == "threads"), "utilization"] = 0.5
    figure = plot.error_picture(table, {quantity.title: 0.1 for quantity in QUANTITIES})
    assert "simulated / measured" in texts(figure)
    faces = {line.get_markerfacecolor() for axes in figure.axes for line in axes.get_lines()}
    assert "none" in faces


def test_a_picture_without_any_measurement_can_be_drawn(table: pd.DataFrame, tmp_path: Path) -> None:
    alone = table[table.world != "real"]
    for figure in (plot.compared(alone, QUANTITIES[3], 0.1), plot.error_picture(alone, {})):
        assert all(path.stat().st_size for path in plot.save(figure, tmp_path / "alone"))


def test_the_same_figure_gives_the_same_bytes(table: pd.DataFrame, tmp_path: Path) -> None:
    one = [path.read_bytes() for path in plot.save(plot.cpu_by_cause(table, 100, 0.1), tmp_path / "one")]
    two = [path.read_bytes() for path in plot.save(plot.cpu_by_cause(table, 100, 0.1), tmp_path / "two")]
    assert one == two
