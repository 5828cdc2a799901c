"""The published tables through the ledger give the published numbers, and say what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import UserError
from bench.ledger import cost_ratio
from bench.published import (
    PublishedRow,
    load_published,
    published_dir,
    published_events,
    published_records,
    read_rows,
    without_repeats,
)

RECORDS = published_records()


@pytest.mark.parametrize(
    ("strategy", "device_min", "ratio"), [("asha", 109.67, 0.31), ("pbt", 424.30, 1.20), ("bohb", 180.99, 0.51)]
)
def test_published_costs_and_ratios(strategy: str, device_min: float, ratio: float) -> None:
    costs, manual = RECORDS[strategy].costs.search, RECORDS["manual"].costs.search
    assert round(costs.busy_device_min, 2) == device_min
    assert costs.allocated_device_min is None
    assert manual.allocated_device_min == 354.0
    assert round(cost_ratio(costs.busy_device_min, manual.allocated_device_min) or 0, 2) == ratio


def test_the_manual_table_has_seventeen_rows_of_twelve_jobs() -> None:
    rows = read_rows(published_dir() / "manual_v100.csv")
    kept, repeats = without_repeats(rows)
    assert (len(rows), len(kept)) == (17, 12)
    assert [r.number for r in repeats] == [3, 5, 7, 9, 11]
    manual = RECORDS["manual"]
    assert round(manual.costs.search.busy_device_min, 1) == 321.4
    assert manual.costs.search.wall_s == 177 * 60
    assert [n.message for n in manual.notes] == [
        "Rows 3, 5, 7, 9, 11 of manual_v100.csv repeat an earlier row (printed by the job's second rank): left out."
    ]


def test_what_a_repeat_is() -> None:
    row = PublishedRow(number=1, config={"learning_rate": 1e-5, "weight_decay": 0.0}, eval_loss=9.5, runtime_s=900.0)
    again = {"number": 2, "config": row.config, "eval_loss": 9.5, "runtime_s": 900.9}
    assert PublishedRow(**again).repeats(row)  # type: ignore[arg-type]
    for change in (
        {"config": {"learning_rate": 1e-5, "weight_decay": 0.01}},
        {"eval_loss": 9.5000001},
        {"runtime_s": 901.0},
    ):
        assert not PublishedRow(**(again | change)).repeats(row)  # type: ignore[arg-type]


def test_only_manual_trials_are_known_to_have_reached_full_fidelity() -> None:
    manual = RECORDS["manual"]
    assert manual.winner is not None
    assert (manual.winner.trial, round(manual.winner.eval_loss, 4), manual.winner.edges) == (
        "14",
        9.3347,
        ("learning_rate",),
    )
    for strategy, lowest in (("asha", 9.4901), ("bohb", 9.3748), ("pbt", 9.5751)):
        record = RECORDS[strategy]
        assert record.winner is None
        assert len(record.trials) == 12
        assert round(min(t.last_loss or 99 for t in record.trials), 4) == lowest


def test_the_final_retrain_is_known_for_manual_alone() -> None:
    final = RECORDS["manual"].final
    assert final is not None
    assert final.test_loss == 11.7463
    assert RECORDS["asha"].final is None


def test_every_table_says_what_is_wrong_with_its_ratio() -> None:
    about = load_published()
    assert all(table.wrong for strategy, table in about.tables.items() if strategy != "manual")
    assert about.limits


def test_an_unknown_strategy_has_no_table() -> None:
    with pytest.raises(KeyError):
        published_events("hyperband")


def test_a_damaged_table_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("row,lr,per_device_bs,wd,eval_loss,runtime_s\n1,1e-5,1,0,9.0,10\n2,x,1,0,9.0,10\n")
    with pytest.raises(UserError, match="line 3"):
        read_rows(path)
    with pytest.raises(UserError, match="Cannot read"):
        read_rows(tmp_path / "missing.csv")


def test_a_loss_that_is_not_finite_is_kept_as_such(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("row,lr,per_device_bs,wd,eval_loss,runtime_s\n1,1e-5,1,0,nan,10\n")
    assert read_rows(path)[0].eval_loss is None
