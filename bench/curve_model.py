"""A continuous model of recorded learning curves, from which a simulation draws trials; see docs/curves.md.

Between two recorded learning rates ln(loss) is linear in ln(learning rate); all other hyperparameters must have a
recorded value. A monotone cubic (scipy's PCHIP) was tried beside it, leaving out learning rates of `tiny-squad`. In the
last epoch the median error was 0.0150 nats with it and 0.0155 with lines, the 90 % quantile 0.069 and 0.067, the rank
correlation 0.78 and 0.81; over all epochs the mean error was 0.027 and 0.029. The lines stay: as good where it counts,
and they cannot leave the range of their ends.
"""

from __future__ import annotations

import hashlib
import math
import struct
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.curves import Curve, CurveSet, ModelError
from bench.errors import UserError
from bench.hyperparameters import Value, shown
from bench.space import LogUniform

DECIMALS = 6
TIE_DIGITS = 6
"""So many more decimals are the trial's own: two trials that round to the same number still differ."""
LEAST_SPREAD = 1e-4
"""Relative noise of seconds at least: where times tie exactly, chance decides which trial a scheduler sees first."""
LOG_LEAST_SHARE = math.log(0.5)
"""No drawn time is less than this share of the median."""
SPREAD_OF_MEDIAN = 1.4826
"""The standard deviation of a normal distribution over its median absolute deviation."""
SAME_RATE = 1e-9
"""A learning rate that is outside the recorded range by less than this share of it lies on its end."""
PHASES = ("train_s", "eval_s", "checkpoint_s")

Array = NDArray[np.float64]
_quantile = NormalDist().inv_cdf


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawnCurve:
    """One trial's future in one configuration. Index 0 is the first epoch; losses are None from where they are not
    finite. Seconds are zeros where the set holds none, `samples_per_s` None."""

    losses: tuple[float | None, ...]
    train_s: tuple[float, ...]
    eval_s: tuple[float, ...]
    checkpoint_s: tuple[float, ...]
    samples_per_s: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Group:
    """The recorded learning rates at one value of all else, ascending: `x` their logarithms. `levels[i]`: ln(loss) and
    below it what the seeds have in common, `own[i]` what they have not, each (seeds, epochs). `diverged[i]`: finite
    epochs of each trial there that diverged, and their share."""

    rates: list[float]
    x: list[float]
    levels: Array
    own: Array
    diverged: list[tuple[tuple[int, ...], float]]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Times:
    """Seconds of one batch size: logarithms of the medians (phases, epochs), standard deviations of their logarithms
    by trial (one a phase) and, for training, by epoch; logarithm of an epoch's examples (0: not recorded)."""

    medians: Array
    by_trial: Array
    by_epoch: float
    log_samples: float


class CurveModel:
    """Trials drawn from a set. `rate`: the name of the hyperparameter between whose recorded values it interpolates.
    `common_share`: correlation of the noise of two trials under one seed, as recorded.

    Raises UserError where the set has no learning rate to interpolate in, or no curves that ended in order.
    """

    def __init__(self, curve_set: CurveSet) -> None:
        self.curve_set = curve_set
        self._names = curve_set.space.names
        continuous = [d.name for d in curve_set.space.dimensions if isinstance(d, LogUniform)]
        if len(continuous) != 1:
            raise UserError(
                f"Curve set {curve_set.name} varies {len(continuous)} hyperparameters continuously; simulate on one "
                "that varies the learning rate alone."
            )
        self.rate = continuous[0]
        self._others = tuple(n for n in self._names if n != self.rate)
        told = [c for c in curve_set.curves if c.failure in (None, "nan")]
        if not told:
            raise UserError(f"Curve set {curve_set.name} holds no trial that ended in order: record it again.")
        self._batch = "batch_size" if "batch_size" in self._others else None
        self._times = {size: _times(curve_set, curves) for size, curves in _by(told, self._size_of).items()}
        self._seeds = max(len(curve_set.seeds), 1)
        noise, self.common_share = _noise(curve_set, told)
        self._groups = {
            key: _group(curve_set, self.rate, curves, noise) for key, curves in _by(told, self._key_of).items()
        }
        self._never = (None,) * curve_set.epochs
        self._uniforms = 3 + self._seeds + len(PHASES) + curve_set.epochs

    def draw(self, config: Mapping[str, Value], *, seed: int, trial: str) -> DrawnCurve:
        """One trial: what it has in common with other trials of a run comes from `seed`, the rest from both. The same
        on every machine. Raises UserError outside of what was recorded."""
        group, i, weight = self._place(config)
        first, second, third, *others = _uniforms(f"trial {seed} {trial}", self._uniforms)
        z = np.array([_quantile(u) for u in others])
        seeds, epochs = self._seeds, self.curve_set.epochs
        # The noise of one of both neighbours, the nearer one more often: a mean of both would vary less than either.
        nearer = i + (first < weight)
        times = self._times[self._size_of(config)]
        shares = (times.by_trial * z[seeds : seeds + len(PHASES)])[:, None].repeat(epochs, axis=1)
        shares[0] += times.by_epoch * z[seeds + len(PHASES) :]
        logs = np.empty((2 + len(PHASES), epochs))
        logs[0] = _common(seed, seeds) @ _between(group.levels, i, weight) + z[:seeds] @ group.own[nearer]
        np.maximum(shares, LOG_LEAST_SHARE, out=shares)
        np.add(times.medians, shares, out=logs[1:-1])
        np.subtract(times.log_samples, logs[1], out=logs[-1])
        digits = int(third * 10**TIE_DIGITS) * 10.0 ** -(DECIMALS + TIE_DIGITS)
        losses, *seconds, rates = np.exp(logs, out=logs).round(DECIMALS).tolist()
        counts, share = group.diverged[nearer]
        finite = counts[int(second / share * len(counts))] if second < share else epochs
        train_s, eval_s, checkpoint_s = (tuple([v + digits if v else 0.0 for v in row]) for row in seconds)
        return DrawnCurve(
            losses=(*[v + digits for v in losses[:finite]], *self._never[finite:]),
            train_s=train_s,
            eval_s=eval_s,
            checkpoint_s=checkpoint_s,
            samples_per_s=tuple(rates) if times.log_samples else self._never,
        )

    def mean_losses(self, config: Mapping[str, Value]) -> tuple[float | None, ...]:
        """Without noise: at a recorded configuration the geometric mean over its seeds. None from the median epoch of
        divergence where at least half of the trials diverge. Raises UserError as `draw` does."""
        group, i, weight = self._place(config)
        losses = np.exp(_between(group.levels, i, weight)[0]).round(DECIMALS).tolist()
        finite = len(losses)
        ends = [(i, 1 - weight), (i + 1, weight)] if weight else [(i, 1.0)]
        if sum(w * group.diverged[k][1] for k, w in ends) >= 0.5:
            counts = sorted(count for k, _ in ends for count in group.diverged[k][0])
            finite = counts[len(counts) // 2]
        return (*losses[:finite], *[None] * (len(losses) - finite))

    def seconds(self, config: Mapping[str, Value]) -> float:
        """Of a trial over all epochs, without noise and without its start-up. Raises UserError as `draw` does."""
        self._place(config)
        return float(np.exp(self._times[self._size_of(config)].medians).sum())

    @property
    def noise_log_loss(self) -> float:
        """Standard deviation of ln(loss) in the last epoch between trials of one configuration: the recorded
        configurations' median."""
        patterns = [np.hstack([group.levels[:, 1:, -1], group.own[:, :, -1]]) for group in self._groups.values()]
        return float(np.median(np.sqrt((np.vstack(patterns) ** 2).sum(axis=1))))

    def outside(self, config: Mapping[str, Value]) -> str | None:
        """Why a configuration lies outside of what was recorded, in one sentence; None: it does not."""
        name = self.curve_set.name
        for key in config:
            if key not in self._names:
                return (
                    f"{key} was not varied in curve set {name}, which knows {', '.join(self._names)}: leave it out of "
                    "the space, or search for real."
                )
        for key in self._names:
            if key not in config:
                return f"The configuration has no {key}, which curve set {name} needs: add it."
        if isinstance(config[self.rate], str):
            return f"{self.rate} is {config[self.rate]!r}, which is no number: give one."
        group = self._groups.get(self._key_of(config))
        if group is None:
            for key in self._others:
                known = sorted({dict(zip(self._others, k, strict=True))[key] for k in self._groups})
                if config[key] not in known:
                    values = ", ".join(shown(v, "g") for v in known)
                    told = shown(config[key], "g")
                    return f"{key} {told} was not recorded in curve set {name}: choose one of {values}."
            asked = ", ".join(f"{key} {shown(config[key], 'g')}" for key in self._others)
            return f"{asked} were not recorded together in curve set {name}: choose another combination."
        rate, (low, *_, high) = float(config[self.rate]), (group.rates[0], group.rates[-1])
        if not low * (1 - SAME_RATE) <= rate <= high * (1 + SAME_RATE):
            return (
                f"{self.rate} {rate:g} is outside of what curve set {name} holds: choose one from {low:g} to {high:g}."
            )
        return None

    def _place(self, config: Mapping[str, Value]) -> tuple[_Group, int, float]:
        """The group, the recorded learning rate at or below, and the weight of the one above."""
        reason = self.outside(config)
        if reason is not None:
            raise UserError(reason)
        group = self._groups[self._key_of(config)]
        x = min(max(math.log(float(config[self.rate])), group.x[0]), group.x[-1])
        i = bisect_right(group.x, x) - 1
        if x == group.x[i]:
            return group, i, 0.0
        return group, i, (x - group.x[i]) / (group.x[i + 1] - group.x[i])

    def _key_of(self, config: Mapping[str, Value]) -> tuple[Value, ...]:
        return tuple(config[name] for name in self._others)

    def _size_of(self, config: Mapping[str, Value]) -> Value:
        return config[self._batch] if self._batch else 0


def leave_one_out(curve_set: CurveSet) -> ModelError:
    """Leaves out one inner learning rate at a time, all its seeds, and compares its mean curve and its trials' seconds
    with what the others predict. A configuration that diverges, recorded or predicted, has no loss to compare.

    Raises ValueError where no learning rate lies between two others.
    """
    from scipy.stats import spearmanr

    whole = CurveModel(curve_set)
    rate = whole.rate
    losses: list[tuple[float, float]] = []
    seconds: list[float] = []
    for left_out in sorted({c.config[rate] for c in curve_set.curves})[1:-1]:
        held = [c for c in curve_set.curves if c.config[rate] == left_out and c.failure in (None, "nan")]
        rest = CurveModel(replace(curve_set, curves=tuple(c for c in curve_set.curves if c.config[rate] != left_out)))
        for curves in _by(held, whole._key_of).values():
            config = curves[0].config
            if rest.outside(config) is not None:
                continue
            recorded, predicted = whole.mean_losses(config)[-1], rest.mean_losses(config)[-1]
            if recorded is not None and predicted is not None:
                losses.append((recorded, predicted))
            expected = rest.seconds(config)
            totals = [sum(e.train_s + e.eval_s + e.checkpoint_s for e in c.epochs) for c in curves if c.failure is None]
            seconds += [abs(expected / total - 1) for total in totals if total > 0]
    if not losses:
        raise ValueError("no learning rate lies between two others: record three or more")
    errors = [abs(a - b) for a, b in losses]
    rank = spearmanr(*zip(*losses, strict=True)).statistic if len(losses) > 2 else math.nan
    return ModelError(
        loss_median=round(float(np.median(errors)), DECIMALS),
        loss_q90=round(float(np.quantile(errors, 0.9)), DECIMALS),
        loss_rank_correlation=round(float(rank), DECIMALS) if math.isfinite(rank) else 0.0,
        seconds_median_relative=round(float(np.median(seconds)), DECIMALS) if seconds else 0.0,
        points=len(losses),
    )


def _by(curves: Iterable[Curve], key: Any) -> dict[Any, list[Curve]]:
    found: dict[Any, list[Curve]] = defaultdict(list)
    for curve in curves:
        found[key(curve.config)].append(curve)
    return found


def _logs(curve: Curve, epochs: int) -> list[float]:
    """ln(loss) of each epoch up to the first that is not finite, NaN from there."""
    found = [math.nan] * epochs
    for i, e in enumerate(curve.epochs[:epochs]):
        if e.eval_loss is None or e.eval_loss <= 0:
            break
        found[i] = math.log(e.eval_loss)
    return found


def _noise(curve_set: CurveSet, curves: Sequence[Curve]) -> tuple[dict[tuple[Any, ...], tuple[Array, Array]], float]:
    """What the seeds of each configuration show, in ln(loss): patterns (seeds, epochs) that a draw multiplies with one
    standard normal number a seed and adds up. First what the seeds have in common over the configurations, for numbers
    of the run, then the rest, for numbers of the trial; at each epoch the squares of both sum to the variance between
    the configuration's seeds. Beside it the share of the first: the intraclass correlation of the deviations, each
    configuration's scaled to variance 1, so the correlation of two trials of a run.
    """
    seeds, epochs = curve_set.seeds, curve_set.epochs
    deviations: dict[tuple[Any, ...], Array] = {}
    for key, group in _by(curves, lambda config: tuple(config.values())).items():
        logs = {c.seed: _logs(c, epochs) for c in group if c.seed in seeds}
        complete = {seed: row for seed, row in logs.items() if not math.isnan(row[-1])}
        if len(complete) > 1:
            rows = np.zeros((len(seeds), epochs))
            present = [seeds.index(seed) for seed in complete]
            values = np.array(list(complete.values()))
            rows[present] = (values - values.mean(axis=0)) / math.sqrt(len(complete) - 1)
            deviations[key] = rows
    if curve_set.noise_log_loss is not None or not deviations:
        first = np.zeros((max(len(seeds), 1), epochs))
        rest = first.copy()
        rest[0] = curve_set.noise_log_loss or 0.0
        return {tuple(c.config.values()): (first, rest) for c in curves}, 0.0
    spreads = {key: _norm(rows) for key, rows in deviations.items()}
    units = {key: _unit(rows) for key, rows in deviations.items()}
    count = len(units)
    shared = np.mean(list(units.values()), axis=0)
    varied = np.any(list(spreads.values()), axis=0)
    excess = count * _norm(shared)[varied] ** 2 - 1
    share = max(0.0, float(excess.mean()) / (count - 1)) if count > 1 and varied.any() else 0.0
    shared = math.sqrt(share) * _unit(shared)
    patterns = {key: (spreads[key] * shared, spreads[key] * math.sqrt(1 - share) * unit) for key, unit in units.items()}
    return patterns, share


def _norm(rows: Array) -> Array:
    return np.asarray(np.sqrt((rows**2).sum(axis=0)))


def _unit(rows: Array) -> Array:
    norm = _norm(rows)
    return np.asarray(rows / np.where(norm > 0, norm, 1.0))


def _group(
    curve_set: CurveSet, rate: str, curves: Sequence[Curve], noise: Mapping[tuple[Any, ...], tuple[Array, Array]]
) -> _Group:
    epochs, seeds = curve_set.epochs, max(len(curve_set.seeds), 1)
    by_rate = dict(sorted(_by(curves, lambda config: float(config[rate])).items()))
    x = [math.log(value) for value in by_rate]
    levels = np.full((len(x), 1 + seeds, epochs), math.nan)
    own = np.full((len(x), seeds, epochs), math.nan)
    diverged = []
    for i, group in enumerate(by_rate.values()):
        rows = np.array([_logs(c, epochs) for c in group])
        finite = np.isfinite(rows)
        told = finite.any(axis=0)
        levels[i, 0, told] = np.where(finite, rows, 0.0).sum(axis=0)[told] / finite.sum(axis=0)[told]
        key = tuple(group[0].config.values())
        if key in noise:
            levels[i, 1:], own[i] = noise[key]
        counts = tuple(sorted(int(n) for n in finite.sum(axis=1) if n < epochs))
        diverged.append((counts, len(counts) / len(group)))
    return _Group(rates=list(by_rate), x=x, levels=_filled(x, levels), own=_filled(x, own), diverged=diverged)


def _filled(x: Sequence[float], rows: Array) -> Array:
    """NaN replaced by what the other learning rates say, nought where none says anything."""
    flat = rows.reshape(len(x), -1)
    for column in flat.T:
        known = np.isfinite(column)
        if not known.all():
            column[~known] = np.interp(np.array(x)[~known], np.array(x)[known], column[known]) if known.any() else 0.0
    return rows


def _times(curve_set: CurveSet, curves: Sequence[Curve]) -> _Times:
    rows = np.full((len(curves), len(PHASES), curve_set.epochs), math.nan)
    for i, curve in enumerate(curves):
        for e in curve.epochs[: curve_set.epochs]:
            rows[i, :, e.epoch - 1] = (e.train_s, e.eval_s, e.checkpoint_s)
    samples = [e.samples_per_s * e.train_s for c in curves for e in c.epochs if e.samples_per_s is not None]
    with np.errstate(divide="ignore", invalid="ignore"):
        medians = np.log(_medians(rows))
        ratios = np.log(rows) - medians
    ratios[~np.isfinite(ratios)] = math.nan
    by_trial = [_spread(_row_medians(ratios[:, p])) for p in range(len(PHASES))]
    by_epoch = _spread(ratios[:, 0] - _row_medians(ratios[:, 0])[:, None])
    if curve_set.kind == "fitted" and curve_set.error is not None:
        by_trial[0] = max(by_trial[0], SPREAD_OF_MEDIAN * curve_set.error.seconds_median_relative)
    return _Times(
        medians=medians,
        by_trial=np.array(by_trial),
        by_epoch=by_epoch,
        log_samples=math.log(np.median(samples)) if samples else 0.0,
    )


def _medians(rows: Array) -> Array:
    """Over trials; of an epoch that none reached, those of the epoch before it (nought before the first)."""
    found = np.zeros(rows.shape[1:])
    for e in range(rows.shape[2]):
        reached = rows[np.isfinite(rows[:, 0, e]), :, e]
        found[:, e] = np.median(reached, axis=0) if len(reached) else found[:, e - 1]
    return found


def _row_medians(rows: Array) -> Array:
    return np.array([np.median(row[np.isfinite(row)]) if np.isfinite(row).any() else math.nan for row in rows])


def _spread(values: Array) -> float:
    """Standard deviation from the median absolute deviation: a few disturbed recordings do not move it."""
    known = values[np.isfinite(values)]
    robust = SPREAD_OF_MEDIAN * float(np.median(np.abs(known - np.median(known)))) if known.size else 0.0
    return max(robust, LEAST_SPREAD)


def _between(rows: Array, i: int, weight: float) -> Array:
    return np.asarray(rows[i] + weight * (rows[i + 1] - rows[i])) if weight else rows[i]


@lru_cache(maxsize=256)
def _common(seed: int, seeds: int) -> Array:
    """Weights of a run for `_Group.levels`: 1 for the mean, a standard normal number for each recorded seed."""
    return np.array([1.0, *(_quantile(u) for u in _uniforms(f"run {seed}", seeds))])


def _uniforms(name: str, count: int) -> list[float]:
    """Numbers between 0 and 1, neither included, from a name: the same on every machine, in any order of calls."""
    words = struct.unpack(f"<{count}Q", hashlib.shake_128(name.encode()).digest(8 * count))
    return [((word >> 12) + 0.5) * 2.0**-52 for word in words]
