"""What the gate compares of one run."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from bench.events import Event
from bench.journal import encode
from bench.record import Record
from bench.trials import Config, RunState, Trial

DIGITS = 12
"""Significant digits that are kept: sums of floats differ in the last ones between versions of Python."""

METRICS = (
    "eval_loss",
    "allocated_device_min",
    "busy_device_min",
    "startup_device_min",
    "epochs_trained",
    "trial_losses",
)
"""All that is compared; lower is better in each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialLosses:
    """A trial's first configuration and its loss after each epoch (None: not finite)."""

    number: int
    config: Config
    losses: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunMetrics:
    """One run. `eval_loss`: the winner's in nats (None: no trial got to full fidelity). Costs are of the search.
    `journal_sha256`: of a measured run's journal; of a virtual one, of its lines after the first, which names the
    versions of packages."""

    seed: int
    eval_loss: float | None
    allocated_device_min: float
    busy_device_min: float
    startup_device_min: float
    trials: tuple[TrialLosses, ...]
    journal_sha256: str

    @property
    def epochs_trained(self) -> int:
        """By all trials of the search: what it bought, on however busy a machine."""
        return sum(len(trial.losses) for trial in self.trials)

    def value(self, metric: str) -> float:
        """One of the run's own metrics, all but `trial_losses`; infinite where there is no winner."""
        value: float | None = getattr(self, metric)
        return math.inf if value is None else value


def metrics_of(run: RunState | Record, seed: int, digest: str) -> RunMetrics:
    """The metrics of a folded run or of a record. Raises ValueError where its allocated device-minutes are unknown."""
    if isinstance(run, Record):
        costs, loss = run.costs.search, None if run.winner is None else run.winner.eval_loss
    else:
        costs, loss = run.ledger.costs("search"), None if run.incumbent is None else run.incumbent.eval_loss
    if costs.allocated_device_min is None:
        raise ValueError("its allocated device-minutes are unknown")
    return RunMetrics(
        seed=seed,
        eval_loss=None if loss is None else kept(loss),
        allocated_device_min=kept(costs.allocated_device_min),
        busy_device_min=kept(costs.busy_device_min),
        startup_device_min=kept(costs.by_phase_device_min["startup"]),
        trials=tuple(_losses(t) for t in run.trials if t.purpose == "search"),
        journal_sha256=digest,
    )


def _losses(trial: Trial) -> TrialLosses:
    config = trial.history[0].previous if trial.history else trial.config
    return TrialLosses(
        number=trial.number,
        config={name: kept(v) if isinstance(v, float) else v for name, v in sorted(config.items())},
        losses=tuple(None if p.eval_loss is None else kept(p.eval_loss) for p in trial.curve),
    )


def kept(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def events_sha256(events: Iterable[Event]) -> str:
    """Digest of a journal's lines after the first."""
    digest = hashlib.sha256()
    for number, event in enumerate(events):
        if number:
            digest.update(encode(event).encode() + b"\n")
    return digest.hexdigest()


def typical(runs: Sequence[RunMetrics]) -> tuple[TrialLosses, ...]:
    """The trials that the runs (of one seed) have in common most often: of each number the first configuration met,
    and after each epoch the median loss of the runs that got so far with it."""
    found = []
    for number in sorted({t.number for run in runs for t in run.trials}):
        same = [t for run in runs for t in run.trials if t.number == number]
        same = [t for t in same if t.config == same[0].config]
        longest = max(len(t.losses) for t in same)
        losses = [median([_or_inf(t.losses[epoch]) for t in same if epoch < len(t.losses)]) for epoch in range(longest)]
        found.append(
            TrialLosses(
                number=number,
                config=same[0].config,
                losses=tuple(loss if math.isfinite(loss) else None for loss in losses),
            )
        )
    return tuple(found)


def distance(run: RunMetrics, trials: Sequence[TrialLosses]) -> float | None:
    """How far a run's trials are from the reference's: the mean |ln(loss / reference)| over all epochs that a trial of
    the same number and the same first configuration has in both. Infinite where a loss is finite in one of both alone;
    None where no trial can be compared."""
    theirs = {t.number: t for t in trials}
    gaps = [
        gap(mine, other)
        for t in run.trials
        if t.number in theirs and theirs[t.number].config == t.config
        for mine, other in zip(t.losses, theirs[t.number].losses, strict=False)
    ]
    return fmean(gaps) if gaps else None


def gap(mine: float | None, other: float | None) -> float:
    """|ln(mine / other)|; losses that are not positive are compared by their difference."""
    if mine is None or other is None:
        return 0.0 if mine == other else math.inf
    return abs(math.log(mine / other)) if mine > 0 and other > 0 else abs(mine - other)


def machine_of(provenance: Mapping[str, Any]) -> dict[str, Any] | None:
    """What device-minutes hold for: names of the GPUs, and the processor with its cores where there are none. None
    where the record does not say."""
    probe = provenance.get("probe")
    if not isinstance(probe, dict):
        return None
    gpus = sorted(str(gpu.get("name")) for gpu in probe.get("gpus") or () if isinstance(gpu, dict))
    if gpus:
        return {"gpus": gpus}
    return {"gpus": [], "cpu_model": str(probe.get("cpu_model")), "cpus": probe.get("cpus")}


def _or_inf(value: float | None) -> float:
    return math.inf if value is None else value
