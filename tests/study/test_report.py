"""The report: one page that loads nothing, with words that come from the numbers."""

import re
from dataclasses import replace
from pathlib import Path

from iosim.report import Findings, draw, render, warnings_of
from iosim.report_words import Words


def test_the_page_is_self_contained_and_says_everything(findings: Findings, tmp_path: Path) -> None:
    page = render(findings, draw(findings, tmp_path), elapsed_s=12.0)
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", page)
    assert not re.findall(r"https?://|@import|url\(", page)
    assert page.count("data:image/svg+xml;base64,") == 6
    for needed in ("iosim study --quick", "entry_ns", "A/A pairs", "one connection at a time", "a warning of 7 s"):
        assert needed in page
    assert len(list(tmp_path.glob("*.png"))) == len(list(tmp_path.glob("*.svg"))) == 6


def test_the_summary_has_a_few_sentences_with_numbers(findings: Findings) -> None:
    told = Words(findings).summary()
    assert 3 <= len(told) <= 5
    assert all(re.search(r"\d", sentence) for _, sentence in told)
    assert "measured" in dict(told)["CPU time"]
    assert "poll_loop" in dict(told)["CPU time"]


def test_without_measurements_the_words_say_so(findings: Findings, tmp_path: Path) -> None:
    alone = replace(findings, table=findings.table[findings.table.world != "real"])
    told = dict(Words(alone).summary())
    assert "(simulated)" in told["CPU time"]
    assert "Nothing could be measured" in told["Agreement"]
    assert "Nothing could be measured" in render(alone, draw(alone, tmp_path), elapsed_s=1.0)


def test_warnings_that_differ_in_numbers_alone_are_one(findings: Findings) -> None:
    table = findings.table.copy()
    table.loc[:, "warnings"] = ""
    table.loc[table.index[:3], "warnings"] = ["3 of 7 late", "4 of 9 late", "cold | 1 of 2 late"]
    assert [(text, count) for text, _, count in warnings_of(table)] == [("3 of 7 late", 3), ("cold", 1)]
