"""The published report, word for word: a change of it must be meant."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from rich.console import Console

from bench.report import published_report

GOLDEN = Path(__file__).parent / "published_report.txt"


def shown(width: int) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    published_report().to_terminal(console)
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()) + "\n"


def test_the_terminal_output_is_the_golden_one() -> None:
    assert shown(120) == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [40, 60, 80, 100])
def test_narrow_terminals_lose_nothing(width: int) -> None:
    text = shown(width)
    assert max(map(len, text.splitlines())) <= width
    for word in ("109.67", "424.30", "180.99", "0.31", "1.20", "0.51", "11.7463", "1.20387e-05"):
        assert word in text


def test_the_csv_holds_each_ratio_with_what_is_wrong_with_it() -> None:
    rows = {row["strategy"]: row for row in csv.DictReader(io.StringIO(published_report().to_csv()))}
    assert {s: round(float(r["published_ratio"]), 2) for s, r in rows.items()} == {
        "manual": 1.0,
        "asha": 0.31,
        "bohb": 0.51,
        "pbt": 1.2,
    }
    assert all(row["wrong"] for row in rows.values())


def test_ratios_across_hardware_are_published_but_not_ours() -> None:
    report = published_report()
    costs = report.table("costs")
    ratios = dict(zip(costs.column("strategy"), costs.column("ratio_busy"), strict=True))
    assert ratios["manual"] == 1.0
    assert ratios["asha"] == pytest.approx(109.66576666666667 / 321.39233333333334)
    assert ratios["bohb"] is None
    assert ratios["pbt"] is None
    assert any("profile a100 against v100" in warning for warning in report.warnings)
