"""Rows of a board's pictures: in its order, none without being said, no infinity."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bench.pictures import board_rows, ratios
from bench.statistics import Estimate
from tests.pictures.drawn import FAILED, GRID, board, found, full_board


def test_ratios_are_those_of_the_board_in_its_order() -> None:
    made = full_board()
    rows = board_rows(made)["ratios"]
    json.dumps(rows, allow_nan=False)
    assert [row["label"] for row in rows] == [row.label for row in made.rows]
    by_strategy = {row.strategy: drawn for row, drawn in zip(made.rows, rows, strict=True)}
    # Manual: 2 trials of 24 s, the second one at the target; the others get there with their first, or never.
    assert by_strategy["manual"]["ratio"] == 1
    assert by_strategy["asha"]["ratio"] == pytest.approx(0.5)
    assert by_strategy["asha"]["provisional"]
    assert (by_strategy["tpe"]["ratio"], by_strategy["tpe"]["to_right"]) == (pytest.approx(0.5), True)
    assert by_strategy["tpe"]["success_rate"] == pytest.approx(5 / 6)
    never = by_strategy["bohb"]
    assert (never["ratio"], never["low"], never["high"]) == (None, None, None)
    assert "target missed" in never["edge"]


@pytest.mark.parametrize(
    ("estimate", "ends"),
    [
        (Estimate(2.0, 1.0, 3.0), (1.0, 3.0, False, False)),
        (Estimate(2.0, 2.0, 2.0), (None, None, False, False)),
        (Estimate(2.0, 0.0, 3.0), (None, 3.0, True, False)),
        (Estimate(2.0, 1.0, float("inf")), (1.0, None, False, True)),
        (Estimate(2.0, 0.0, float("inf")), (None, None, True, True)),
        (Estimate(float("inf"), 2.0, float("inf")), (2.0, None, False, True)),
        (Estimate(float("nan"), float("nan"), float("nan")), (None, None, False, False)),
        (None, (None, None, False, False)),
    ],
)
def test_intervals_end_where_a_logarithmic_axis_has_their_ends(
    estimate: Estimate | None, ends: tuple[float | None, float | None, bool, bool]
) -> None:
    made = full_board()
    row = ratios.rows(replace(made, rows=(replace(made.rows[0], ratio=estimate),)))[0]
    assert (row["low"], row["high"], row["to_left"], row["to_right"]) == ends
    assert bool(row["edge"]) == (row["ratio"] is None)


def test_quality_is_cost_and_loss_and_says_what_it_leaves_out() -> None:
    made = board(found(GRID, "manual"), found(FAILED, "asha"), found(GRID, "tpe"))
    rows = board_rows(made)["quality"]
    assert len(board_rows(made)["ratios"]) == len(made.rows) == 3
    assert {row["label"] for row in rows} == {row.label for row in made.rows if row.strategy != "asha"}
    assert [row["eval_loss"] for row in rows] == [3.5, 3.5]
    assert [row["cost"] for row in rows] == [pytest.approx(48 / 60)] * 2
    assert sum(row["manual"] for row in rows) == 1
    assert rows[0]["note"] == "1 of 3 rows have no cost or no loss to draw"
    assert {row["minutes"] for row in rows} == {"GPU-min"}


def test_rows_of_one_name_are_told_apart_and_a_long_board_is_cut() -> None:
    made = full_board()
    twins = tuple(replace(made.rows[0], label="<b>\x1b[1mtwin") for _ in range(ratios.MOST_ROWS + 5))
    rows = board_rows(replace(made, rows=twins))
    assert rows["quality"][1]["label"] == "<b>[1mtwin (2)"
    assert len({row["label"] for row in rows["ratios"]}) == len(rows["ratios"]) == ratios.MOST_ROWS
    assert rows["ratios"][0]["note"] == "the first 100 of 105 rows"
