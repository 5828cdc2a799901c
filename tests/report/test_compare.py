"""Reports of one run and of several."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

import pytest
from rich.console import Console

from bench.events import GrantClosed, Note, RunFinished, RunInterrupted, RunResumed
from bench.record import Record, build_record
from bench.report import Report, compare, report_run
from bench.report.entries import entries, random_order_cost
from bench.report.keys import KEY_FIELDS, Keyed, difference
from bench.report.wording import count, listed, significant, some
from bench.statistics import geometric_median
from bench.study import Simulation
from bench.tables import Missing
from tests.builders import Run, journal, study

GRID = [
    Run(losses=[5.0, 4.0], lr=1e-5),
    Run(losses=[6.0, 7.0], lr=2e-4),
    Run(losses=[5.0, 3.5], lr=5e-6),
    Run(losses=[5.0, None], lr=2e-5, state="nan"),
]
GOOD = [Run(losses=[5.0, 3.4], lr=1.5e-5, model_based=False), Run(losses=[6.0], state="stopped", model_based=False)]
POOR = [Run(losses=[5.0, 3.9], lr=1.5e-5)]


def record(
    runs: list[Run], strategy: str = "manual", provenance: dict[str, Any] | None = None, **changes: Any
) -> Record:
    return build_record(journal(runs, study(strategy, **changes), provenance_changes=provenance))


MANUAL = record(GRID)
BOHB = record(GOOD, "bohb", devices=2)


def terminal(report: Report, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    report.to_terminal(console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def cells(report: Report, table: str, key: str) -> list[Any]:
    return report.table(table).column(key)


def test_the_trial_table_shows_every_trial_and_marks_the_winner() -> None:
    report = report_run(MANUAL, None)
    assert cells(report, "trials", "mark") == ["", "", "*", ""]
    assert cells(report, "trials", "combo") == [1, 2, 3, 4]
    assert cells(report, "trials", "learning_rate") == [1e-5, 2e-4, 5e-6, 2e-5]
    assert cells(report, "trials", "eval_loss") == [4.0, 7.0, 3.5, Missing("nan")]
    assert cells(report, "trials", "state") == ["completed", "completed", "completed", "nan"]
    assert cells(report, "trials", "runtime_s") == [23.0] * 4
    assert cells(report, "trials", "busy_device_min") == pytest.approx([23 / 60] * 4)
    assert cells(report, "best", "learning_rate") == [5e-6]
    assert cells(report, "best", "epochs") == [2]


def test_costs_worked_by_hand() -> None:
    # manual: 4 x (1 s idle + 23 s) on 1 GPU = 96 s allocated, 92 busy. bohb: (1 + 23 + 1 + 13) s on 2 = 76, 36 busy.
    report = report_run(BOHB, MANUAL)
    assert cells(report, "costs", "run_type") == ["Manual best", "Ray best (BOHB)"]
    assert cells(report, "costs", "allocated_device_min") == pytest.approx([96 / 60, 76 / 60])
    assert cells(report, "costs", "busy_device_min") == pytest.approx([92 / 60, 36 / 60])
    assert cells(report, "costs", "ratio_allocated") == pytest.approx([1, 76 / 96])
    assert cells(report, "costs", "ratio_busy") == pytest.approx([1, 36 / 92])
    assert cells(report, "costs", "utilisation") == pytest.approx([92 / 96, 36 / 76])
    assert cells(report, "costs", "startup_share") == pytest.approx([12 / 92, 6 / 36])
    assert cells(report, "costs", "search_wall_min") == pytest.approx([96 / 60, 38 / 60])
    assert cells(report, "costs", "devices") == [1, 2]
    assert cells(report, "costs", "final_device_min") == pytest.approx([22 / 60] * 2)
    assert cells(report, "costs", "final_loss") == [2.0, 2.0]
    assert [c.header for c in report.table("costs").columns][1] == "test loss, retrained (4 epochs)"
    phases = report.table("phases")
    assert phases.column("train_device_min") == pytest.approx([64 / 60, 20 / 60, 24 / 60, 20 / 60])


def test_cost_to_target_worked_by_hand() -> None:
    # The target 3.5 is reached by manual at 72 s on one GPU, by bohb (3.4) at 24 s on two.
    report = report_run(BOHB, MANUAL)
    assert cells(report, "target", "target_loss") == [3.5, 3.5]
    assert cells(report, "target", "target_allocated_device_min") == pytest.approx([72 / 60, 48 / 60])
    assert cells(report, "target", "target_ratio_allocated") == pytest.approx([1, 48 / 72])
    assert cells(report, "target", "target_ratio_busy") == pytest.approx([1, 23 / 69])


def test_a_run_that_missed_the_target_is_kept() -> None:
    report = report_run(record(POOR, "asha"), MANUAL)
    assert cells(report, "target", "reached") == ["yes", "no"]
    assert cells(report, "target", "target_allocated_device_min")[1] == Missing("never")
    assert cells(report, "target", "target_ratio_allocated")[1] is None
    assert any("never Ray best (ASHA)" in line for line in report.comparison)
    text = "\n".join(report.comparison)
    assert "cannot be decided on one seed" in text
    assert "it was never as good as the grid's winner" in text


def test_expected_cost_in_a_random_order() -> None:
    # Equal trials of 23 s, one of four at the target: on average (4 + 1) / 2 of them, each with its second of idling.
    assert random_order_cost(MANUAL, 3.5, "busy") == pytest.approx(2.5 * 23 / 60)
    assert random_order_cost(MANUAL, 3.5, "allocated") == pytest.approx(2.5 * 24 / 60)
    # Two of four at the target: (4 + 1) / (2 + 1).
    assert random_order_cost(MANUAL, 4.0, "busy") == pytest.approx(5 / 3 * 23 / 60)
    assert random_order_cost(MANUAL, 1.0, "busy") is None


def test_the_four_questions_are_answered() -> None:
    report = report_run(BOHB, MANUAL)
    assert 5 <= len(report.comparison) <= 7
    text = "\n".join(report.comparison)
    assert "Which found the best configuration? Ray best (BOHB), with a loss of 3.4000 (lr 1.5e-05, bs 1, wd 0)" in text
    assert "Which used fewer GPU-hours? Ray best (BOHB): 1.27 GPU-minutes allocated; the manual grid took 1.60." in text
    assert "Which was faster overall? Ray best (BOHB): 0.633 min to the end of the search on 2 GPUs" in text
    assert "random sampling: its model suggested nothing" in text
    assert "for 0.67 of what the grid spent to get there (0.80 of what it would spend in a random order)" in text
    assert "its whole search cost 0.79 of the grid's (cheaper, allocated)" in text
    assert "retrained, its winner has the same test loss" in text
    assert "Provisional: with one seed" in text


def test_a_lone_run_is_compared_with_nothing() -> None:
    report = report_run(BOHB, None)
    assert report.comparison == ()
    assert cells(report, "costs", "ratio_allocated") == [None]
    assert any("there is no manual baseline" in w for w in report.warnings)
    manual = report_run(MANUAL, MANUAL)
    assert cells(manual, "costs", "ratio_allocated") == [1.0]
    assert manual.comparison == ()


def test_no_ratio_between_runs_that_do_not_compare() -> None:
    cpu = record(GOOD, "bohb", profile="cpu")
    report = compare([MANUAL, cpu])
    assert cells(report, "costs", "ratio_allocated") == [1.0, None]
    assert "No cost ratio for Ray best (BOHB): profile cpu against a100." in report.warnings
    assert report.table("costs").columns[6].header == "device-min allocated"
    other_data = record(GOOD, "bohb", provenance={"hashes": {"data": "d2"}})

    def incomparable(one: Record, other: Record) -> str:
        return difference(Keyed.of(one), Keyed.of(other))

    assert incomparable(other_data, MANUAL) == "another data (its hash differs)"
    assert incomparable(record(GOOD, "bohb", model="x"), MANUAL) == "model x against default"
    simulation = Simulation(curves="c", curves_sha256="0", node_devices=4, node_cpus=8, trial_cpus=1)
    simulated = record(GOOD, "bohb", engine="virtual", devices=4, simulation=simulation)
    assert incomparable(simulated, MANUAL) == "simulation of 1 x 4 devices on the curves c against default"
    assert incomparable(BOHB, MANUAL) == ""


def test_the_fields_of_the_comparison_key_have_names() -> None:
    assert len(KEY_FIELDS) == len(study().comparison_key())


def test_seeds_are_paired_and_summarised_by_a_row_of_medians() -> None:
    manuals = [record(GRID, seed=s) for s in range(2)] + [record([*GRID, *GRID], seed=2)]
    runs = [record(GOOD if s else POOR, "bohb", devices=2, seed=s) for s in range(3)]
    sides = entries([*manuals, *runs])
    assert [s.baseline.study["seed"] for s in sides if s.baseline] == [0, 1, 2, 0, 1, 2]
    report = compare([*manuals, *runs])
    assert cells(report, "costs", "run_type") == [
        *(f"Manual best, seed {s}" for s in range(3)),
        "Manual best: median of 3",
        *(f"Ray best (BOHB), seed {s}" for s in range(3)),
        "Ray best (BOHB): median of 3",
    ]
    ratios = cells(report, "costs", "ratio_allocated")
    assert ratios[4:7] == pytest.approx([48 / 96, 76 / 96, 76 / 192])
    assert ratios[7] == pytest.approx(48 / 96)
    # One of three never got there: no median that leaves it out.
    assert cells(report, "target", "target_ratio_allocated")[7] is None
    assert geometric_median([0.5, 2.0]) == pytest.approx(1.0)
    assert geometric_median([0.5, 0.1, 4.0]) == pytest.approx(0.5)
    assert len(report.comparison) >= 5
    assert any("manual has 3 and bohb has 3" in w for w in report.warnings)


def test_five_seeds_are_not_provisional() -> None:
    report = compare([record(r, s, seed=k) for k in range(5) for r, s in ((GRID, "manual"), (GOOD, "bohb"))])
    assert not any("Provisional" in line for line in (*report.warnings, *report.comparison))
    assert any("Based on 5 seeds or more" in line for line in report.comparison)
    assert any("On this evidence Ray best (BOHB)." in line for line in report.comparison)
    assert any(
        "Ray best (BOHB) in 5 of 5 seeds, after 0.400 GPU-minutes in the median (0.33" in line
        for line in report.comparison
    )


def warnings_of(record: Record) -> str:
    return "\n".join(report_run(record, None).warnings)


def test_warnings_about_a_run() -> None:
    assert "edge of the search space (learning_rate 5e-06)" in warnings_of(MANUAL)
    assert "none of its 2 suggestions came from it" in warnings_of(BOHB)
    assert "model" not in warnings_of(record([Run(losses=[5.0, 4.0], model_based=True, lr=2e-5)], "bohb"))
    assert "there is no winner" in warnings_of(record([Run(losses=[5.0], state="stopped")]))
    assert "mend that and run again" in warnings_of(record([Run(losses=[5.0], state="failed")]))
    assert "does not apply weight decay" in warnings_of(record(GRID, recipe="workshop"))
    assert "uncommitted changes" in warnings_of(record(GRID, provenance={"git": {"commit": "a", "clean": False}}))
    events = journal(GRID)
    cut = build_record([e for e in events if not isinstance(e, GrantClosed | RunFinished)])
    assert "is not finished" in warnings_of(cut)
    assert "still held when the journal ended" in warnings_of(cut)
    at_s = events[-1].at_s
    interrupted = build_record([*events[:-1], RunInterrupted(at_s=at_s, reason="Ctrl-C")])
    assert "was interrupted in the final retrain" in warnings_of(interrupted)
    assert f"`sweepmark resume {interrupted.run_id}` goes on with it" in warnings_of(interrupted)
    resumed = RunResumed(at_s=at_s, provenance={"git": {"commit": "b"}})
    again = build_record([*events[:-1], resumed, Note(at_s=at_s, level="warning", message="cold"), events[-1]])
    text = warnings_of(again)
    assert "resumed once" in text
    assert "resumed from another commit" in text
    assert "cold" in text


def test_warnings_about_runs_side_by_side() -> None:
    other = record(GOOD, "bohb", provenance={"git": {"commit": "b"}, "host": "another"})
    text = "\n".join(compare([MANUAL, other]).warnings)
    assert "2 different commits" in text
    assert "2 different machines" in text
    assert "Manual best: The winner lies on an edge" in text


def test_without_full_fidelity_the_lowest_loss_is_shown_as_such() -> None:
    stopped = record([Run(losses=[5.0], state="stopped"), Run(losses=[4.5], state="stopped")], "asha")
    report = report_run(stopped, MANUAL)
    assert cells(report, "best", "eval_loss") == [4.5]
    assert cells(report, "best", "full_fidelity") == ["no"]
    assert any("Without a winner at full fidelity: Ray best (ASHA)." in line for line in report.comparison)
    lossless = report_run(record([Run(losses=[None], state="nan")]), None)
    assert cells(lossless, "best", "full_fidelity") == ["no loss"]
    assert lossless.table("best").notes == ()
    assert any("(1 nan): there is no winner. Lower the bounds" in w for w in lossless.warnings)


def test_a_run_without_trials() -> None:
    report = report_run(record([]), None)
    assert any("ended without a trial" in w for w in report.warnings)
    assert "(none)" in terminal(report, 80)
    assert report.to_csv().count("\n") == 1


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_all_forms(width: int) -> None:
    report = report_run(BOHB, MANUAL)
    text = terminal(report, width)
    assert max(map(len, text.splitlines())) <= width
    assert not any(line.endswith(" ") for line in text.splitlines())
    for word in ("Warnings", "Comparison", "0.79", "1.5e-05", "completed"):
        assert word in text
    data = json.loads(report.to_json())
    assert set(data["tables"]) == {"trials", "best", "costs", "phases", "target"}
    assert data["tables"]["costs"]["rows"][1]["ratio_allocated"] == pytest.approx(76 / 96)
    assert data["schema_version"] == 1
    assert next(csv.reader(io.StringIO(report.to_csv())))[:3] == ["mark", "combo", "learning_rate"]
    assert compare([MANUAL, BOHB]).to_csv().startswith("run_type,final_loss,")
    assert "### Cost comparison" in report.to_markdown()


def test_a_hostile_strategy_name_shows_as_text() -> None:
    report = compare([MANUAL, record(GOOD, "<script>|[bold]")])
    assert "<SCRIPT>|[BOLD]" in terminal(report, 200)
    assert "<SCRIPT>" not in report.to_markdown()


def test_the_same_run_twice_and_no_run() -> None:
    assert cells(compare([MANUAL, MANUAL]), "costs", "run_type")[:2] == ["Manual best (1)", "Manual best (2)"]
    with pytest.raises(ValueError, match="no records"):
        compare([])
    with pytest.raises(KeyError):
        compare([MANUAL]).table("nothing")


def test_lists_in_sentences() -> None:
    assert (listed([]), listed(["a"]), listed(["a", "b", "c"])) == ("none", "a", "a, b and c")
    assert listed(["a, 1", "b"]) == "a, 1; b"
    assert some(["a", "b", "c", "d", "e"]) == "a, b, c and 2 others"
    assert [significant(x) for x in (0.0, 0.0133, 1.5, 12.0, 99.96, 424.3, 1283.0)] == [
        *("0.00", "0.0133", "1.50", "12.0", "100", "424", "1283"),
    ]
    assert (count(1, "epoch"), count(0, "epoch")) == ("1 epoch", "0 epochs")
    assert math.isinf(entries([MANUAL, record(POOR, "asha")])[1].to_target("busy") or 0)


def test_seeds_of_a_model_that_is_drawn_from_its_seed_share_a_target() -> None:
    grids = [
        record(
            [Run(losses=[5.0, loss])], provenance={"hashes": {"model": f"m{seed}", "data": "d"}}, workload=w, seed=seed
        )
        for w in ("tiny-squad", "bloom560m-squad")
        for seed, loss in ((0, 3.0), (1, 4.0))
    ]
    assert [e.target for e in entries(grids)] == [3.5, 3.5, 3.0, 4.0]
