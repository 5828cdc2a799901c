"""Recorded repeats, defects planted into them, and journals of runs with noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.events import Event
from bench.journal import JOURNAL_NAME, encode
from bench.regress.metrics import RunMetrics
from bench.regress.reference import Reference, load_reference
from tests.builders import Run, journal, study

DATA = Path(__file__).parent / "data"
REFERENCES = Path(__file__).parents[2] / "results" / "reference"
MEASURED = REFERENCES / "measured-tiny-squad-asha.json"
PROBE = {"gpus": [], "cpu_model": "a processor", "cpus": 2}


def recorded() -> Reference:
    """The twenty repeats of the reference."""
    return load_reference(MEASURED)


def later(name: str = "repeats") -> tuple[RunMetrics, ...]:
    """Twenty repeats made after those; or five runs of a version with a defect."""
    return load_reference(DATA / f"{name}.json").runs


def dearer(run: RunMetrics, factor: float) -> RunMetrics:
    costs = ("allocated_device_min", "busy_device_min", "startup_device_min")
    return replace(run, **{name: getattr(run, name) * factor for name in costs})


def worse(run: RunMetrics, factor: float = 1.01) -> RunMetrics:
    """All losses so many times as high."""
    trials = tuple(replace(t, losses=tuple(None if v is None else v * factor for v in t.losses)) for t in run.trials)
    return replace(run, eval_loss=None if run.eval_loss is None else run.eval_loss * factor, trials=trials)


def doubled_startup(run: RunMetrics) -> RunMetrics:
    """Start-up is busy and allocated time too."""
    more = run.startup_device_min
    return replace(
        run,
        startup_device_min=2 * more,
        busy_device_min=run.busy_device_min + more,
        allocated_device_min=run.allocated_device_min + more,
    )


def smoothed(
    rng: np.random.Generator, count: int, runs: Sequence[RunMetrics], bandwidth: float = 0.02
) -> list[RunMetrics]:
    """Runs drawn from a model of the recorded noise: a recorded run, its costs together times exp(normal noise)."""
    picked = [runs[i] for i in rng.integers(len(runs), size=count)]
    return [
        replace(dearer(run, math.exp(bandwidth * float(rng.standard_normal()))), journal_sha256=f"{rng.random()}")
        for run in picked
    ]


def noisy_journal(rng: np.random.Generator, noise: float = 0.01, cost: float = 1.0, **of: Any) -> list[Event]:
    """A run on two cores of which every duration is exp(normal noise) times its own. Losses do not vary."""
    speed = math.exp(noise * float(rng.standard_normal())) * cost
    fields: dict[str, Any] = {"strategy": "asha", "profile": "cpu", "workload": "tiny-squad", "samples": 4, "seed": 0}
    runs = (
        Run(losses=(2.0, 1.5), lr=1e-5, weight_decay=0.01),
        Run(losses=(2.2,), lr=2e-5, state="stopped"),
        Run(losses=(1.9, 1.2), lr=4e-5, weight_decay=0.01),
        Run(losses=(2.1,), lr=8e-5, state="stopped"),
    )
    return journal(
        runs,
        study(**(fields | of)),
        speed=speed,
        idle_s=speed,
        start_s=float(rng.integers(1, 10**6)),
        final_loss=None,
        provenance_changes={"probe": PROBE},
    )


def write_run(folder: Path, events: Sequence[Event]) -> Path:
    folder.mkdir(parents=True)
    (folder / JOURNAL_NAME).write_text("".join(encode(e) + "\n" for e in events))
    return folder
