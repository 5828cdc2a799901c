"""What a comparison may say where seeds, the grid's order, start-up or the final retrain would mislead it."""

from __future__ import annotations

from typing import Any

import pytest

from bench.events import Event, TrialCreated, TrialEnded, TrialStarted, WorkLost
from bench.record import Record, build_record
from bench.report import Report, compare, report_run
from bench.report.entries import entries
from bench.report.sides import sides_of
from bench.report.verdict import standing
from bench.tables import Missing
from tests.builders import Run, journal, started, study

WORSE = [Run(losses=[5.0, 4.0]), Run(losses=[6.0, 4.5])]
BETTER = [Run(losses=[5.0, 3.0]), Run(losses=[6.0, 4.5])]


def record(runs: list[Run], strategy: str = "manual", speed: float = 1.0, **changes: Any) -> Record:
    final_loss = 2.0 if changes.get("final_epochs", 4) else None
    return build_record(journal(runs, study(strategy, **changes), speed=speed, final_loss=final_loss))


def cells(report: Report, table: str, key: str) -> list[Any]:
    return report.table(table).column(key)


def written(report: Report) -> str:
    return "\n".join(report.comparison)


def two_seeds() -> list[Record]:
    """Target 3.5, the median of 3.0 and 4.0: reached by the grid and the search with seed 0, by neither with seed 1."""
    return [
        *(record(r, seed=s) for s, r in enumerate((BETTER, WORSE))),
        *(record(r, "random", seed=s, speed=2.0) for s, r in enumerate((BETTER, WORSE))),
    ]


def test_two_seeds_of_which_one_reaches_the_target() -> None:
    report = compare(two_seeds())
    labels = cells(report, "target", "run_type")
    reached = dict(zip(labels, cells(report, "target", "reached"), strict=True))
    assert reached["Manual best, seed 0"] == "yes"
    assert reached["Manual best, seed 1"] == "no"
    assert reached["Manual best: median of 2"] == "1 of 2"
    assert reached["Ray best (RANDOM): median of 2"] == "1 of 2"
    ratios = dict(zip(labels, cells(report, "target", "target_ratio_allocated"), strict=True))
    assert ratios["Ray best (RANDOM), seed 0"] == pytest.approx((1 + 46) / (1 + 23))
    notes = "\n".join(report.table("target").notes)
    assert "seed 1: its whole grid cost 0.800 GPU-minutes; it did not reach the target." in notes
    assert "unknown" not in notes
    text = written(report)
    # Manual: 24 s to the target and 48 s without; the search: 47 s and 94 s.
    assert "Manual best in 1 of 2 seeds, at 1.20 GPU-minutes a success" in text
    assert "Ray best (RANDOM) in 1 of 2 seeds, at 2.35 GPU-minutes a success" in text
    assert "never" not in text
    assert "no other reached" not in text
    assert "in 1 of 2 seeds, the grid in 1 of 2 seeds, for 1.96 of what the grid spent for each success" in text


def test_a_search_that_reaches_it_with_fewer_seeds_is_said_to() -> None:
    runs = [*two_seeds()[:2], *(record(WORSE, "random", seed=s) for s in range(2))]
    text = written(compare(runs))
    assert "never Ray best (RANDOM) (0 of 2 seeds)" in text
    assert "as good as the grid's winner in 0 of 2 seeds, the grid itself in 1 of 2 seeds" in text
    sides = sides_of(entries(runs), "allocated")
    assert standing(sides[1], sides[0]) == "rarer"


def test_a_winner_without_full_fidelity_in_one_seed_does_not_hide_the_other() -> None:
    stopped = [Run(losses=[5.0], state="stopped")]
    runs = [record(WORSE, seed=s) for s in range(2)] + [
        record(r, "asha", seed=s) for s, r in enumerate((BETTER, stopped))
    ]
    assert "Without a winner at full fidelity: Ray best (ASHA) in 1 of 2 seeds." in written(compare(runs))


# The grid's first trial is its winner: 24 s as it ran; (8 + 1) / 2 = 4.5 trials in a random order.
LUCKY = [Run(losses=[5.0, 3.0]), *[Run(losses=[6.0, 5.0], lr=2e-5)] * 7]
THIRD = [Run(losses=[6.0, 4.0]), Run(losses=[6.0, 4.0]), Run(losses=[5.0, 2.5])]


def test_a_verdict_that_rests_on_the_order_of_the_grid_says_so() -> None:
    report = report_run(record(THIRD, "bohb"), record(LUCKY))
    assert cells(report, "target", "target_ratio_allocated") == pytest.approx([1, 3])
    assert cells(report, "target", "random_order_allocated_device_min") == pytest.approx([4.5 * 24 / 60] * 2)
    assert cells(report, "target", "random_order_ratio_allocated") == pytest.approx([1 / 4.5, 3 / 4.5])
    text = written(report)
    assert "In its own order the grid got there with trial 1 of 8; in a random order it would spend 1.80" in text
    assert "for 3.00 of what the grid spent to get there in its own order (with trial 1 of 8), but for 0.67" in text
    assert "cannot be told, it depends on the order of the grid" in text
    assert "On this evidence" not in text


def test_many_seeds_do_not_decide_what_depends_on_the_order_either() -> None:
    runs = [record(r, s, seed=k) for k in range(5) for r, s in ((LUCKY, "manual"), (THIRD, "bohb"))]
    assert "It cannot be told of Ray best (BOHB)" in written(compare(runs))
    late = [record(r, s, seed=k) for k in range(5) for r, s in ((BETTER, "manual"), (THIRD, "bohb"))]
    assert "On this evidence the manual grid" in written(compare(late))


def test_what_start_up_makes_of_the_ratio() -> None:
    # Manual: 4 x 3 s of 92 start up; the search trains its three trials for an epoch each: 9 s of 39.
    manual = record([Run(losses=[5.0, 4.0])] * 4)
    search = record([Run(losses=[5.0], state="stopped")] * 3, "asha")
    report = report_run(search, manual)
    assert cells(report, "costs", "ratio_busy") == pytest.approx([1, 39 / 92])
    assert cells(report, "costs", "ratio_train") == pytest.approx([1, 24 / 64])
    expected = "Start-up is up to 23% of a run's busy cost"
    assert any(expected in w and "0.38 (busy 0.42) of Ray best (ASHA)" in w for w in report.warnings)
    assert not any("Start-up" in w for w in report_run(record(WORSE, "bohb"), manual).warnings)


@pytest.mark.parametrize("final_epochs", [0, 1])
def test_the_final_retrain_matters_to_no_search_cost(final_epochs: int) -> None:
    search = record(BETTER, "bohb", final_epochs=final_epochs)
    report = compare([record(WORSE), search])
    assert cells(report, "costs", "ratio_allocated") == pytest.approx([1, 1])
    assert cells(report, "target", "reached") == ["yes", "yes"]
    assert "Which found the best configuration? Ray best (BOHB)" in written(report)
    assert any("Final retrains differ" in w and "test losses do not" in w for w in report.warnings)
    assert not any("No cost ratio" in w for w in report.warnings)
    assert ("do not compare (1 against 4 epochs)" in written(report)) == (final_epochs == 1)


def test_of_two_grids_of_a_seed_the_one_retrained_for_as_long_is_the_baseline() -> None:
    grids = [record(WORSE, final_epochs=n) for n in (4, 1)]
    (*_, search) = entries([*grids, record(BETTER, "bohb", final_epochs=1)])
    assert search.baseline is grids[1]
    assert [e.label for e in entries(grids)] == ["Manual best, 4 final", "Manual best, 1 final"]


def test_a_search_that_is_not_over_is_not_compared() -> None:
    cut = build_record(journal(BETTER, study("bohb"))[:6])
    report = compare([record(WORSE), cut])
    assert cells(report, "costs", "ratio_allocated") == [1.0, None]
    assert "No cost ratio for Ray best (BOHB): the search is not over." in report.warnings
    assert any("it was killed after 0 of its trials had ended" in w for w in report.warnings)
    assert not any("there is no winner" in w for w in report.warnings)
    assert report.comparison == ()


def test_states_that_are_no_ends_are_not_shown_as_losses() -> None:
    events: list[Event] = [started()]
    events += [TrialCreated(at_s=1.0, trial=t, config={"learning_rate": 1e-5}) for t in ("a", "b", "c", "d")]
    events += [TrialStarted(at_s=2.0, trial=t, epoch=0, devices=1) for t in ("a", "b", "c")]
    events += [WorkLost(at_s=3.0, trial="a", busy_s=1.0, devices=1, reason="killed")]
    events += [TrialEnded(at_s=4.0, trial="b", state="nan")]
    report = report_run(build_record(events), None)
    assert cells(report, "trials", "state") == ["lost", "nan", "running", "waiting"]
    assert cells(report, "trials", "eval_loss") == [Missing(), Missing("nan"), Missing(), Missing()]
    assert "trial 1: lost: killed" in report.table("trials").notes


def test_the_head_says_under_which_conditions() -> None:
    named = record(WORSE, profile="cpu", dataset="/data/squad.json", dataset_name="people", seed=3)
    report = report_run(named, None)
    conditions, device = report.head
    assert conditions == (
        "workload: bloom560m-squad; recipe: qa; data: people; profile: cpu; seed: 3; trials x epochs: 12x2; "
        "final epochs: 4."
    )
    assert "a device is one CPU core" in device
    assert report.to_dict()["head"] == list(report.head)
    assert conditions in report.to_markdown()
    assert len(report_run(record(WORSE), None).head) == 1
    assert "data: squad.json" in compare([record(WORSE, dataset="/data/squad.json")]).head[0]


def test_the_head_names_the_search_space_where_it_is_not_the_workloads_own() -> None:
    named = record(WORSE, space_name="lora")
    assert "; recipe: qa; space: lora; data: " in report_run(named, None).head[0]
    both = compare([named, record(WORSE, "bohb")]).head[0]
    assert "; space: lora and the workload's own; data: " in both


def test_labels_hold_what_tells_runs_apart_and_the_same_of_all() -> None:
    runs = [record(WORSE), record(BETTER, "bohb"), record(BETTER, "bohb", seed=1, samples=6, epochs=2)]
    assert [e.label for e in entries(runs)] == [
        "Manual best, seed 0, 12 trials",
        "Ray best (BOHB), seed 0, 12 trials",
        "Ray best (BOHB), seed 1, 6 trials",
    ]
    other = study("asha", settings={"reduction_factor": 2}), study("asha", settings={"reduction_factor": 3})
    asha = [build_record(journal(WORSE, s)) for s in other]
    assert [e.label for e in entries(asha)] == [f"Ray best (ASHA), reduction_factor {n}" for n in (2, 3)]
    both = [record(WORSE, "asha", samples=s, epochs=e) for s, e in ((3, 2), (2, 1))]
    assert [e.label for e in entries(both)] == ["Ray best (ASHA), 3x2", "Ray best (ASHA), 2x1"]


def test_many_runs_are_rows() -> None:
    runs = [record(WORSE), *(record(BETTER, f"s{n}", seed=n % 3) for n in range(7))]
    for name in ("costs", "phases"):
        table = compare(runs).table(name)
        columns, rows = table.visible()
        assert len(rows) >= 8
        widths = [max(len(row[i]) for row in rows) for i in range(len(columns))]
        headers = [max(len(word) for word in c.label.split()) for c in columns]
        # What the terminal needs at least: rows of runs are not split at 80 columns.
        assert sum(map(max, widths, headers)) + 2 * len(columns) <= 86
    assert "utilisation" in compare(runs).to_csv()


def test_deepspeed_is_said_where_any_run_has_it() -> None:
    plain, one, file = (
        build_record(journal([Run(losses=[2.0, 1.0])], study("asha", deepspeed=name)))
        for name in (None, "zero2", "mine/stage.json")
    )
    assert "DeepSpeed" not in " ".join(report_run(plain, None).head)
    assert "; DeepSpeed: zero2; " in " ".join(report_run(one, None).head)
    assert "; DeepSpeed: stage.json; " in " ".join(report_run(file, None).head)
