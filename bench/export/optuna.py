"""A study in an Optuna storage: a file of SQLite, as Optuna and its dashboard open."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UserError
from bench.export.common import Source, cost_numbers, exported_config, nature, one_line, outcome, run_facts, study_facts
from bench.export.place import alone_in, cannot_write, needs, other_there
from bench.hyperparameters import Value
from bench.progress import OnDone
from bench.space import Choice, LogUniform
from bench.trials import Trial

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

TOOL = "Optuna"
DIGEST, COMPLETE = "sweepmark_record_sha256", "sweepmark_complete"


def export_optuna(source: Source, place: Path, on_done: OnDone | None = None) -> bool:
    """Write the run as one study into the SQLite file `place`, new or with other studies. Returns False where it is
    there already. Raises UserError; then the study is not there (a killed export is replaced by the next)."""
    try:
        import optuna  # noqa: F401
        from optuna.exceptions import OptunaError
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError as error:
        raise needs(TOOL, error) from None
    _check(place)
    try:
        with alone_in(place.parent):
            if place.exists():
                return _add(source, place, place, on_done)
            new = place.with_name(f".{place.name}.writing")
            left = (new, new.with_name(f"{new.name}-journal"))
            for file in left:  # by a killed export
                file.unlink(missing_ok=True)
            try:
                _add(source, new, place, on_done)
                new.rename(place)
            finally:
                for file in left:
                    file.unlink(missing_ok=True)
    except (OSError, ArithmeticError, RuntimeError, SQLAlchemyError, ValueError, OptunaError) as error:
        raise cannot_write(TOOL, place, error) from None
    return True


def _add(source: Source, file: Path, place: Path, on_done: OnDone | None) -> bool:
    """Add the study to a file, and say whether it was not there. `place`: what the file is called in messages."""
    import optuna

    name = source.label
    with _storage(file) as storage:
        if name in optuna.get_all_study_names(storage):
            there = optuna.load_study(study_name=name, storage=storage).user_attrs
            if there.get(DIGEST) == source.digest and there.get(COMPLETE):
                return False
            if DIGEST not in there or there.get(COMPLETE):
                raise other_there(name, place, "remove that study (`optuna delete-study`)")
            optuna.delete_study(study_name=name, storage=storage)
        study = optuna.create_study(study_name=name, storage=storage, direction="minimize")
        try:
            _write(source, study, on_done)
        except BaseException:
            optuna.delete_study(study_name=name, storage=storage)
            raise
    return True


def _check(place: Path) -> None:
    """Raises UserError where the place cannot be the file."""
    if place.is_dir():
        raise UserError(f"{place} is a folder: for Optuna give a file in it, such as {place / 'optuna.db'}.")
    if set("?#%{}") & set(str(place)):
        raise UserError(f"{place} has one of ? # % {{ }} in it, which the address of a storage cannot: rename it.")
    if place.exists() and place.stat().st_size:
        try:
            with closing(sqlite3.connect(f"{place.absolute().as_uri()}?mode=ro", uri=True)) as base:
                tables = {name for (name,) in base.execute("SELECT name FROM sqlite_master")}
        except sqlite3.Error:
            tables = set()
        if not {"studies", "trials", "version_info"} <= tables:
            raise UserError(f"{place} is no storage of Optuna: give another file, or one that is not there yet.")


@contextmanager
def _storage(place: Path) -> Iterator[Any]:
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = None
    try:
        storage = optuna.storages.RDBStorage(f"sqlite:///{place.absolute()}")
        yield storage
    finally:
        optuna.logging.set_verbosity(level)
        if storage is not None:
            storage.remove_session()
            storage.engine.dispose()


def _write(source: Source, study: Study, on_done: OnDone | None) -> None:
    record = source.record
    study.set_user_attr(DIGEST, source.digest)
    for name, text in (study_facts(source) | run_facts(source)).items():
        study.set_user_attr(name, text)
    study.set_user_attr("costs", cost_numbers(record))
    study.set_user_attr("notes", [one_line(note.message) for note in record.notes])
    study.set_user_attr("clock", "UTC" if source.events is not None else "UTC; when trials started is estimated")
    distributions = _distributions(source)
    trials = record.search_trials
    for done, trial in enumerate(trials, 1):
        study.add_trial(_frozen(source, trial, distributions))
        if on_done is not None:
            on_done(done, len(trials))
    study.set_user_attr(COMPLETE, True)


def _distributions(source: Source) -> dict[str, BaseDistribution]:
    """The search space, widened where a trial left it: Optuna takes no value outside."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    distributions: dict[str, BaseDistribution] = {}
    for dimension in source.record.parsed_study().space.dimensions:
        name = dimension.name
        configs = [exported_config(trial) for trial in source.record.search_trials]
        tried = [config[name] for config in configs if name in config]
        if isinstance(dimension, Choice):
            others = sorted(
                {value for value in tried if value not in dimension.values}, key=lambda v: (str(type(v)), v)
            )
            distributions[name] = CategoricalDistribution((*dimension.values, *others))
        else:
            log = isinstance(dimension, LogUniform)
            inside = [float(value) for value in tried if not isinstance(value, str) and (value > 0 or not log)]
            distributions[name] = FloatDistribution(
                min([dimension.lower, *inside]), max([dimension.upper, *inside]), log=log
            )
    return distributions


def _fits(value: Value, distribution: BaseDistribution) -> bool:
    from optuna.distributions import FloatDistribution

    if not isinstance(distribution, FloatDistribution):
        return True
    return not isinstance(value, str) and (value > 0 or not distribution.log)


def _frozen(source: Source, trial: Trial, distributions: dict[str, BaseDistribution]) -> FrozenTrial:
    """A trial is COMPLETE where it has a loss at full fidelity; its parameters are then those that reached it."""
    from optuna.trial import TrialState, create_trial

    became = outcome(source.record, trial)
    if trial.best_loss is not None:
        state, value = TrialState.COMPLETE, trial.best_loss
    elif became == "failed" or trial.state == "completed":
        state, value = TrialState.FAIL, None
    elif became != "open":
        state, value = TrialState.PRUNED, trial.last_loss
    else:
        state, value = TrialState.WAITING if trial.state == "waiting" else TrialState.RUNNING, None
    inside = {
        name: number
        for name, number in exported_config(trial).items()
        if name in distributions and _fits(number, distributions[name])
    }
    frozen = create_trial(
        state=state,
        value=value,
        params=inside,
        distributions={name: distributions[name] for name in inside},
        intermediate_values={p.epoch: p.eval_loss for p in trial.curve if p.eval_loss is not None},
        user_attrs=_attributes(source, trial),
    )
    start_s, end_s = source.times[trial.trial]
    frozen.datetime_start = None if state == TrialState.WAITING else _utc(start_s)
    frozen.datetime_complete = _utc(end_s) if state.is_finished() else None
    return frozen


def _attributes(source: Source, trial: Trial) -> dict[str, Any]:
    winner = source.record.winner
    return {
        "trial": one_line(trial.trial),
        "number": trial.number,
        "state": trial.state,
        "detail": one_line(trial.detail),
        "epochs": trial.epochs,
        "train_loss": {str(p.epoch): p.train_loss for p in trial.curve if p.train_loss is not None},
        "winner": winner is not None and winner.trial == trial.trial,
        "model_based": trial.model_based,
        "busy_device_min": trial.busy_device_min,
        "busy_s": dict(trial.busy_s),
        "numbers": nature(source),
        "config": {one_line(name): value for name, value in trial.config.items()},
        "changes": [
            {
                "after_epoch": change.epoch,
                "donor": one_line(change.donor),
                "donor_epoch": change.donor_epoch,
                "previous": change.previous,
                "config": change.config,
            }
            for change in trial.history
        ],
    }


def _utc(at_s: float) -> datetime:
    """Without a zone, as Optuna wants it."""
    return datetime.fromtimestamp(at_s, UTC).replace(tzinfo=None)
