"""A whole measurement on this machine: prepared, made row by row, and kept after each."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.files import new_folder
from bench.probe import Probe, probe_machine
from bench.progress import clock_text, counter
from bench.provenance import collect
from bench.stages.measure import build_extensions, inputs_of, measure
from bench.stages.result import FILE_NAME, FOLDER, SCHEMA_VERSION, Inputs, Row, Stages, StagesStudy, save
from bench.stages.setup import chosen, configuration, training_task
from bench.training import TrainingTask

Say = Callable[[str], None]


def measure_here(
    study: StagesStudy, results: Path, *, say: Say, task: TrainingTask | None = None
) -> tuple[Stages, Path, bool]:
    """What was found, where it is kept, and whether all of it was measured (else it was interrupted). `task`: in place
    of the study's own. Raises UserError where nothing can be measured at all; nothing is kept then."""
    task = task or training_task(study, results)
    rows = chosen(study.only)
    say("Reading model and data (some seconds) ...")
    inputs = inputs_of(task)
    if any(row.deepspeed for row in rows):
        say("Compiling DeepSpeed's extensions where that was not done before (up to a minute) ...")
        build_extensions(task)
    with new_folder(None, results / FOLDER, study.name()) as folder:
        found = begin(study, inputs, probe_machine(deep=True))
        try:
            with (
                counter("stages measured") as on_done,
                TemporaryDirectory(prefix=".training-", dir=folder) as work,
            ):
                on_done(0, len(rows))
                for number, sharding in enumerate(rows, 1):
                    say(begins(sharding.name, number, len(rows)))
                    for row in measure(task, configuration(study), inputs, [sharding], folder=Path(work) / "row"):
                        found = replace(found, rows=(*found.rows, row))
                        save(found, folder / FILE_NAME)
                        say(told(row))
                        on_done(len(found.rows), len(rows))
        except KeyboardInterrupt:
            if not found.rows:
                raise
    return found, folder, len(found.rows) == len(rows)


def begin(study: StagesStudy, inputs: Inputs, probe: Probe) -> Stages:
    """A measurement without rows yet."""
    return Stages(
        schema_version=SCHEMA_VERSION,
        study=study,
        inputs=inputs,
        provenance=json.loads(json.dumps(collect() | {"probe": probe.to_dict()})),  # as it is read back
        rows=(),
    )


def begins(name: str, number: int, of: int) -> str:
    """A row in a line, as it is begun."""
    return f"Training {name} ({number} of {of}) ..."


def told(row: Row) -> str:
    """A row in a line, as it is done."""
    if not row.completed:
        return f"{row.name}: {row.state} after {clock_text(row.wall_s)}: {row.detail}"
    last = row.epochs[-1]
    return (
        f"{row.name}: eval loss {last.eval_loss:.4f}, {last.train_samples_per_s:.1f} samples/s, "
        f"{clock_text(row.wall_s)} in all"
    )
