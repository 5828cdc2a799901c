"""A study in a file of SQLite, read back by Optuna."""

from __future__ import annotations

import json
import math
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from bench.errors import UserError
from bench.export import optuna as exporter
from bench.export.common import Source, cost_numbers
from bench.export.optuna import COMPLETE, DIGEST, export_optuna
from tests.builders import Run, journal, study
from tests.export.runs import evil, measured, mixed, simulated, source


def read(path: Path, name: str) -> optuna.Study:
    return optuna.load_study(study_name=name, storage=f"sqlite:///{path}")


def names(path: Path) -> list[str]:
    return optuna.get_all_study_names(f"sqlite:///{path}")


@pytest.mark.parametrize("strategy", ["pbt", "bohb"])
def test_the_best_trial_is_the_winner(tmp_path: Path, strategy: str) -> None:
    run = measured(strategy)
    assert export_optuna(run, tmp_path / "o.db")
    there = read(tmp_path / "o.db", run.label)
    winner = run.record.winner
    assert winner is not None
    assert there.best_trial.user_attrs["trial"] == winner.trial
    assert there.best_trial.user_attrs["winner"] is True
    assert there.best_value == winner.eval_loss
    assert there.best_params == winner.config
    assert there.user_attrs["costs"] == cost_numbers(run.record)
    assert there.user_attrs["numbers"] == "measured"


def test_trials_come_back(tmp_path: Path) -> None:
    run = measured()
    export_optuna(run, tmp_path / "o.db")
    trials = read(tmp_path / "o.db", run.label).trials
    assert len(trials) == len(run.record.search_trials)
    for trial, there in zip(run.record.search_trials, trials, strict=True):
        assert there.intermediate_values == {p.epoch: p.eval_loss for p in trial.curve}
        assert there.datetime_start is not None
        assert there.datetime_complete is not None
        seconds = [t.replace(tzinfo=UTC).timestamp() for t in (there.datetime_start, there.datetime_complete)]
        assert seconds == pytest.approx(run.times[trial.trial], abs=1e-3)
        assert [c["after_epoch"] for c in there.user_attrs["changes"]] == [c.epoch for c in trial.history]
        assert there.user_attrs["busy_device_min"] == trial.busy_device_min
        assert there.user_attrs["train_loss"] == {str(p.epoch): p.train_loss for p in trial.curve}
        assert there.user_attrs["config"] == trial.config
    lr, batch = trials[0].distributions["learning_rate"], trials[0].distributions["batch_size"]
    assert lr == optuna.distributions.FloatDistribution(2e-4, 8e-3, log=True)
    assert batch == optuna.distributions.CategoricalDistribution((8, 16))


def test_states_are_optunas_and_there_is_no_nan(tmp_path: Path) -> None:
    run = mixed()
    export_optuna(run, tmp_path / "o.db")
    trials = read(tmp_path / "o.db", run.label).trials
    complete, pruned, fail = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL
    assert [t.state for t in trials] == [complete, complete, pruned, fail, fail]
    assert [t.value for t in trials] == [2.5, 2.0, 4.0, None, None]
    assert [t.user_attrs["state"] for t in trials] == ["completed", "completed", "stopped", "nan", "oom"]
    assert trials[3].intermediate_values == {1: 3.5}
    assert all(math.isfinite(v) for t in trials for v in t.intermediate_values.values())


def test_the_study_can_be_gone_on_with(tmp_path: Path) -> None:
    """Optuna's own sampler takes the trials as its past."""
    run = measured("random")
    export_optuna(run, tmp_path / "o.db")
    there = read(tmp_path / "o.db", run.label)
    there.sampler = optuna.samplers.TPESampler(seed=0)
    trial = there.ask(there.trials[0].distributions)
    assert set(trial.params) == {"learning_rate", "batch_size", "weight_decay"}


def test_a_value_outside_the_space_widens_it(tmp_path: Path) -> None:
    run = source(journal([Run(losses=[3.0, 2.5], lr=1e-2, batch_size=7), Run(losses=[3.0, 2.6])], study("asha")))
    export_optuna(run, tmp_path / "o.db")
    there = read(tmp_path / "o.db", run.label)
    assert there.best_params == {"learning_rate": 1e-2, "batch_size": 7, "weight_decay": 0.0}
    assert there.trials[1].distributions["learning_rate"] == optuna.distributions.FloatDistribution(
        5e-6, 1e-2, log=True
    )


def test_a_run_under_way(tmp_path: Path) -> None:
    events = journal([Run(losses=[3.0, 2.5]), Run(losses=[3.0, 2.6])], study("asha"))
    until = next(i for i, e in enumerate(events) if getattr(e, "trial", "") == "t1" and e.kind == "epoch_finished")
    run = source(events[: until + 1])
    export_optuna(run, tmp_path / "o.db")
    assert [t.state.name for t in read(tmp_path / "o.db", run.label).trials] == ["COMPLETE", "RUNNING"]


def test_texts_stay_texts(tmp_path: Path) -> None:
    run = evil()
    export_optuna(run, tmp_path / "o.db")
    (name,) = names(tmp_path / "o.db")
    assert "<" not in name
    assert "/" not in name
    attributes = json.dumps(read(tmp_path / "o.db", name).user_attrs)
    assert "\\n" not in attributes


def test_simulated_runs_say_so(tmp_path: Path) -> None:
    run = simulated()
    export_optuna(run, tmp_path / "o.db")
    there = read(tmp_path / "o.db", run.label)
    assert there.study_name.endswith("-simulated")
    assert there.user_attrs["numbers"].startswith("simulated")
    assert there.trials[0].user_attrs["numbers"].startswith("simulated")


def test_twice_is_once_and_another_state_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "o.db"
    assert export_optuna(mixed(), path)
    assert export_optuna(measured(), path)
    before = path.read_bytes()
    assert not export_optuna(mixed(), path)
    assert path.read_bytes() == before
    assert sorted(names(path)) == sorted([mixed().label, measured().label])
    read(path, mixed().label).set_user_attr(DIGEST, "another")
    with pytest.raises(UserError, match="not this state of the run"):
        export_optuna(mixed(), path)


def test_what_a_killed_export_left_is_replaced(tmp_path: Path) -> None:
    export_optuna(mixed(), tmp_path / "o.db")
    read(tmp_path / "o.db", mixed().label).set_user_attr(COMPLETE, False)
    assert export_optuna(mixed(), tmp_path / "o.db")
    assert len(read(tmp_path / "o.db", mixed().label).trials) == len(mixed().record.search_trials)


@pytest.mark.parametrize("existed", [False, True])
def test_a_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, existed: bool) -> None:
    path = tmp_path / "o.db"
    if existed:
        export_optuna(measured(), path)

    def full(of: Source, trial: Any, distributions: Any) -> Any:
        if trial.number == 3:
            raise OSError(28, "No space left on device")
        return made(of, trial, distributions)

    made = exporter._frozen
    monkeypatch.setattr(exporter, "_frozen", full)
    with pytest.raises(UserError, match="No space left on device"):
        export_optuna(mixed(), path)
    assert path.exists() == existed
    if existed:
        assert names(path) == [measured().label]


def test_files_of_something_else_are_refused(tmp_path: Path) -> None:
    text, base, folder = tmp_path / "a.txt", tmp_path / "b.db", tmp_path / "c"
    text.write_text("dear reader")
    with closing(sqlite3.connect(base)) as other:
        other.execute("CREATE TABLE studies (x)")
        other.execute("CREATE TABLE trials (x)")
    before = base.read_bytes()
    folder.mkdir()
    for path, words in ((text, "no storage"), (base, "no storage"), (folder, "folder"), (tmp_path / "a?b", "rename")):
        with pytest.raises(UserError, match=words):
            export_optuna(mixed(), path)
    assert base.read_bytes() == before
    shutil.rmtree(folder)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.txt", "b.db"]
