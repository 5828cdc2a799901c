"""The tables of one run: its trials and its best configuration, with the workshop guide's columns."""

from __future__ import annotations

from collections.abc import Sequence

from bench.hyperparameters import short_name
from bench.metrics import EVAL_LOSS, METRICS, first_metric, study_metrics
from bench.record import Record
from bench.report.wording import count, device_of
from bench.tables import MISSING, SWAPPED_MOST, Cell, Column, Missing, Table
from bench.trials import Trial


def best_trial(record: Record) -> Trial | None:
    """The winner or, where no trial reached full fidelity, the one with the lowest last loss."""
    if record.winner is not None:
        return record.trial(record.winner.trial)
    scored = [t for t in record.search_trials if t.last_loss is not None]
    return min(scored, key=lambda t: t.last_loss or 0.0, default=None)


def trial_table(record: Record) -> Table:
    """All trials of the search, with how each ended and what it cost."""
    device = device_of(record)
    names = hyperparameters(record)
    others = other_metrics([record])
    changed = any(t.history for t in record.search_trials)
    columns = [
        Column(key="mark", header="", align="left"),
        Column(key="combo", header="combo"),
        *config_columns(names),
        Column(key="eval_loss", header="eval loss", spec=".4f"),
        *metric_columns(others),
        Column(key="runtime_s", header="runtime", unit="s", spec=".1f"),
        Column(key="state", header="state", align="left"),
        Column(key="epochs", header=f"epochs of {record.study['epochs']}"),
        Column(key="busy_device_min", header="busy", unit=device.minutes, spec=".2f"),
        Column(key="model_based", header="model-based", align="left", data_only=True),
        Column(key="lost_s", header="lost", unit="s", spec=".1f", data_only=True),
        Column(key="trial", header="trial", align="left", data_only=True),
    ]
    if changed:
        columns.insert(2 + len(names), Column(key="config_changes", header="changes"))
    rows: list[tuple[Cell, ...]] = []
    for trial in record.search_trials:
        config = trial.best_config or trial.config
        changes: list[Cell] = [len(trial.history)] if changed else []
        rows.append(
            (
                "*" if _wins(record, trial) else "",
                trial.number,
                *(config.get(name) for name in names),
                *changes,
                shown_loss(trial),
                *(trial.values.get(name) for name in others),
                trial.runtime_s,
                trial.state,
                shown_epochs(trial),
                trial.busy_device_min,
                trial.model_based,
                trial.lost_s,
                trial.trial,
            )
        )
    return Table(
        name="trials",
        title=f"Trials of {record.run_id}",
        columns=tuple(columns),
        rows=tuple(rows),
        notes=tuple(_trial_notes(record, changed)),
        identity=2,
        strong=frozenset(i for i, t in enumerate(record.search_trials) if _wins(record, t)),
    )


def best_table(records: list[Record], labels: list[str]) -> Table:
    """The best configuration of each run: the guide's table, a row a run."""
    short = len(records) > SWAPPED_MOST
    low = any(record.winner is None and best_trial(record) is not None for record in records)
    names = list(dict.fromkeys(name for record in records for name in hyperparameters(record)))
    others = other_metrics(records)
    rows: list[tuple[Cell, ...]] = []
    for record, label in zip(records, labels, strict=True):
        trial = best_trial(record)
        if trial is None:
            rows.append((label, *(None for _ in names), *(None for _ in others), None, None, None, "no loss"))
            continue
        config = trial.best_config or trial.config
        rows.append(
            (
                label,
                *(config.get(name) for name in names),
                shown_loss(trial),
                *(trial.values.get(name) for name in others),
                trial.runtime_s,
                shown_epochs(trial),
                "yes" if record.winner else "no",
            )
        )
    columns = (
        Column(key="run_type", header="run type", align="left", wraps=short),
        *config_columns(names),
        Column(key="eval_loss", header="eval loss", spec=".4f"),
        *metric_columns(others),
        Column(key="runtime_s", header="total runtime", unit="s", spec=".1f"),
        Column(key="epochs", header="epochs"),
        Column(key="full_fidelity", header="full fidelity", align="left", data_only=short and not low),
    )
    notes: tuple[str, ...] = ()
    if low:
        notes = (
            "full fidelity 'no': no trial is known to have trained for all its epochs; shown is the lowest loss "
            "at any, which is no incumbent and cannot win.",
        )
    return Table(name="best", title="Best configuration", columns=columns, rows=tuple(rows), notes=notes)


def hyperparameters(record: Record) -> list[str]:
    """Names in the space's order, then any others that a trial has."""
    space = record.study.get("space")
    names = list(space) if isinstance(space, dict) else []
    for trial in record.search_trials:
        names += [name for name in trial.config if name not in names]
    return names


def config_columns(names: list[str]) -> list[Column]:
    return [Column(key=name, header=short_name(name), spec=".6g") for name in names]


def other_metrics(records: Sequence[Record]) -> list[str]:
    """Metrics beside the loss that any of the runs optimised."""
    return list(dict.fromkeys(n for r in records for n in study_metrics(r.study) if n != EVAL_LOSS))


def metric_columns(names: Sequence[str]) -> list[Column]:
    """One for each metric; its values are of the epoch at full fidelity."""
    metrics = [METRICS[name] for name in names]
    return [Column(key=m.name, header=m.word, unit="" if m.unit == m.word else m.unit, spec=m.spec) for m in metrics]


def shown_loss(trial: Trial) -> Cell:
    """Best loss at full fidelity, else the last; where there is none, how the trial ended, if it did."""
    loss = trial.best_loss if trial.best_loss is not None else trial.last_loss
    if loss is not None:
        return loss
    return Missing(trial.state) if trial.ended else Missing()


def shown_epochs(trial: Trial) -> Cell:
    return Missing(MISSING) if trial.state == "summarised" else trial.epochs


def _wins(record: Record, trial: Trial) -> bool:
    return record.winner is not None and record.winner.trial == trial.trial


def _trial_notes(record: Record, changed: bool) -> list[str]:
    epochs = count(int(record.study["epochs"]), "epoch")
    better = first_metric(record.study).better
    notes = [] if record.winner is None else [f"*: the winner, the {better} at full fidelity (after {epochs})."]
    notes += [f"trial {t.number}: {t.state}: {t.detail}" for t in record.search_trials if t.detail]
    if any(t.state == "summarised" for t in record.search_trials):
        notes.append("state 'summarised': only totals are known, not at which epoch the trial stopped.")
    if changed:
        notes.append("changes: how often a trial took over a donor's weights and went on with another configuration.")
    return notes
