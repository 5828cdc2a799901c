"""Runs in a file store, read back by MLflow's own client."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from bench.errors import UserError
from bench.export import mlflow as exporter
from bench.export.common import Source, cost_numbers
from bench.export.mlflow import COMPLETE, DIGEST, export_mlflow
from bench.record import encode_record
from tests.export.runs import evil, measured, mixed, simulated


@pytest.fixture(autouse=True)
def _allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a reader has to set as well."""
    for name, value in exporter.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


def client(place: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=place.as_uri())


def runs(place: Path) -> tuple[Any, list[Any]]:
    """The only run of a search, and those nested in it, by their order."""
    reader = client(place)
    experiments = [e.experiment_id for e in reader.search_experiments()]
    found = reader.search_runs(experiments)
    (parent,) = [r for r in found if "mlflow.parentRunId" not in r.data.tags]
    nested = [r for r in found if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert len(nested) == len(found) - 1
    return parent, sorted(nested, key=lambda r: (r.data.tags["purpose"] == "final", r.info.start_time))


def test_trials_come_back(tmp_path: Path) -> None:
    source = measured()
    assert export_mlflow(source, tmp_path / "mlruns")
    _, nested = runs(tmp_path / "mlruns")
    reader = client(tmp_path / "mlruns")
    assert len(nested) == len(source.record.trials)
    by_id = {r.data.tags["trial"]: r for r in nested}
    for trial in source.record.trials:
        run = by_id[trial.trial]
        assert {k: float(v) for k, v in run.data.params.items()} == (trial.best_config or trial.config)
        history = reader.get_metric_history(run.info.run_id, "eval_loss")
        told = [(m.step, m.value, m.timestamp) for m in sorted(history, key=lambda m: m.step)]
        assert told == [(p.epoch, p.eval_loss, round(1000 * p.at_s)) for p in trial.curve]
        trained = reader.get_metric_history(run.info.run_id, "train_loss")
        assert {m.step: m.value for m in trained} == {p.epoch: p.train_loss for p in trial.curve}
        assert run.data.metrics["busy_device_min"] == trial.busy_device_min
        assert run.data.tags["state"] == trial.state
        assert bool(trial.history) == ("configuration_changed" in run.data.tags)
        start_s, end_s = source.times[trial.trial]
        assert (run.info.start_time, run.info.end_time) == (round(1000 * start_s), round(1000 * end_s))
    winner = source.record.winner
    assert winner is not None
    assert [r.data.tags["trial"] for r in nested if r.data.tags["winner"] == "true"] == [winner.trial]


def test_the_search_comes_back(tmp_path: Path) -> None:
    source = measured()
    export_mlflow(source, tmp_path / "mlruns")
    parent, _ = runs(tmp_path / "mlruns")
    reader = client(tmp_path / "mlruns")
    assert reader.get_experiment(parent.info.experiment_id).name == "tiny-squad / qa / cpu"
    assert parent.info.status == "FINISHED"
    assert parent.data.params["strategy"] == "pbt"
    assert parent.data.params["setting_quantile_fraction"] == "0.25"
    assert {k: parent.data.metrics[k] for k in cost_numbers(source.record)} == cost_numbers(source.record)
    assert parent.data.tags["numbers"] == "measured"
    artifact = reader.download_artifacts(parent.info.run_id, "record.json")
    assert Path(artifact).read_bytes() == encode_record(source.record)
    assert not {"mlflow.user", "mlflow.source.name", "mlflow.source.git.commit"} & set(parent.data.tags)


def test_what_failed_is_failed_and_no_number(tmp_path: Path) -> None:
    export_mlflow(mixed(), tmp_path / "mlruns")
    parent, nested = runs(tmp_path / "mlruns")
    assert [r.info.status for r in nested] == ["FINISHED"] * 3 + ["FAILED"] * 2 + ["FINISHED"]
    states = ["completed", "completed", "stopped", "nan", "oom", "completed"]
    assert [r.data.tags["state"] for r in nested] == states
    assert nested[3].data.metrics["eval_loss"] == 3.5
    assert "eval_loss_full" not in nested[3].data.metrics
    assert all(math.isfinite(v) for r in (parent, *nested) for v in r.data.metrics.values())


def test_texts_stay_in_their_place(tmp_path: Path) -> None:
    export_mlflow(evil(), tmp_path / "mlruns")
    assert [p.name for p in tmp_path.iterdir()] == ["mlruns"]
    parent, nested = runs(tmp_path / "mlruns")
    assert all("\n" not in value for r in (parent, *nested) for value in r.data.tags.values())
    assert "<" not in client(tmp_path / "mlruns").get_experiment(parent.info.experiment_id).name
    assert not export_mlflow(evil(), tmp_path / "mlruns")


def test_simulated_runs_have_an_experiment_of_their_own(tmp_path: Path) -> None:
    export_mlflow(simulated(), tmp_path / "mlruns")
    parent, nested = runs(tmp_path / "mlruns")
    name = client(tmp_path / "mlruns").get_experiment(parent.info.experiment_id).name
    assert name == "bloom560m-squad / qa / a100 (simulated)"
    assert all(r.data.tags["numbers"].startswith("simulated") for r in (parent, *nested))


def test_twice_is_once_and_another_state_is_refused(tmp_path: Path) -> None:
    source = mixed()
    assert export_mlflow(source, tmp_path / "mlruns")
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert not export_mlflow(source, tmp_path / "mlruns")
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    parent, _ = runs(tmp_path / "mlruns")
    client(tmp_path / "mlruns").set_tag(parent.info.run_id, DIGEST, "another")
    with pytest.raises(UserError, match="not this state of the run"):
        export_mlflow(source, tmp_path / "mlruns")


def test_what_a_killed_export_left_is_replaced(tmp_path: Path) -> None:
    place = tmp_path / "mlruns"
    export_mlflow(mixed(), place)
    parent, nested = runs(place)
    client(place).delete_tag(parent.info.run_id, COMPLETE)
    assert export_mlflow(mixed(), place)
    again, nested_again = runs(place)
    assert again.info.run_id != parent.info.run_id
    assert len(nested_again) == len(nested)


@pytest.mark.parametrize("existed", [False, True])
def test_a_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, existed: bool) -> None:
    place = tmp_path / "mlruns"
    if existed:
        export_mlflow(measured(), place)
    before = sorted(p for p in tmp_path.rglob("*"))

    def full(self: Any, experiment: str, parent: str, trial: Any) -> None:
        if trial.number == 2:
            raise OSError(28, "No space left on device")
        written(self, experiment, parent, trial)

    written = exporter._Writing._trial
    monkeypatch.setattr(exporter._Writing, "_trial", full)
    with pytest.raises(UserError, match="No space left on device"):
        export_mlflow(mixed(), place)
    assert sorted(p for p in tmp_path.rglob("*")) == before


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "meta.yaml").write_text("package: {name: x}")
    with pytest.raises(UserError, match="neither empty nor a file store"):
        export_mlflow(mixed(), tmp_path)
    with pytest.raises(UserError, match="is a file"):
        export_mlflow(mixed(), tmp_path / "letter.txt")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["letter.txt", "recipe"]


def test_the_record_of_a_run_alone_is_enough(tmp_path: Path) -> None:
    export_mlflow(Source(record=mixed().record), tmp_path / "mlruns")
    assert json.loads(encode_record(mixed().record))["run_id"] in runs(tmp_path / "mlruns")[0].info.run_name
