"""Schedules as rows and as SVG."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from bench.gantt import Bar, Schedule, from_bars, schedule
from bench.pictures import schedule as module
from bench.pictures import schedules_to_svg
from bench.pictures.palette import GREEN, VERMILLION
from bench.pictures.schedule import rows
from tests.pictures.drawn import Drawn
from tests.test_gantt import many, two_slots


def test_every_phase_is_a_row_and_numbers_stand_where_stretches_begin() -> None:
    what = schedule(two_slots(), "two slots")
    found = rows(what)
    assert [(r["device"], r["from_s"], r["until_s"]) for r in found] == [
        (b.row + 1, b.start_s, b.end_s) for b in what.bars
    ]
    labels = [(r["device"], r["from_s"], r["label"], r["stretch_s"]) for r in found if "label" in r]
    assert labels == [(1, 5, "1", 10), (1, 16, "3", 4), (2, 5, "2", 20), (2, 25, "1", 15)]


def test_the_svg_has_a_bar_a_phase_and_is_the_same_every_time() -> None:
    what = schedule(two_slots(), "two slots")
    text = schedules_to_svg([what])
    assert text == schedules_to_svg([what])
    drawn = Drawn(text)
    fills = Counter(bar.get("fill") for bar in drawn.marks("bar"))
    assert sum(fills.values()) == len(what.bars)
    assert fills[GREEN] == sum(bar.kind == "train" for bar in what.bars)
    assert fills[VERMILLION] == 1
    words = {"two slots", "start-up", "in the queue", "idle", "1", "2", "3", "Time since the start (s)"}
    assert words <= set(drawn.texts())


def test_several_schedules_have_a_panel_each_with_their_own_bars() -> None:
    what = schedule(two_slots(), "first")
    drawn = Drawn(schedules_to_svg([what, many(3, 1)]))
    assert len(drawn.marks("bar")) == len(what.bars) + 3
    assert {"first", "many"} <= set(drawn.texts())


@pytest.mark.parametrize(("end_s", "unit"), [(100.0, "s"), (1000.0, "min"), (50_000.0, "h")])
def test_time_has_the_unit_in_which_it_is_best_read(end_s: float, unit: str) -> None:
    what = from_bars([Bar(row=0, start_s=0, end_s=end_s, kind="train", trial=1)], [], rows=1, end_s=end_s, title="x")
    assert f"Time since the start ({unit})" in Drawn(schedules_to_svg([what])).texts()
    assert f"Time since the start ({unit})" in Drawn(schedules_to_svg([what, many(2, 1)])).texts()


def test_titles_are_text() -> None:
    hostile = from_bars(many(1, 1).bars, [], rows=1, end_s=1.0, title="<a> & \x1b[31m")
    for schedules in ([hostile], [hostile, many(1, 1)]):
        assert "<a> & [31m" in Drawn(schedules_to_svg(schedules)).texts()


def test_a_run_without_work_is_a_picture_that_says_so() -> None:
    assert "Nothing ran." in Drawn(schedules_to_svg([Schedule(title="none", rows=0, bars=(), end_s=0.0)])).texts()


def test_long_schedules_are_drawn_coarsely_and_devices_beyond_the_picture_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST_POINTS", 600)
    monkeypatch.setattr(module, "MOST_ROWS", 2)
    bars = [
        Bar(row=row, start_s=float(i), end_s=i + 0.9, kind="train" if i < 500 else "eval", trial=i + 1)
        for row in range(3)
        for i in range(1000)
    ]
    found = rows(from_bars(bars, [], rows=3, end_s=1000.0, title="long"))
    assert len(found) <= 600
    assert found[0]["note"].startswith("1 of 3 devices are not drawn; 2000 phases")
    for device in (1, 2):
        own = [r for r in found if r["device"] == device]
        assert all(a["until_s"] <= b["from_s"] + 1e-9 for a, b in pairwise(own))
        covered = sum(r["until_s"] - r["from_s"] for r in own if r["kind"] == "train")
        assert covered == pytest.approx(500, rel=0.02)
