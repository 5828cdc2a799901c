"""Runs in MLflow's local file store: one for the search, and one nested in it for each trial."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote, urlparse

from bench.errors import UserError
from bench.export.common import (
    Source,
    changes_text,
    cost_numbers,
    exported_config,
    nature,
    one_line,
    outcome,
    run_facts,
    safe_name,
    study_facts,
)
from bench.export.place import LOCK_NAME, alone_in, cannot_write, needs, other_there
from bench.hyperparameters import Value
from bench.progress import OnDone
from bench.record import RECORD_NAME, encode_record
from bench.trials import Trial

if TYPE_CHECKING:
    from mlflow import MlflowClient

TOOL = "MLflow"
RUN, DIGEST, COMPLETE = "sweepmark.run", "sweepmark.record_sha256", "sweepmark.complete"
BATCH = 100  # parameters or metrics that MLflow takes at once
MOST_RUNS = 50_000  # that MLflow finds at once

ENVIRONMENT = {"MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
"""MLflow opens a file store only where the first is set; the others keep it from calling home."""

T = TypeVar("T")


def export_mlflow(source: Source, place: Path, on_done: OnDone | None = None) -> bool:
    """Write the run into the file store `place`, new or with other runs. Returns False where it is there already.
    Raises UserError; then nothing of it is there (a killed export is replaced by the next)."""
    _check(place)
    with _environment():
        try:
            from mlflow import MlflowClient
            from mlflow.exceptions import MlflowException
        except ImportError as error:
            raise needs(TOOL, error) from None
        try:
            with alone_in(place):
                before = set(place.iterdir())
                try:
                    client = MlflowClient(tracking_uri=place.absolute().as_uri())
                    return _Writing(client, source, place).write(on_done)
                except BaseException:
                    for folder in set(place.iterdir()) - before:
                        shutil.rmtree(folder, ignore_errors=True)
                    raise
        except (OSError, ValueError, MlflowException) as error:
            raise cannot_write(TOOL, place, error) from None


@contextmanager
def _environment() -> Iterator[None]:
    """MLflow's settings, for as long as it writes."""
    before = {name: os.environ.get(name) for name in ENVIRONMENT}
    os.environ.update(ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _check(place: Path) -> None:
    """Raises UserError where the place is not a file store, nor could become one."""
    if place.exists() and not place.is_dir():
        raise UserError(f"{place} is a file: for MLflow give a folder, such as mlruns.")
    if not place.is_dir() or all(path.name == LOCK_NAME for path in place.iterdir()):
        return
    if not any("experiment_id:" in path.read_text(errors="replace") for path in place.glob("*/meta.yaml")):
        raise UserError(f"{place} is neither empty nor a file store of MLflow: give another folder, such as mlruns.")


class _Writing:
    """One export; the runs that it made are taken away again where it fails."""

    def __init__(self, client: MlflowClient, source: Source, place: Path) -> None:
        self._client = client
        self._place = place
        self._source = source
        self._made: list[Path] = []

    def write(self, on_done: OnDone | None) -> bool:
        experiment = self._client.get_experiment_by_name(self._experiment_name)
        if experiment is not None and not self._make_way(experiment.experiment_id):
            return False
        try:
            self._write(self._new_experiment() if experiment is None else experiment.experiment_id, on_done)
        except BaseException:
            for folder in self._made:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        return True

    @property
    def _experiment_name(self) -> str:
        """Safe names alone: MLflow looks experiments up with the name in quotes."""
        study = self._source.record.study
        name = " / ".join(safe_name(str(study.get(key, ""))) for key in ("workload", "recipe", "profile"))
        return name + (" (simulated)" if self._source.simulated else "")

    def _new_experiment(self) -> str:
        return str(self._client.create_experiment(self._experiment_name))

    def _make_way(self, experiment: str) -> bool:
        """Whether to write: not where the run is there already. Takes away what a killed export left."""
        runs = self._client.search_runs([experiment], f"tags.`{RUN}` = '{self._source.label}'", max_results=MOST_RUNS)
        for run in runs:
            if COMPLETE in run.data.tags:
                if run.data.tags.get(DIGEST) == self._source.digest:
                    return False
                raise other_there(self._source.label, self._place, "delete that run and those nested in it")
        for run in runs:
            shutil.rmtree(_local(run.info.artifact_uri).parent)
        return True

    def _write(self, experiment: str, on_done: OnDone | None) -> None:
        source, record = self._source, self._source.record
        parent = self._create(experiment, source.label, record.started_s, {DIGEST: source.digest, **run_facts(source)})
        self._params(parent, study_facts(source))
        self._metrics(parent, [(name, value, record.ended_s, 0) for name, value in cost_numbers(record).items()])
        self._metrics(parent, [("incumbent_eval_loss", s.eval_loss, s.at_s, n) for n, s in enumerate(record.trace)])
        self._metrics(
            parent,
            [("incumbent_busy_device_min", s.busy_device_min, s.at_s, n) for n, s in enumerate(record.trace)],
        )
        for done, trial in enumerate(record.trials, 1):
            self._trial(experiment, parent, trial)
            if on_done is not None:
                on_done(done, len(record.trials))
        self._client.log_text(parent, encode_record(record).decode(), RECORD_NAME)
        status = {"finished": "FINISHED", "interrupted": "KILLED", "running": "RUNNING"}[record.status]
        self._end(parent, status, record.ended_s)
        self._client.set_tag(parent, COMPLETE, "true")

    def _trial(self, experiment: str, parent: str, trial: Trial) -> None:
        source = self._source
        start_s, end_s = source.times[trial.trial]
        name = "final retrain" if trial.purpose == "final" else f"trial {trial.number}"
        winner = source.record.winner
        tags = {
            "mlflow.parentRunId": parent,
            "trial": one_line(trial.trial),
            "state": trial.state,
            "detail": one_line(trial.detail),
            "purpose": trial.purpose,
            "numbers": nature(source),
            "winner": str(winner is not None and winner.trial == trial.trial).lower(),
            "configuration_changed": one_line(changes_text(trial)),
        }
        run = self._create(experiment, f"{name} of {source.label}", start_s, {k: v for k, v in tags.items() if v})
        self._params(run, {safe_name(k): _param(v) for k, v in exported_config(trial).items()})
        losses = [("eval_loss", p.eval_loss, p.at_s, p.epoch) for p in trial.curve]
        losses += [("train_loss", p.train_loss, p.at_s, p.epoch) for p in trial.curve]
        totals = [("eval_loss_full", trial.best_loss), ("busy_device_min", trial.busy_device_min)]
        self._metrics(run, losses + [(key, value, end_s, trial.epochs) for key, value in totals])
        opened = "SCHEDULED" if trial.state == "waiting" else "RUNNING"
        statuses = {"failed": "FAILED", "ended": "FINISHED", "cut": "KILLED", "open": opened}
        self._end(run, statuses[outcome(source.record, trial)], end_s)

    def _create(self, experiment: str, name: str, start_s: float, tags: Mapping[str, str]) -> str:
        run = self._client.create_run(
            experiment, start_time=_ms(start_s), tags={**tags, RUN: self._source.label}, run_name=name
        )
        self._made.append(_local(run.info.artifact_uri).parent)
        return str(run.info.run_id)

    def _params(self, run: str, values: Mapping[str, str]) -> None:
        from mlflow.entities import Param

        for some in _batches([Param(key, value) for key, value in values.items()]):
            self._client.log_batch(run, params=some)

    def _metrics(self, run: str, points: list[tuple[str, float | None, float, int]]) -> None:
        """Numbers with time and step; None, which stands for one that is not finite, is left out."""
        from mlflow.entities import Metric

        known = [Metric(key, value, _ms(at_s), step) for key, value, at_s, step in points if value is not None]
        for some in _batches(known):
            self._client.log_batch(run, metrics=some)

    def _end(self, run: str, status: str, end_s: float) -> None:
        if status in ("RUNNING", "SCHEDULED"):
            self._client.update_run(run, status)
        else:
            self._client.set_terminated(run, status, _ms(end_s))


def _param(value: Value) -> str:
    """Words as they are, numbers in full precision."""
    return one_line(value) if isinstance(value, str) else repr(value)


def _ms(at_s: float) -> int:
    return round(1000 * at_s)


def _local(uri: str) -> Path:
    """The folder of a local artifact location, which MLflow gives as a path or as a file's address."""
    return Path(unquote(urlparse(uri).path)) if uri.startswith("file:") else Path(uri)


def _batches(items: list[T]) -> Iterator[list[T]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]
