"""Measured runs: planted defects are found, clean repeats are not reported more often than stated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from bench.regress.findings import Finding, exit_status
from bench.regress.gate import Gate, judge
from bench.regress.metrics import METRICS, RunMetrics, distance, typical
from bench.regress.output import findings_table
from bench.regress.reference import Reference
from bench.regress.sought import Sought
from bench.regress.tolerances import Tolerance, Tolerances, load_tolerances
from tests.regress import planted

RATE = 0.01
GATES = 200
NO_TOLERANCE = Tolerances(
    false_alarm_rate=RATE,
    tolerance=(
        Tolerance(
            eval_loss=0,
            allocated_device_min=0,
            busy_device_min=0,
            startup_device_min=0,
            epochs_trained=0,
            trial_losses=0,
        ),
    ),
)
DECLARED = load_tolerances(planted.REFERENCES / "tolerances.toml")
ALLOWED = int(stats.binom.ppf(0.999, GATES, RATE))
"""More false alarms in 200 gates than this would come once in a thousand times, if the rate is what is stated."""


def compared(base: Reference, new: Sequence[RunMetrics], tolerances: Tolerances = DECLARED, **changes: Any) -> Gate:
    fresh = replace(base, runs=tuple(new), **changes)
    return judge({"asha": base}, {}, {"asha": [fresh]}, tolerances)


def failed(gate: Gate) -> set[str]:
    return {f.metric for f in gate.findings if f.failed}


def by_metric(gate: Gate) -> dict[str, Finding]:
    return {f.metric: f for f in gate.findings}


def test_losses_of_recorded_repeats_are_the_same_to_the_last_digit() -> None:
    runs = [*planted.recorded().runs, *planted.later()]
    assert len({run.journal_sha256 for run in runs}) == 40
    assert {distance(run, typical(runs)) for run in runs} == {0.0}
    assert len({run.eval_loss for run in runs}) == 2, "which trial reports first decides which ones ASHA stops"


def test_later_repeats_pass() -> None:
    gate = compared(planted.recorded(), planted.later())
    assert not failed(gate)
    assert exit_status(gate.findings) == 0


def clean_gates(draw: Callable[[np.random.Generator], tuple[Sequence[RunMetrics], Sequence[RunMetrics]]]) -> int:
    rng = np.random.default_rng(20261121)
    whole = planted.recorded()
    alarms = 0
    for _ in range(GATES):
        base, new = draw(rng)
        gate = compared(replace(whole, runs=tuple(base)), new, NO_TOLERANCE)
        assert gate.tests == len(METRICS)
        alarms += bool(failed(gate))
    return alarms


def test_clean_draws_from_the_fitted_noise_alarm_no_more_often_than_stated() -> None:
    """Without tolerance: what holds the rate is the test alone."""
    runs = [*planted.recorded().runs, *planted.later()]
    alarms = clean_gates(lambda rng: (planted.smoothed(rng, 20, runs), planted.smoothed(rng, 5, runs)))
    assert alarms <= ALLOWED, f"{alarms} of {GATES}, at most {ALLOWED} expected"


@pytest.mark.parametrize(("base", "new"), [(20, 20), (20, 5), (10, 10)])
def test_random_splits_of_the_recorded_repeats_alarm_no_more_often_than_stated(base: int, new: int) -> None:
    """Two groups of the forty that have no run in common."""
    runs = [*planted.recorded().runs, *planted.later()]

    def split(rng: np.random.Generator) -> tuple[list[RunMetrics], list[RunMetrics]]:
        mixed = [runs[i] for i in rng.permutation(len(runs))]
        return mixed[:base], mixed[base : base + new]

    alarms = clean_gates(split)
    assert alarms <= ALLOWED, f"{alarms} of {GATES}, at most {ALLOWED} expected"


def test_clean_draws_with_noisy_losses_and_two_seeds_alarm_no_more_often_than_stated() -> None:
    """On a GPU losses vary too: each trial's by 1 %, under two seeds with losses of their own."""
    runs = planted.recorded().runs

    def noisy(rng: np.random.Generator, count: int) -> list[RunMetrics]:
        found = []
        for number, run in enumerate(planted.smoothed(rng, count, runs)):
            trials = tuple(
                replace(
                    t,
                    losses=tuple((v or 0) * (1 + number % 2) * np.exp(0.01 * rng.standard_normal()) for v in t.losses),
                )
                for t in run.trials
            )
            found.append(replace(run, seed=number % 2, trials=trials))
        return found

    alarms = clean_gates(lambda rng: (noisy(rng, 10), noisy(rng, 6)))
    assert alarms <= ALLOWED, f"{alarms} of {GATES}, at most {ALLOWED} expected"


@pytest.mark.parametrize("count", [3, 5, 10])
def test_losses_one_per_cent_worse_are_found_at_the_recorded_noise(count: int) -> None:
    """Training is deterministic there, so three runs suffice."""
    gate = compared(planted.recorded(), [planted.worse(run) for run in planted.later()[:count]])
    assert "trial_losses" in failed(gate)
    assert exit_status(gate.findings) == 1
    assert "beyond noise" in by_metric(gate)["trial_losses"].detail


def test_weight_decay_ignored_is_found_in_real_runs() -> None:
    """Trained for real by a version with that defect, on a machine that other work made slow."""
    gate = compared(planted.recorded(), planted.later("weight-decay-ignored"))
    assert "trial_losses" in failed(gate)
    assert "the same trials train otherwise" in by_metric(gate)["trial_losses"].detail


def test_a_scheduler_that_never_stops_is_found_in_real_runs() -> None:
    """As above: what the machine does to device-minutes, it does not do to the number of epochs."""
    gate = compared(planted.recorded(), planted.later("never-stopped"))
    assert {"epochs_trained", "busy_device_min"} <= failed(gate)
    assert (by_metric(gate)["epochs_trained"].base, by_metric(gate)["epochs_trained"].new) == (8, 12)
    assert "trial_losses" not in failed(gate)


@pytest.mark.parametrize("count", [5, 20])
def test_doubled_start_up_is_found_at_the_recorded_noise(count: int) -> None:
    """In splits of the forty into groups that have no run in common."""
    rng = np.random.default_rng(4)
    runs = [*planted.recorded().runs, *planted.later()]
    hits = 0
    for _ in range(100):
        mixed = [runs[i] for i in rng.permutation(len(runs))]
        gate = compared(
            replace(planted.recorded(), runs=tuple(mixed[:20])),
            [planted.doubled_startup(run) for run in mixed[20 : 20 + count]],
        )
        hits += "startup_device_min" in failed(gate)
    assert hits >= 95


def test_a_shift_is_not_taken_for_that_of_the_medians() -> None:
    gate = compared(planted.recorded(), [planted.dearer(run, 2) for run in planted.later()])
    found = by_metric(gate)["busy_device_min"]
    assert found.base is not None
    assert found.new is not None
    assert found.change is not None
    assert abs(found.new / found.base - 1 - found.change) > 0.001, "here they differ"
    assert "(Hodges-Lehmann shift; the median was" in found.detail
    text = findings_table(gate).to_markdown()
    assert f"{100 * found.change:+.1f} % shift" in text
    assert "median" in text


def test_references_of_other_machines_need_no_runs_where_one_of_this_has_some() -> None:
    base = planted.recorded()
    other = replace(base, machine={"gpus": ["NVIDIA H200"]}, study={**base.study, "samples": 99})
    new = replace(base, runs=planted.later())
    sought = Sought(where=Path("repeats"), found=(new,))
    gate = judge({"asha": base, "h200": other}, {}, {"asha": [new], "h200": []}, DECLARED, sought=sought)
    assert {f.verdict for f in gate.findings if f.study == "h200"} == {"not run"}
    assert exit_status(gate.findings) == 0
    kept = Sought(where=Path("references"), found=(new, other), runs=False)
    gate = judge({"asha": base, "h200": other}, {}, {"asha": [new], "h200": [other]}, DECLARED, sought=kept)
    assert exit_status(gate.findings) == 0, "a reference is its own counterpart"
    same = replace(other, machine=base.machine)
    gate = judge({"asha": base, "more": same}, {}, {"asha": [new], "more": []}, DECLARED, sought=sought)
    assert [f.verdict for f in gate.findings if f.study == "more"] == ["cannot tell"]
    assert exit_status(gate.findings) == 2


def test_what_the_recorded_noise_hides_is_said() -> None:
    """Five per cent more time is within what other work on that machine did; the gate names what it would see."""
    gate = compared(planted.recorded(), [planted.dearer(run, 1.05) for run in planted.later()])
    found = by_metric(gate)["allocated_device_min"]
    assert found.visible is not None
    assert found.visible > 0.05


@pytest.mark.parametrize(
    ("noise", "count", "least"), [(0.0125, 3, 0.9), (0.017, 5, 0.9), (0.024, 10, 0.9), (0.03, 20, 0.9)]
)
def test_five_per_cent_dearer_is_found_where_noise_is_small(noise: float, count: int, least: float) -> None:
    """Twenty base runs; 100 gates; the table of docs/regress.md (0.95), less what 100 gates may miss by chance."""
    rng = np.random.default_rng(5)
    one = planted.recorded().runs[0]

    def draw(number: int, cost: float) -> list[RunMetrics]:
        return [
            replace(
                planted.dearer(one, cost * float(np.exp(noise * rng.standard_normal()))),
                journal_sha256=f"{rng.random()}",
            )
            for _ in range(number)
        ]

    hits = 0
    for _ in range(100):
        base = replace(planted.recorded(), runs=tuple(draw(20, 1.0)))
        hits += "allocated_device_min" in failed(compared(base, draw(count, 1.05)))
    assert hits / 100 >= least


def test_too_few_runs_are_not_green() -> None:
    gate = compared(planted.recorded(), planted.later()[:2])
    assert exit_status(gate.findings) == 2
    assert {f.verdict for f in gate.findings} == {"cannot tell"}
    assert "add 1 more of one seed" in gate.findings[0].detail
    assert "15 for the losses of its trials, since every fourth is what" in gate.findings[0].detail
    assert len({f.detail for f in gate.findings}) == 1, "said once, not for each number of runs"


def test_too_few_runs_for_the_losses_of_trials_alone_are_explained() -> None:
    """Two against 40 can be judged, two against the 30 that are left can not."""
    one = planted.recorded().runs[0]
    base = replace(planted.recorded(), runs=tuple(replace(one, journal_sha256=f"{i}") for i in range(40)))
    gate = compared(base, planted.later()[:2])
    assert {f.metric for f in gate.findings if f.verdict == "cannot tell"} == {"trial_losses"}
    detail = by_metric(gate)["trial_losses"].detail
    assert "2 new runs against 30 that are left of the base, since every fourth is what" in detail


def test_a_rise_within_the_tolerance_passes_however_certain() -> None:
    base = planted.recorded()
    one = replace(base.runs[0])
    exact = replace(base, runs=tuple(replace(one, journal_sha256=str(i)) for i in range(20)))
    new = [replace(planted.dearer(one, 1.02), journal_sha256=f"n{i}") for i in range(5)]
    gate = compared(exact, new)
    assert not failed(gate)
    assert by_metric(gate)["busy_device_min"].verdict == "within tolerance"
    assert "busy_device_min" in failed(compared(exact, [planted.dearer(run, 1.02) for run in new]))


def test_no_winner_any_more_is_found() -> None:
    lost = [replace(run, eval_loss=None) for run in planted.later()[:5]]
    gate = compared(planted.recorded(), lost)
    assert failed(gate) == {"eval_loss"}
    assert "without bound" in by_metric(gate)["eval_loss"].detail


def test_another_machine_is_not_judged() -> None:
    new = [planted.dearer(run, 3) for run in planted.later()]
    gate = compared(planted.recorded(), new, machine={"gpus": ["NVIDIA H200"]})
    assert [f.verdict for f in gate.findings] == ["cannot tell"]
    assert exit_status(gate.findings) == 2
    assert "another machine" in gate.findings[0].detail


def test_runs_of_a_machine_that_has_its_own_reference_go_to_it() -> None:
    base = planted.recorded()
    other = replace(base, machine={"gpus": ["NVIDIA H200"]})
    new = replace(other, runs=planted.later())
    gate = judge({"asha": base, "asha-h200": other}, {}, {"asha": [new], "asha-h200": [new]}, DECLARED)
    assert {f.verdict for f in gate.findings if f.study == "asha"} == {"not run"}
    assert {f.metric for f in gate.findings if f.study == "asha-h200"} == set(METRICS)


def test_the_references_own_runs_are_no_evidence() -> None:
    base = planted.recorded()
    gate = compared(base, base.runs)
    assert {f.verdict for f in gate.findings} == {"not run"}
    assert "20 runs were left out: in the reference already" in gate.remarks[0]


def test_a_single_base_run_of_a_seed_has_no_noise_floor_of_losses() -> None:
    base = replace(planted.recorded(), runs=planted.recorded().runs[:1])
    gate = compared(base, planted.later())
    assert by_metric(gate)["trial_losses"].verdict == "cannot tell"
    assert exit_status(gate.findings) == 2


def test_other_configurations_are_not_compared_as_the_same_trials() -> None:
    def moved(run: RunMetrics) -> RunMetrics:
        return replace(run, trials=tuple(replace(t, config={"learning_rate": 1.0}) for t in run.trials))

    gate = compared(planted.recorded(), [moved(run) for run in planted.later()])
    assert by_metric(gate)["trial_losses"].verdict == "cannot tell"
