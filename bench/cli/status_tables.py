"""The facts of runs as tables for people and as plain data for machines."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

from bench.cli.output import results_option
from bench.cluster.condition import WatchedJob, spans
from bench.cluster.watch import Facts
from bench.hyperparameters import short_name
from bench.ledger import Costs
from bench.progress import best, clock_text, mark, number
from bench.progress import label as trial_label
from bench.tables import Cell, Column, Table
from bench.trials import Trial

SHOWN_NEXT = 5
"""Commands that are written out below a table of runs."""

SHOWN_WORDS = 160
"""Characters of a run's state among those of others: an error may be long."""


def runs_table(facts: Sequence[Facts], program: str, results: Path, notes: Sequence[str] = ()) -> Table:
    """All runs, a row each, with the next commands below. `program`: how this program is called."""
    to_do = [command(run, program, results) for run in facts if run.condition.remedy]
    written = to_do[:SHOWN_NEXT]
    if len(to_do) > SHOWN_NEXT:
        written.append(f"… and so on for {len(to_do) - SHOWN_NEXT} more.")
    return Table(
        name="runs",
        title="Runs",
        columns=(
            Column(key="run", header="run", align="left"),
            Column(key="state", header="state", align="left", wraps=True),
            Column(key="trials", header="trials"),
            Column(key="epochs", header="epochs"),
            Column(key="eval_loss", header="best" if any(map(_by_metric, facts)) else "best loss", spec=".4f"),
            Column(key="allocated_device_min", header="device-min spent", spec=".2f"),
            Column(key="left", header="left"),
        ),
        rows=tuple(_run_row(run) for run in facts),
        notes=(*notes, *(f"Next: {line}" if not line.startswith("…") else line for line in written)),
        strong=frozenset(i for i, run in enumerate(facts) if run.condition.going_on),
    )


def _run_row(run: Facts) -> tuple[Cell, ...]:
    ended, total = _trials(run)
    return (
        run.name,
        shorten(run.condition.words, SHOWN_WORDS, placeholder=" …"),
        None if total is None else f"{ended}/{total}",
        _epochs(run),
        best(run.record.trace[-1]) if run.record and _by_metric(run) else _best(run)[1],
        _allocated(run),
        None if run.time_left_s is None else clock_text(run.time_left_s),
    )


def command(run: Facts, program: str, results: Path) -> str:
    """What is to be typed next ("": nothing). `results`: where runs are."""
    if not run.condition.remedy:
        return ""
    if run.folder.absolute().parent != (results / "runs").absolute():
        return f"{program} {run.condition.remedy} {shlex.quote(str(run.folder))}"
    return f"{program} {run.condition.remedy} {shlex.quote(run.name)}{results_option(results)}"


def headline(run: Facts, unit: str) -> str:
    """Trials, epochs, incumbent, cost so far and time left, in one line."""
    ended, total = _trials(run)
    if total is None:
        return ""
    parts = [f"{ended}/{total} trials", f"{_epochs(run) or 0} epochs"]
    if run.record and run.record.trace:
        parts.append(f"best {best(run.record.trace[-1])} (trial {run.record.trace[-1].trial})")
    parts.append(f"{_allocated(run) or 0:.2f} {unit}-min")
    if run.time_left_s is not None:
        parts.append(f"about {clock_text(run.time_left_s)} left")
    if run.study:
        parts += run.study.particulars
    return ", ".join(parts)


def details(run: Facts, unit: str, shown_trials: int | None = None) -> list[Table]:
    """Jobs, trials and costs of one run. `shown_trials`: at most so many, the newest (None: all)."""
    tables = []
    if run.jobs:
        tables.append(jobs_table(run.jobs, run.undone))
    if run.record is not None:
        tables += [_trials_table(run, shown_trials), _costs_table(run, unit)]
    return tables


def jobs_table(jobs: Sequence[WatchedJob], undone: Sequence[int]) -> Table:
    """Tasks of an array that are in the same state, on the same node, share a row."""
    groups: dict[tuple[Any, ...], list[WatchedJob]] = {}
    for job in jobs:
        groups.setdefault((job.id, job.state, job.reason, job.node, job.left_s), []).append(job)
    return Table(
        name="jobs",
        title="Jobs",
        columns=(
            Column(key="kind", header="kind", align="left"),
            Column(key="job", header="job"),
            Column(key="tasks", header="tasks"),
            Column(key="state", header="state", align="left"),
            Column(key="why", header="why", align="left", wraps=True),
            Column(key="node", header="node", align="left"),
            Column(key="left", header="to its limit"),
        ),
        rows=tuple(_job_row(group) for group in groups.values()),
        notes=(f"Tasks without a result: {spans(undone)}.",) if undone else (),
        identity=2,
    )


def _job_row(group: Sequence[WatchedJob]) -> tuple[Cell, ...]:
    job = group[0]
    return (
        job.kind,
        job.id,
        spans([other.task for other in group if other.task is not None]) or None,
        job.state.lower().replace("_", " "),
        job.why,
        job.node,
        None if job.left_s is None or job.pending else clock_text(job.left_s),
    )


def _trials_table(run: Facts, shown: int | None) -> Table:
    assert run.record is not None
    trials = [trial for trial in run.record.trials if trial.state != "waiting"]
    hidden = 0 if shown is None else max(0, len(trials) - shown)
    trials = trials[hidden:]
    names = list(dict.fromkeys(name for trial in trials for name in trial.config))
    incumbent = run.record.trace[-1] if run.record.trace else None
    winner = None if incumbent is None else incumbent.trial
    return Table(
        name="trials",
        title="Trials",
        columns=(
            Column(key="trial", header="trial", align="left"),
            *(Column(key=name, header=short_name(name), spec=".3g") for name in names),
            Column(key="state", header="state", align="left"),
            Column(key="epochs", header="epochs"),
            Column(key="last_loss", header="last loss", align="left"),
            *([Column(key="why", header="why", align="left", wraps=True)] if any(t.detail for t in trials) else []),
        ),
        rows=tuple(
            (
                trial_label(trial.trial).removeprefix("trial "),
                *(trial.config.get(name) for name in names),
                _state(run, trial),
                trial.epochs,
                number(trial.last_loss) + (mark(incumbent) if trial.trial == winner else ""),
                *([trial.detail] if any(t.detail for t in trials) else []),
            )
            for trial in trials
        ),
        notes=(f"{hidden} earlier ones are not shown.",) if hidden else (),
        strong=frozenset(i for i, trial in enumerate(trials) if trial.trial == winner),
    )


def _state(run: Facts, trial: Trial) -> str:
    """A trial that its journal leaves running is lost with a run that was killed."""
    return "lost" if trial.state == "running" and not run.condition.going_on else trial.state


def _costs_table(run: Facts, unit: str) -> Table:
    assert run.record is not None
    rows = [("search", run.record.costs.search), ("final retrain", run.record.costs.final)]
    return Table(
        name="costs",
        title="Costs so far" if run.condition.name != "finished" else "Costs",
        columns=(
            Column(key="purpose", header="purpose", align="left"),
            Column(key="allocated_device_min", header="allocated", unit=f"{unit}-min", spec=".2f"),
            Column(key="busy_device_min", header="busy", unit=f"{unit}-min", spec=".2f"),
            Column(key="lost_device_min", header="lost", unit=f"{unit}-min", spec=".2f"),
        ),
        rows=tuple((name, *_amounts(costs)) for name, costs in rows),
    )


def _amounts(costs: Costs) -> tuple[float | None, float, float]:
    return costs.allocated_device_min, costs.busy_device_min, costs.by_phase_device_min.get("lost", 0.0)


def plain(run: Facts, program: str, results: Path, *, full: bool = False) -> dict[str, Any]:
    """The facts as plain data; `full`: with jobs, trials and costs by purpose."""
    ended, total = _trials(run)
    trial, loss = _best(run)
    data: dict[str, Any] = {
        "run": run.name,
        "folder": str(run.folder),
        "state": run.condition.name,
        "words": run.condition.words,
        "going_on": run.condition.going_on,
        "trials_ended": ended,
        "trials": total,
        "epochs": _epochs(run),
        "incumbent": None if loss is None else {"trial": trial, "eval_loss": loss} | _values(run),
        "allocated_device_min": _allocated(run),
        "time_left_s": run.time_left_s,
        "next": command(run, program, results) or None,
    }
    if not full:
        return data
    return data | {
        "written_by": {"host": run.holder.host, "process": run.holder.process} if run.holder else None,
        "jobs": [_plain_job(job) for job in run.jobs],
        "undone_tasks": list(run.undone),
        "space_name": run.study.space_name if run.study else None,
        "deepspeed": run.study.deepspeed_name if run.study else None,
        "trials_per_device": run.study.trials_per_device if run.study else None,
        "trial_states": [
            {
                "trial": t.trial,
                "config": t.config,
                "state": _state(run, t),
                "detail": t.detail,
                "epochs": t.epochs,
                "last_loss": t.last_loss,
            }
            for t in (run.record.trials if run.record else ())
        ],
        "costs": {
            purpose: dict(zip(("allocated_device_min", "busy_device_min", "lost_device_min"), amounts, strict=True))
            for purpose, amounts in (
                (("search", _amounts(run.record.costs.search)), ("final", _amounts(run.record.costs.final)))
                if run.record
                else ()
            )
        },
    }


def _plain_job(job: WatchedJob) -> dict[str, Any]:
    return {
        "kind": job.kind,
        "id": job.id,
        "task": job.task,
        "state": job.state,
        "reason": job.reason or None,
        "why": job.why or None,
        "node": job.node,
        "left_s": job.left_s,
        "active": job.active,
    }


def _trials(run: Facts) -> tuple[int, int | None]:
    """Trials of the search that have ended, and that there may be (None: not known)."""
    ended = sum(t.ended for t in run.record.search_trials) if run.record else 0
    return ended, run.study.samples if run.study else None


def _epochs(run: Facts) -> int | None:
    return sum(len(trial.curve) for trial in run.record.trials) if run.record else None


def _best(run: Facts) -> tuple[str, float | None]:
    if run.record is None or not run.record.trace:
        return "", None
    return run.record.trace[-1].trial, run.record.trace[-1].eval_loss


def _by_metric(run: Facts) -> bool:
    """Whether its incumbent is the best by something else than the loss alone."""
    return bool(run.record and run.record.trace and run.record.trace[-1].values)


def _values(run: Facts) -> dict[str, Any]:
    return {"values": run.record.trace[-1].values} if run.record and _by_metric(run) else {}


def _allocated(run: Facts) -> float | None:
    """Of search and final retrain together; None where either is unknown, or nothing happened yet."""
    if run.record is None:
        return None
    search, final = (costs.allocated_device_min for costs in (run.record.costs.search, run.record.costs.final))
    return None if search is None or final is None else search + final
