"""The workshop's published tables as events, so that the ledger and the tables of every run serve them too."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

from bench.errors import UserError
from bench.events import (
    SCHEMA_VERSION,
    Event,
    FinalScored,
    GrantClosed,
    GrantOpened,
    Note,
    Phases,
    RunFinished,
    RunStarted,
    SearchFinished,
    TrialCreated,
    TrialSummarised,
)
from bench.record import Record, build_record
from bench.resources import resource_dir
from bench.study import Study
from bench.tomlfile import load_toml
from bench.workload import load_workload

SAME_JOB_S = 1.0
"""Two ranks of one job print runtimes that differ by less than this; two jobs of one configuration are not known to."""


@dataclass(frozen=True, kw_only=True)
class PublishedTable:
    """One table. `epochs`: of every trial (None: not said); `epochs_of_rows`: of those rows for which it is said.
    `job_wall_min`: how long the job held its devices (None: not said). `wrong`: with the ratio published for it."""

    file: str
    profile: str
    hardware: str
    wrong: tuple[str, ...]
    epochs: int | None = None
    epochs_of_rows: dict[str, int] | None = None
    job_wall_min: float | None = None
    final_eval_loss: float | None = None

    # Keys inside a table of tables reach pydantic alone: let it refuse the unknown ones.
    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}


@dataclass(frozen=True, kw_only=True)
class Published:
    """What is said beside the tables, and of which workload they are."""

    source: str
    workload: str
    recipe: str
    epochs: int
    final_epochs: int
    devices_per_trial: int
    limits: tuple[str, ...]
    tables: dict[str, PublishedTable]


@dataclass(frozen=True, kw_only=True)
class PublishedRow:
    """One row of a table: `number` as printed there, loss in nats a labelled token (None: not finite)."""

    number: int
    config: dict[str, float | int]
    eval_loss: float | None
    runtime_s: float

    def repeats(self, other: PublishedRow) -> bool:
        """Whether both were printed by one job: same configuration, same loss to the last digit, same time within
        `SAME_JOB_S`."""
        return (
            self.config == other.config
            and self.eval_loss == other.eval_loss
            and abs(self.runtime_s - other.runtime_s) < SAME_JOB_S
        )


def published_dir() -> Path:
    return resource_dir("results/published")


@cache
def load_published() -> Published:
    """What stands in `published.toml`."""
    return load_toml(published_dir() / "published.toml", Published)


def read_rows(path: Path) -> list[PublishedRow]:
    """The rows of one table, repeats included. Raises UserError that names file and line."""
    rows: list[PublishedRow] = []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for line, row in enumerate(csv.DictReader(file), 2):
                try:
                    rows.append(_row(row))
                except (KeyError, TypeError, ValueError) as error:
                    raise UserError(f"{path}, line {line}: not a row of a published table ({error}).") from None
    except OSError as error:
        raise UserError(f"Cannot read {path} ({error.strerror}): restore results/published.") from None
    return rows


def _row(row: dict[str, str]) -> PublishedRow:
    loss = float(row["eval_loss"])
    return PublishedRow(
        number=int(row["row"]),
        config={
            "learning_rate": float(row["lr"]),
            "batch_size": int(row["per_device_bs"]),
            "weight_decay": float(row["wd"]),
        },
        eval_loss=loss if math.isfinite(loss) else None,
        runtime_s=float(row["runtime_s"]),
    )


def without_repeats(rows: list[PublishedRow]) -> tuple[list[PublishedRow], list[PublishedRow]]:
    """The distinct rows, each as first printed, and the repeats."""
    kept: list[PublishedRow] = []
    repeats: list[PublishedRow] = []
    for row in rows:
        (repeats if any(row.repeats(k) for k in kept) else kept).append(row)
    return kept, repeats


def published_events(strategy: str) -> list[Event]:
    """One table as the events of a run that is over. Nothing is known of when its trials ran: a serial job's are laid
    one after the other, all others at time 0; grants exist only where the job's wall time was published.

    Raises KeyError for a strategy without a table.
    """
    about = load_published()
    table = about.tables[strategy]
    rows, repeats = without_repeats(read_rows(published_dir() / table.file))
    study = _study(strategy, len(rows))
    started = RunStarted(
        at_s=0.0,
        schema_version=SCHEMA_VERSION,
        run_id=f"published-{strategy}",
        study=study.to_dict(),
        provenance={"source": about.source, "file": table.file, "hardware": table.hardware},
    )
    events: list[Event] = [started]
    if table.job_wall_min is not None:
        events.append(GrantOpened(at_s=0.0, grant="job", devices=about.devices_per_trial, purpose="search"))
    now = 0.0
    for row in rows:
        name = f"{row.number:02d}"
        events.append(TrialCreated(at_s=now, trial=name, config=dict(row.config)))
        now += row.runtime_s if table.job_wall_min is not None else 0.0
        events.append(
            TrialSummarised(
                at_s=now,
                trial=name,
                eval_loss=row.eval_loss,
                runtime_s=row.runtime_s,
                devices=about.devices_per_trial,
                epochs=(table.epochs_of_rows or {}).get(str(row.number), table.epochs),
            )
        )
    if table.job_wall_min is not None:
        now = table.job_wall_min * 60
        events.append(GrantClosed(at_s=now, grant="job"))
    if repeats:
        numbers = ", ".join(str(r.number) for r in repeats)
        message = f"Rows {numbers} of {table.file} repeat an earlier row (printed by the job's second rank): left out."
        events.append(Note(at_s=now, level="info", message=message))
    return events + _ending(now, table, build_record(events))


def _ending(now: float, table: PublishedTable, so_far: Record) -> list[Event]:
    events: list[Event] = [SearchFinished(at_s=now, winner=so_far.winner.trial if so_far.winner else None)]
    if table.final_eval_loss is not None:
        events.append(
            FinalScored(
                at_s=now,
                test_loss=table.final_eval_loss,
                exact_match=None,
                f1=None,
                examples=100,
                phases=Phases(),
            )
        )
    return [*events, RunFinished(at_s=now)]


def _study(strategy: str, samples: int) -> Study:
    about = load_published()
    return Study(
        workload=about.workload,
        recipe=about.recipe,
        strategy=strategy,
        settings={},
        space=load_workload(about.workload).search_space,
        profile=about.tables[strategy].profile,
        engine="serial" if strategy == "manual" else "ray",
        seed=0,
        samples=samples,
        epochs=about.epochs,
        final_epochs=about.final_epochs,
        devices=about.devices_per_trial,
        devices_per_trial=about.devices_per_trial,
    )


def published_records() -> dict[str, Record]:
    """Strategy to record, manual first."""
    return {strategy: build_record(published_events(strategy)) for strategy in load_published().tables}
