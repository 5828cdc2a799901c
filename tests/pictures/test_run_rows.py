"""Rows of a run's pictures against what the record and the journal say by themselves."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.events import State, TrialReconfigured
from bench.pictures import curves, run_rows, space
from bench.pictures.values import short
from bench.record import Record, build_record
from tests.builders import Run, journal, study
from tests.pictures.drawn import FAILED, MIXED, events

LOSSES = st.floats(min_value=0.1, max_value=9)


@st.composite
def any_run(draw: st.DrawFn) -> Run:
    losses: list[float | None] = draw(st.lists(LOSSES, max_size=2))
    state: State = "completed" if len(losses) == 2 else draw(st.sampled_from(["stopped", "nan", "oom", "failed"]))
    if state == "nan":
        losses = [*losses, None]
    lr = draw(st.floats(min_value=5e-6, max_value=2e-4))
    return Run(losses=losses, lr=lr, batch_size=draw(st.sampled_from([1, 2])), state=state)


@settings(deadline=None, max_examples=60)
@given(st.lists(any_run(), max_size=8))
def test_rows_of_any_run(runs: list[Run]) -> None:
    made = journal(runs, study("asha"))
    record = build_record(made)
    rows = run_rows(record, made)
    json.dumps(rows, allow_nan=False)
    the_trace_never_rises(record, rows["trace"])
    phases_add_up(record, rows["phases"])
    every_trial_is_a_point_in_each_panel(record, rows["space"])
    every_epoch_is_a_point(record, rows["curves"])
    bars_do_not_overlap(rows["schedule"])


def the_trace_never_rises(record: Record, rows: list[dict[str, Any]]) -> None:
    best = min((t.best_loss for t in record.search_trials if t.best_loss is not None), default=None)
    for clock in ("allocated", "busy"):
        own = [row for row in rows if row["clock"] == clock]
        losses, costs = [row["eval_loss"] for row in own], [row["cost"] for row in own]
        assert losses == sorted(losses, reverse=True)
        assert costs == sorted(costs)
        assert (losses[-1] if losses else None) == best
        if own:
            search = record.costs.search
            assert costs[-1] == pytest.approx(getattr(search, f"{clock}_device_min"), abs=1e-4)


def phases_add_up(record: Record, rows: list[dict[str, Any]]) -> None:
    for purpose, costs in (("search", record.costs.search), ("final retrain", record.costs.final)):
        own = [row for row in rows if row["purpose"] == purpose]
        assert sum(row["device_min"] for row in own) == pytest.approx(costs.allocated_device_min or 0, abs=1e-3)
        assert sum(row["share"] for row in own) == pytest.approx(1.0 if own else 0.0, abs=1e-3)


def every_trial_is_a_point_in_each_panel(record: Record, rows: list[dict[str, Any]]) -> None:
    points = [row for row in rows if "trial" in row]
    numbers = sorted(trial.number for trial in record.search_trials)
    for name in ("learning rate", "batch size", "weight decay"):
        assert sorted(row["trial"] for row in points if row["dimension"] == name) == numbers
    for row in points:
        trial = record.search_trials[row["trial"] - 1]
        assert row["eval_loss"] == (trial.last_loss if trial.best_loss is None else trial.best_loss)
        assert row["full"] == (trial.best_loss is not None)
        assert row["value"] == trial.config[row["dimension"].replace(" ", "_")]


def every_epoch_is_a_point(record: Record, rows: list[dict[str, Any]]) -> None:
    for trial in record.search_trials:
        own = [(r["epoch"], r["eval_loss"]) for r in rows if r["trial"] == trial.number and r["eval_loss"] is not None]
        assert own == [(p.epoch, p.eval_loss) for p in trial.curve if p.eval_loss is not None]
        lost = [r for r in rows if r["trial"] == trial.number and r["eval_loss"] is None]
        assert bool(lost) == (trial.state in ("nan", "oom", "failed"))


def bars_do_not_overlap(rows: list[dict[str, Any]]) -> None:
    until: dict[int, float] = {}
    for row in sorted(rows, key=lambda r: (r["device"], r["from_s"])):
        assert row["from_s"] < row["until_s"] <= row["end_s"]
        assert row["from_s"] >= until.get(row["device"], 0.0)
        until[row["device"]] = row["until_s"]


def test_outcomes_and_what_is_said_of_trouble() -> None:
    rows = run_rows(build_record(events(MIXED)), None)
    assert "schedule" not in rows
    outcomes = {row["trial"]: row["outcome"] for row in rows["curves"]}
    assert outcomes == {1: "completed", 2: "stopped", 3: "failed", 4: "failed", 5: "winner"}
    said = {row["trial"]: row["what"] for row in rows["curves"] if row["mark"] == "trouble"}
    assert said == {3: "loss not finite", 4: "out of memory"}
    assert "2 without a loss" in rows["curves"][0]["note"]
    winners = [row for row in rows["space"] if row.get("winner")]
    assert {row["trial"] for row in winners} == {5}
    assert {row["group"] for row in winners} == {"batch size 1"}
    assert winners[0]["config"] == "learning rate 9e-6, batch size 1, weight decay 0"


def test_a_run_in_which_all_trials_failed_has_points_and_no_trace() -> None:
    rows = run_rows(build_record(events(FAILED)), events(FAILED))
    assert rows["trace"] == []
    assert sum("trial" in row for row in rows["space"]) == 3 * len(FAILED)
    assert {row["state"] for row in rows["curves"]} == {"nan", "oom"}


def test_a_trial_that_takes_over_weights_is_marked_where_it_does() -> None:
    made = journal([Run(losses=[5.0, 3.0]), Run(losses=[6.0, 2.5], lr=2e-5)], study("pbt"))
    index = next(i for i, e in enumerate(made) if e.kind == "epoch_finished" and e.trial == "t1")
    change = TrialReconfigured(
        at_s=made[index].at_s, trial="t1", donor="t0", donor_epoch=1,
        config={"learning_rate": 1.2e-4, "batch_size": 1, "weight_decay": 0.0},
    )  # fmt: skip
    rows = run_rows(build_record([*made[: index + 1], change, *made[index + 1 :]]), None)
    own = [row for row in rows["curves"] if row["trial"] == 2]
    assert [row["mark"] for row in own] == ["takeover", ""]
    assert own[0]["what"] == "then the weights of trial 1 after epoch 1"
    assert [row["config"].split(",")[0] for row in own] == ["learning rate 2e-5", "learning rate 1.2e-4"]


def test_ticks_are_round_numbers_within_the_bounds_and_all_choices() -> None:
    rows = run_rows(build_record(events(MIXED)), None)["space"]
    ticks = {
        row["dimension"]: [r["tick"] for r in rows if "tick" in r and r["dimension"] == row["dimension"]]
        for row in rows
    }
    assert ticks == {
        "learning rate": ["5e-6", "1e-5", "2e-5", "5e-5", "1e-4", "2e-4"],
        "batch size": ["1", "2"],
        "weight decay": ["0", "0.01"],
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [(2e-4, "2e-4"), (1.234567e-5, "1.235e-5"), (0.01, "0.01"), (16, "16"), (0, "0"), (-0.5, "-0.5"),
     (123456, "1.235e5"), (0.1, "0.1"), (1000, "1000"), (1e-3, "1e-3")],
)  # fmt: skip
def test_numbers_are_short(value: float, text: str) -> None:
    assert short(value) == text


def test_large_runs_are_thinned_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    most = 40
    monkeypatch.setattr(curves, "MOST_POINTS", most)
    monkeypatch.setattr(space, "MOST_POINTS", most)
    epochs = 30
    runs = [Run(losses=[5.0 - 0.1 * e - 0.01 * i for e in range(epochs)]) for i in range(8)]
    record = build_record(journal(runs, study("asha", epochs=epochs)))
    rows = run_rows(record, None)
    assert len(rows["curves"]) <= most
    assert "240 points" in rows["curves"][0]["note"]
    epochs_of = Counter(row["trial"] for row in rows["curves"])
    assert 8 in epochs_of, "the winner stays"
    for trial in epochs_of:
        own = [row["epoch"] for row in rows["curves"] if row["trial"] == trial]
        assert (own[0], own[-1]) == (1, epochs)
    assert sum("trial" in row for row in rows["space"]) <= most + 8
