"""A ladder's numbers, rung by rung: medians over repeats, speed-ups repeat by repeat, and whether the losses agree."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median

from bench.speed.record import EpochSpeed, Ladder, RungSpeed, TrialSpeed
from bench.speed.rungs import PUBLISHED

TOLERANCE_NATS = {"fp32": 1e-4, "bf16": 2e-2, "fp16": 2e-2}
"""By which the losses of comparable rungs may differ: rounding that grows over the steps of a trial."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The median over repeats, with the lowest and the highest."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Spread | None:
        return cls(value=median(values), low=min(values), high=max(values)) if values else None


@dataclass(frozen=True, kw_only=True)
class Row:
    """One rung. Rates and shares are of training steps alone, without the first epoch where there are several (it holds
    what happens once); `*_per_s`: samples and tokens without padding. `device_min`: of a trial, start-up apart.
    `share_declared`, `share_measured`: model FLOPs a second over the profile's peak, and over the one measured in the
    same run; `share_computed`: hardware FLOPs over the latter. `speed_up`: device-minutes of the reference rung over
    this one's, repeat by repeat; `over_published`: the same of the published rung. `difference`: the largest one of its
    evaluation losses from the reference rung's, in nats. All None where no trial says."""

    rung: RungSpeed
    state: str
    train_per_s: float | None
    eval_per_s: float | None
    tokens_per_s: float | None
    share_declared: float | None
    share_measured: float | None
    share_computed: float | None
    device_memory_mib: float | None
    host_memory_mib: float | None
    startup_s: float | None
    device_min: Spread | None
    speed_up: Spread | None
    over_published: Spread | None
    eval_losses: tuple[float, ...]
    difference: float | None


def rows(ladder: Ladder) -> list[Row]:
    base = reference(ladder.rungs)
    published = next((rung for rung in ladder.rungs if rung.name == PUBLISHED), None)
    return [_row(ladder, rung, base, published) for rung in ladder.rungs]


def reference(rungs: Iterable[RungSpeed]) -> RungSpeed | None:
    """The rung that speed-ups and losses are held against: the first comparable one with a trial that came to its end.
    None where there is none."""
    return next((rung for rung in rungs if rung.comparable and rung.completed), None)


def largest_difference(found: list[Row]) -> float | None:
    """The largest difference of any comparable rung; None where there are no two."""
    base = reference(row.rung for row in found)
    known = [row.difference for row in found if row.difference is not None and row.rung is not base]
    return max(known, default=None)


def steady(trial: TrialSpeed) -> tuple[EpochSpeed, ...]:
    """The epochs that rates are taken of: all but the first, where there are others."""
    return trial.epochs[1:] or trial.epochs


def device_min(trial: TrialSpeed) -> float:
    """A trial's device-minutes without its start-up; a trial here has one device."""
    return sum(epoch.train_s + epoch.eval_s + epoch.checkpoint_s for epoch in trial.epochs) / 60


def _row(ladder: Ladder, rung: RungSpeed, base: RungSpeed | None, published: RungSpeed | None) -> Row:
    done = rung.completed
    epochs_per_s = _median(done, lambda trial: _rate(trial, "train_s"))
    evals_per_s = _median(done, lambda trial: _rate(trial, "eval_s"))
    peak = ladder.declared_peak_tflops * 1e12
    reached = max(ladder.measured_peak_tflops, default=0.0) * 1e12
    losses = done[0].epochs if done else ()
    failed = [trial for trial in rung.trials if not trial.completed]
    return Row(
        rung=rung,
        state=failed[0].state if failed else "completed",
        train_per_s=_times(epochs_per_s, ladder.examples["train"]),
        eval_per_s=_times(evals_per_s, ladder.examples["validation"]),
        tokens_per_s=_times(epochs_per_s, rung.train_tokens),
        share_declared=_times(epochs_per_s, rung.model_flops / peak) if peak else None,
        share_measured=_times(epochs_per_s, rung.model_flops / reached) if reached else None,
        share_computed=_times(epochs_per_s, rung.hardware_flops / reached) if reached else None,
        device_memory_mib=max(
            (e.device_memory_mib for t in done for e in t.epochs if e.device_memory_mib), default=None
        ),
        host_memory_mib=max((e.host_memory_mib for t in done for e in t.epochs), default=None),
        startup_s=_median(done, lambda trial: trial.startup_s or math.nan),
        device_min=Spread.of([device_min(trial) for trial in done]),
        speed_up=_speed_up(base, rung),
        over_published=_speed_up(published, rung),
        eval_losses=tuple(epoch.eval_loss for epoch in losses),
        difference=_difference(base, rung),
    )


def _rate(trial: TrialSpeed, phase: str) -> float:
    spent_s = sum(getattr(epoch, phase) for epoch in steady(trial))
    return len(steady(trial)) / spent_s if spent_s > 0 else math.nan


def _median(trials: tuple[TrialSpeed, ...], of: Callable[[TrialSpeed], float]) -> float | None:
    values = [value for value in map(of, trials) if math.isfinite(value)]
    return median(values) if values else None


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _by_repeat(first: RungSpeed | None, second: RungSpeed) -> list[tuple[TrialSpeed, TrialSpeed]]:
    own = {trial.repeat: trial for trial in second.completed}
    return [(trial, own[trial.repeat]) for trial in (first.completed if first else ()) if trial.repeat in own]


def _speed_up(base: RungSpeed | None, rung: RungSpeed) -> Spread | None:
    pairs = _by_repeat(base, rung)
    return Spread.of([device_min(one) / device_min(own) for one, own in pairs if device_min(own)])


def _difference(base: RungSpeed | None, rung: RungSpeed) -> float | None:
    if not rung.comparable:
        return None
    return max(
        (
            abs(ours.eval_loss - theirs.eval_loss)
            for one, own in _by_repeat(base, rung)
            for theirs, ours in zip(one.epochs, own.epochs, strict=True)
        ),
        default=None,
    )
