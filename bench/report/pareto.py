"""The Pareto front of a run by two metrics: the trials than which none is better in both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.errors import UserError
from bench.events import Event, RunStarted
from bench.metrics import EVAL_LOSS, METRICS, Metric, signed_values, study_metrics
from bench.record import Record, build_record
from bench.report.trials import config_columns, hyperparameters, metric_columns
from bench.statistics import pareto_front
from bench.tables import Cell, Column, Table
from bench.trials import Trial


@dataclass(frozen=True, kw_only=True)
class Front:
    """`trials`: those of the search that have both values, at full fidelity, each with whether it is on the front.
    `without`: how many have not."""

    metrics: tuple[Metric, Metric]
    trials: tuple[tuple[Trial, bool], ...]
    without: int


def front_of(record: Record) -> Front | None:
    """By the two metrics that the run optimised; None where that was one."""
    names = study_metrics(record.study)
    return _front(record, names) if len(names) == 2 else None


def front_by(events: Sequence[Event], names: Sequence[str]) -> Front:
    """By any two metrics, from the events of a run that may have optimised others. Raises UserError where no trial has
    both."""
    first = events[0]
    assert isinstance(first, RunStarted)
    asked = replace(first, study=first.study | {"metrics": list(names)})
    found = _front(build_record([asked, *events[1:]]), names)
    if not found.trials:
        raise UserError(
            f"No trial of {first.run_id} has both {' and '.join(names)} at full fidelity: name other metrics, or "
            "another run."
        )
    return found


def _front(record: Record, names: Sequence[str]) -> Front:
    known = [t for t in record.search_trials if all(name in t.values for name in names)]
    points = [signed_values({name: t.values[name] for name in names}) for t in known]
    return Front(
        metrics=(METRICS[names[0]], METRICS[names[1]]),
        trials=tuple(zip(known, pareto_front(points), strict=True)),
        without=len(record.search_trials) - len(known),
    )


def pareto_table(record: Record, front: Front) -> Table:
    """The trials on the front, best by the first metric first."""
    names = hyperparameters(record)
    metrics = [m.name for m in front.metrics]
    values = [
        Column(key=EVAL_LOSS, header=METRICS[EVAL_LOSS].word, spec=".4f") if m == EVAL_LOSS else metric_columns([m])[0]
        for m in metrics
    ]
    on_front = sorted((t for t, on in front.trials if on), key=lambda t: front.metrics[0].signed(t.values[metrics[0]]))
    rows: list[tuple[Cell, ...]] = [
        (
            t.number,
            *((t.best_config or t.config).get(name) for name in names),
            *(t.values[m] for m in metrics),
            t.busy_device_min,
            t.trial,
        )
        for t in on_front
    ]
    return Table(
        name="pareto",
        title=f"Pareto front by {' and '.join(m.noun for m in front.metrics)}",
        columns=(
            Column(key="combo", header="combo"),
            *config_columns(names),
            *values,
            Column(key="busy_device_min", header="busy", unit="device-min", spec=".2f"),
            Column(key="trial", header="trial", align="left", data_only=True),
        ),
        rows=tuple(rows),
        notes=tuple(_notes(front, len(rows))),
    )


def _notes(front: Front, rows: int) -> list[str]:
    first, second = front.metrics
    notes = [
        f"On the front: {rows} of {len(front.trials)} trials. No other trial has a better {first.noun} and a "
        f"{second.noun} that is no worse, or the other way round ({first.better}, {second.better}); the first row has "
        f"the {first.better}."
    ]
    if front.without:
        notes.append(
            f"{front.without} more that failed, were stopped early or lack one of the two are not on it: only "
            "values at full fidelity compare."
        )
    return notes
