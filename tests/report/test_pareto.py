"""Runs by other metrics than the loss: who wins, what tables call it, and the front of two."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.errors import UserError
from bench.events import (
    EpochFinished,
    Event,
    GrantClosed,
    GrantOpened,
    Phases,
    RunFinished,
    SearchFinished,
    TrialCreated,
    TrialEnded,
    TrialStarted,
)
from bench.leaderboard import boards
from bench.record import Record, build_record, decode_record, encode_record
from bench.report import compare, report_run
from bench.report.pareto import front_by, front_of
from bench.report.warnings import run_warnings
from bench.trials import Config
from tests.builders import epoch, started, study
from tests.pictures.drawn import GRID
from tests.pictures.drawn import found as found_run

RUNS: dict[str, tuple[float | None, float]] = {
    "t0": (3.0, 50.0), "t1": (2.0, 20.0), "t2": (2.5, 40.0), "t3": (2.6, 30.0), "t4": (None, 90.0), "t5": (2.0, 20.0),
}  # fmt: skip
"""Loss and samples/s: t1 and t5 are equal, t3 is worse than t2 in both, t4 fails and would be fastest."""


def events(strategy: str = "random", metrics: tuple[str, ...] = ("eval_loss",), speed: float = 1.0) -> list[Event]:
    of = study(strategy, metrics=metrics, epochs=1, final_epochs=0, samples=len(RUNS))
    now = 0.0
    told: list[Event] = [started(of), GrantOpened(at_s=0.0, grant="g", devices=1, purpose="search")]
    for number, (trial, (loss, rate)) in enumerate(RUNS.items()):
        config: Config = {"learning_rate": 1e-5 * (number + 1), "batch_size": 1, "weight_decay": 0.0}
        told.append(TrialCreated(at_s=now, trial=trial, config=config))
        told.append(TrialStarted(at_s=now, trial=trial, epoch=0, devices=1))
        now += 10.0 * speed
        phases = Phases(train_s=9.0 * speed)
        told.append(epoch(trial, 1, loss, now, phases, config=config, samples_per_s=rate))
        told.append(TrialEnded(at_s=now, trial=trial, state="completed" if loss else "nan"))
    return [*told, SearchFinished(at_s=now, winner=None), GrantClosed(at_s=now, grant="g"), RunFinished(at_s=now)]


def record(*args: object, **kwargs: object) -> Record:
    return build_record(events(*args, **kwargs))  # type: ignore[arg-type]


def test_the_winner_is_best_by_the_first_metric() -> None:
    fastest = record(metrics=("samples_per_s",))
    assert fastest.winner is not None
    assert (fastest.winner.trial, fastest.winner.eval_loss) == ("t0", 3.0), "t4 is faster and failed"
    assert [step.values for step in fastest.trace] == [{"samples_per_s": 50.0}]
    lowest = record(metrics=("eval_loss", "samples_per_s"))
    assert lowest.winner is not None
    assert lowest.winner.trial == "t1"
    assert lowest.trial("t1").values == {"eval_loss": 2.0, "samples_per_s": 20.0}
    assert lowest.trial("t4").values == {}


def test_a_cost_is_that_of_the_trials_own_epochs() -> None:
    assert record(metrics=("trial_device_min",)).trial("t2").values == {"trial_device_min": 9.0 / 60}


def test_a_record_of_the_loss_alone_says_nothing_of_metrics() -> None:
    assert b"values" not in encode_record(record())
    by_speed = record(metrics=("samples_per_s",))
    assert decode_record(encode_record(by_speed), "a record") == by_speed


def test_the_front_has_ties_and_no_failures() -> None:
    front = front_of(record(metrics=("eval_loss", "samples_per_s")))
    assert front is not None
    assert {trial.trial for trial, on in front.trials if on} == {"t0", "t1", "t2", "t5"}
    assert front.without == 1
    assert front_of(record()) is None
    assert front_by(events(), ("eval_loss", "samples_per_s")).trials == front.trials


def test_a_front_by_what_no_trial_has_is_refused() -> None:
    unknown = [e if not isinstance(e, EpochFinished) else epoch(e.trial, 1, 2.0, e.at_s, samples_per_s=None)
               for e in events()]  # fmt: skip
    with pytest.raises(UserError, match="has both eval_loss and samples_per_s"):
        front_by(unknown, ("eval_loss", "samples_per_s"))


def test_a_report_says_what_was_optimised_and_shows_the_front() -> None:
    both = report_run(record(metrics=("eval_loss", "samples_per_s")), None)
    assert both.table("pareto").column("trial") == ["t1", "t5", "t2", "t0"]
    assert any("of the Pareto front the trial with the lowest loss is the winner" in line for line in both.head)
    one = report_run(record(metrics=("samples_per_s",)), None)
    assert one.table("trials").column("samples_per_s") == [50.0, 20.0, 40.0, 30.0, None, 20.0]
    assert "the winner, the most samples/s at full fidelity" in one.table("trials").notes[0]
    assert "pareto" not in {table.name for table in one.tables}


def test_only_runs_of_one_metric_compare() -> None:
    grid = record("manual", metrics=("samples_per_s",))
    quick = record("random", metrics=("samples_per_s",), speed=0.5)
    report = compare([grid, quick])
    target = report.table("target")
    assert target.column("target") == [50.0, 50.0]
    assert target.column("target_ratio_allocated") == [1.0, 0.5]
    assert "with 50.0 samples/s" in report.comparison[0]
    assert not any("loss of" in line for line in report.comparison)
    apart = compare([record("manual"), quick])
    assert any("metrics samples_per_s against default" in warning for warning in apart.warnings)


def test_a_run_of_another_metric_is_on_no_board() -> None:
    one = found_run(GRID, "manual")
    other = replace(one, record=record("manual", metrics=("samples_per_s",)), name="other")
    assert [run.name for board in boards([one, other]) for row in board.rows for run in row.runs] == [one.name]


def test_what_reused_workers_do_to_a_metric_is_said() -> None:
    def said(metric: str, **changes: str | int) -> list[str]:
        run = record("asha", metrics=(metric,))
        return [w for w in run_warnings(replace(run, study=run.study | changes)) if w.startswith(metric)]

    assert said("trial_device_min")
    assert not said("trial_device_min", engine="serial")
    assert said("memory_mib", profile="cpu")
    assert not said("memory_mib", profile="a100"), "a GPU's memory is the trial's own"
    assert not said("memory_mib", profile="cpu", engine="serial")
    assert "up to 2 trials" in said("samples_per_s", devices=2, devices_per_trial=1)[0]
    assert not said("samples_per_s", devices=1, devices_per_trial=1)
