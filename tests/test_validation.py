"""How wrong the simulation is: real journals decide the same again, and predictions are judged by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bench.cli.validation import validate_curves
from bench.curve_model import CurveModel
from bench.errors import UserError
from bench.events import EpochFinished, Event, RunStarted, WorkLost
from bench.journal import JOURNAL_NAME, encode, read_journal
from bench.record import Record, build_record
from bench.resources import PACKAGE
from bench.simulate_head import load_validation
from bench.strategy import load_strategy
from bench.study import Study
from bench.validation import (
    Comparison,
    Prediction,
    agreements,
    check_fits,
    compare,
    compare_run,
    ordered,
    predicted_study,
    replay,
    validation_report,
    write,
)
from bench.validation import encode as encode_validation
from tests.builders import Run, journal
from tests.engines.simulated import CURVES, MODEL, simulated, virtual_study

RECORDS = sorted(path.parent for path in (PACKAGE.parent / "results" / "records").glob(f"*/{JOURNAL_NAME}"))
OF = {folder.name.split("-")[0]: folder for folder in RECORDS}
STRATEGIES = ("asha", "asha-tpe", "bohb", "hyperband", "manual", "pbt", "random", "tpe")


def events_of(strategy: str) -> list[Event]:
    return read_journal(OF[strategy] / JOURNAL_NAME)


def with_loss(events: list[Event], trial: str, epoch: int, loss: float | None) -> list[Event]:
    return [
        replace(e, eval_loss=loss) if isinstance(e, EpochFinished) and (e.trial, e.epoch) == (trial, epoch) else e
        for e in events
    ]


def as_real(strategy: str, **changes: Any) -> list[Event]:
    """A simulated run that says it was a real one."""
    events, _ = simulated(virtual_study(strategy, slots=2, samples=8, epochs=9, **changes))
    started = events[0]
    assert isinstance(started, RunStarted)
    study = Study.from_dict(started.study)
    real = replace(study, engine="serial" if strategy == "manual" else "ray", simulation=None)
    return [replace(started, study=real.to_dict()), *events[1:]]


@pytest.mark.parametrize("folder", RECORDS, ids=lambda folder: folder.name)
def test_a_real_run_decides_the_same_again(folder: Path) -> None:
    assert replay(read_journal(folder / JOURNAL_NAME)) == []


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("failure_rate", [0.0, 0.08])
def test_a_run_of_every_strategy_decides_the_same_again(strategy: str, failure_rate: float) -> None:
    """Also where losses are not finite and processes die."""
    events = as_real(strategy, seed=3, failure_rate=failure_rate)
    assert any(isinstance(e, WorkLost) for e in events) is (failure_rate > 0)
    assert replay(events) == []


def test_a_stop_that_a_loss_does_not_bear_out_is_found() -> None:
    """ASHA stopped 0001 behind 0002: had it been ahead, it would have gone on, and the slower ones would not."""
    found = replay(with_loss(events_of("asha"), "0001", 1, 1.0))
    assert found[0] == (
        "Trial 0001, which reported loss 1 after epoch 1, ended as stopped in the run, and did no more in the replay."
    )
    assert any("after epoch 2 in the run, and ended as stopped in the replay" in line for line in found[1:])


def test_a_donor_that_a_loss_does_not_bear_out_is_found() -> None:
    found = replay(with_loss(events_of("pbt"), "0001", 1, 1.0))
    first = next(line for line in found if line.startswith("Trial 0004"))
    assert "took over trial 0003 as of epoch 1" in first
    assert "took over trial 0001 as of epoch 1" in first


def test_a_suggestion_from_another_seed_is_found() -> None:
    started, *rest = events_of("random")
    assert isinstance(started, RunStarted)
    found = replay([replace(started, study=started.study | {"seed": 1}), *rest])
    assert sum("was suggested with" in line for line in found) == 12


def test_another_winner_is_found() -> None:
    events = with_loss(events_of("random"), "0011", 5, 0.5)
    assert replay(events)[-1].startswith("The winner is 00")
    assert replay(events)[-1].endswith("and 0011 in the replay.")


@pytest.mark.parametrize(
    ("events", "why"),
    [
        (lambda: simulated(virtual_study("random"))[0], "is a simulated one"),
        (lambda: events_of("random")[:50], "has not finished"),
    ],
)
def test_what_is_no_whole_real_run_is_refused(events: Callable[[], list[Event]], why: str) -> None:
    with pytest.raises(UserError, match=why):
        replay(events())


def record(*runs: Run) -> Record:
    return build_record(journal(runs))


def test_a_prediction_is_judged_by_hand() -> None:
    """Losses 1 2 3 4 against 1 3 2 and one that diverged: ranks differ by 0 1 1 0, so 1 - 6 * 2 / (4 * 15) = 0.8."""
    real = record(
        Run(losses=(3.0, 1.0)), Run(losses=(3.0, 2.0), lr=2e-5), Run(losses=(3.0,), state="stopped"), Run(losses=(5, 4))
    )
    other = record(
        Run(losses=(3.0, 1.5)),
        Run(losses=(3.0, 3.0), lr=3e-5),
        Run(losses=(5, 2.0)),
        Run(losses=(5, None), state="nan"),
    )
    found = compare(real, other)
    assert found.rank_correlation == pytest.approx(0.8)
    assert found.same_configs == 0.75
    assert found.same_last_epochs == 0.75
    costs, others = real.costs.search, other.costs.search
    assert costs.allocated_device_min is not None
    assert others.allocated_device_min is not None
    assert found.cost_error == pytest.approx(others.allocated_device_min / costs.allocated_device_min - 1)
    assert found.busy_error == pytest.approx(others.busy_device_min / costs.busy_device_min - 1)
    assert found.busy_error > 0.1  # an epoch more
    assert found.loss_difference == pytest.approx(0.5)


def test_equal_losses_and_missing_trials() -> None:
    real = record(Run(losses=(3.0, 2.0)), Run(losses=(3.0, 2.0)))
    assert compare(real, real).rank_correlation is None
    fewer = compare(real, record(Run(losses=(3.0, 2.0))))
    assert (fewer.same_configs, fewer.same_last_epochs) == (0.5, 0.5)
    without = compare(real, record(Run(losses=(3.0,), state="stopped"), Run(losses=(3.0,), state="stopped")))
    assert without.loss_difference is None


def comparison(strategy: str = "asha", seed: int = 0, **changes: Any) -> Comparison:
    prediction: dict[str, Any] = {
        "rank_correlation": 0.9,
        "same_configs": 1.0,
        "same_last_epochs": 0.75,
        "cost_error": -0.1,
        "busy_error": 0.02,
        "loss_difference": -0.03,
    }
    given = {name: changes.pop(name) for name in prediction if name in changes}
    fields: dict[str, Any] = {
        "run_id": f"{strategy}-s{seed}",
        "strategy": strategy,
        "seed": seed,
        "journal_sha256": f"{strategy}{seed}",
        "approximate": strategy == "pbt",
        "differences": (),
        "stalled": None,
        "prediction": Prediction(**(prediction | given)),
    }
    return Comparison(**(fields | changes))


def test_medians_are_of_absolute_errors() -> None:
    found = agreements(
        [
            comparison(seed=0, cost_error=-0.3, loss_difference=None),
            comparison(seed=1, cost_error=0.2, loss_difference=-0.2, rank_correlation=None),
            comparison(seed=2, cost_error=-0.1, loss_difference=0.1, differences=("It is another.",)),
        ]
    )["asha"]
    assert (found.runs, found.replayed) == (3, 2)
    assert found.cost_error_median == 0.2
    assert found.loss_error_median == pytest.approx(0.15)
    assert found.rank_correlation == 0.9


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    runs = ordered([comparison("pbt"), comparison(seed=1), comparison(), comparison()])
    assert [(r.strategy, r.seed) for r in runs] == [("asha", 0), ("asha", 1), ("pbt", 0)]
    text = encode_validation(runs, replace(CURVES, table_sha256="ab"))
    write(text, tmp_path / "new" / f"{CURVES.name}.json")
    found = load_validation(CURVES.name, tmp_path / "new")
    assert found.table_sha256 == "ab"
    assert found.strategies == agreements(runs)
    assert [r["run_id"] for r in json.loads(text)["runs"]] == ["asha-s0", "asha-s1", "pbt-s0"]
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="Cannot write"):
        write(text, tmp_path / "file" / "x.json")


def test_the_report_says_what_is_amiss() -> None:
    runs = [comparison(seed=s) for s in range(3)]
    runs += [comparison("bohb", differences=("Trial 0001 differs.", "Another."), stalled="It has stalled")]
    report = validation_report(runs, CURVES)
    assert report.table("strategies").column("replayed") == [3, 0]
    assert report.table("runs").column("differences") == ["the same"] * 3 + ["2 differences"]
    assert report.warnings == (
        "Fewer than 3 real runs, so provisional: bohb.",
        "The replay of bohb, seed 0 decided otherwise. Trial 0001 differs. And 1 more difference.",
        "The prediction of bohb, seed 0 ended early: It has stalled.",
    )


def run_folder(tmp_path: Path, strategy: str) -> Path:
    folder = tmp_path / strategy
    folder.mkdir()
    (folder / JOURNAL_NAME).write_text("".join(encode(event) + "\n" for event in as_real(strategy)))
    return folder


@pytest.mark.parametrize("strategy", ["manual", "asha", "pbt"])
def test_a_run_of_the_curves_themselves_is_predicted_exactly(tmp_path: Path, strategy: str) -> None:
    """The profile's overheads aside, which the simulated stand-in of a real run does not have."""
    found = compare_run(run_folder(tmp_path, strategy), MODEL)
    assert found.differences == ()
    assert found.prediction.rank_correlation == pytest.approx(1)
    assert found.prediction.same_configs == found.prediction.same_last_epochs == 1
    assert found.prediction.loss_difference == 0
    assert found.prediction.cost_error > 0
    assert found.approximate is (strategy == "pbt")


def test_a_run_of_other_data_is_refused() -> None:
    real = build_record(events_of("asha"))
    with pytest.raises(UserError, match=r"has data set SQuAD.*made-for-tests has none of its own"):
        check_fits(real, CURVES)
    check_fits(real, replace(CURVES, dataset_name="SQuAD v1.1 (XQuAD-en subset)"))


def test_a_prediction_has_as_many_slots_as_the_run() -> None:
    study = build_record(as_real("asha")).parsed_study()
    virtual = predicted_study(study, load_strategy("asha"), CURVES)
    assert (virtual.slots, virtual.seed, virtual.epochs) == (study.slots, study.seed, study.epochs)
    assert (virtual.settings, virtual.space) == (study.settings, study.space)


def test_the_command_writes_and_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.curves.load_curve_set", lambda name: replace(CURVES, table_sha256="ab"))
    folders = [str(run_folder(tmp_path, name)) for name in ("asha", "manual")]
    arguments = [CURVES.name, *folders, "--out", str(tmp_path / "out")]
    shown = CliRunner().invoke(validate_curves, arguments, catch_exceptions=False)
    assert "against 2 real runs" in shown.stdout
    written = (tmp_path / "out" / f"{CURVES.name}.json").read_bytes()
    again = CliRunner().invoke(validate_curves, [CURVES.name, *folders[::-1], *arguments[3:], "--json"])
    assert json.loads(again.stdout)["tables"]["runs"]["rows"][1]["strategy"] == "manual"
    assert (tmp_path / "out" / f"{CURVES.name}.json").read_bytes() == written
    assert set(load_validation(CURVES.name, tmp_path / "out").strategies) == {"asha", "manual"}


def test_curves_that_end_before_the_run_are_refused(tmp_path: Path) -> None:
    short = CurveModel(replace(CURVES, epochs=4, curves=tuple(replace(c, epochs=c.epochs[:4]) for c in CURVES.curves)))
    with pytest.raises(UserError, match="9 epochs are more than the 4"):
        compare_run(run_folder(tmp_path, "asha"), short)
