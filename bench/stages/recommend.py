"""Which way to hold the model's state, and why: from measured rows alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench.stages.result import Row
from bench.zero import PLAIN

NOISE = 0.03
"""Speeds that differ by less are taken for equal, and by the spread of a row's own epochs where that is more."""
LESS_MEMORY = 0.9
"""A row that is worth naming for its memory takes no more than so much of the recommended one's."""


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """`row`: None where none can be recommended. `reasons`: sentences."""

    row: str | None
    reasons: tuple[str, ...]


def train_speed(row: Row) -> float | None:
    """Training samples a second: the median over epochs; None without any."""
    return median(epoch.train_samples_per_s for epoch in row.epochs) if row.epochs else None


def eval_speed(row: Row) -> float | None:
    """The same of the evaluation."""
    return median(epoch.eval_samples_per_s for epoch in row.epochs) if row.epochs else None


def noise(row: Row) -> float:
    """Half of the spread of the epochs' speeds over their median; of all but the first, which also warms up."""
    speeds = [epoch.train_samples_per_s for epoch in row.epochs[1:]]
    return (max(speeds) - min(speeds)) / 2 / median(speeds) if len(speeds) > 1 else 0.0


def recommend(rows: Sequence[Row], *, outside: Sequence[str] = ()) -> Recommendation:
    """The fastest that fits, and of those that are as fast the simplest. `rows`: from the simplest on. `outside`:
    those that trained to other losses, which are not recommended."""
    fit = [row for row in rows if row.completed and row.name not in outside]
    full = [row.name for row in rows if row.state == "oom"]
    if not fit:
        remedy = "give more --trial-devices or a smaller --batch-size" if full else "see above why each of them ended"
        return Recommendation(row=None, reasons=(f"None of the rows can be recommended: {remedy}.",))
    speeds = {row.name: train_speed(row) or 0.0 for row in fit}
    fastest = max(fit, key=lambda row: speeds[row.name])
    within = max(NOISE, noise(fastest))
    chosen = next(row for row in fit if speeds[row.name] >= speeds[fastest.name] * (1 - max(within, noise(row))))
    reasons = [_fits(chosen, full)]
    if chosen is not fastest:
        slower = 1 - speeds[chosen.name] / speeds[fastest.name]
        reasons.append(
            f"{fastest.name} was faster by {slower:.1%}, which is within the noise of these measurements "
            f"({max(within, noise(chosen)):.1%}): the simpler one is preferred."
        )
    others = [row for row in fit if row is not chosen and row is not fastest]
    if others:
        next_best = max(others, key=lambda row: speeds[row.name])
        slowest = min(others, key=lambda row: speeds[row.name])
        reasons.append(_times(chosen, next_best, slowest, speeds))
    if (small := _smaller(chosen, fit)) is not None:
        reasons.append(
            f"Where memory is short: {small.name} needs {_peak(small):,.0f} MiB on the device instead of "
            f"{_peak(chosen):,.0f}, at {speeds[small.name] / speeds[chosen.name]:.2f} times the speed."
        )
    return Recommendation(row=chosen.name, reasons=tuple(reasons))


def _fits(chosen: Row, full: Sequence[str]) -> str:
    if chosen.name == PLAIN:
        return "plain: the model's whole state fits on each device, so that there is nothing to shard or to offload."
    if PLAIN in full:
        return f"{chosen.name}: plain runs out of memory, and this is the fastest that does not."
    return f"{chosen.name}: the fastest of what was measured."


def _times(chosen: Row, next_best: Row, slowest: Row, speeds: dict[str, float]) -> str:
    by = speeds[chosen.name] / speeds[next_best.name]
    said = f"It trains {speeds[chosen.name]:.1f} samples a second, {by:.2f} times as many as {next_best.name}"
    if slowest is next_best:
        return f"{said}."
    return f"{said} and {speeds[chosen.name] / speeds[slowest.name]:.2f} times as many as {slowest.name}, the slowest."


def _smaller(chosen: Row, fit: Sequence[Row]) -> Row | None:
    """The fastest among those that take clearly less device memory by the most; None where devices have none."""
    known = [row for row in fit if row.memory.allocated is not None]
    if chosen not in known or not (less := [r for r in known if _peak(r) <= LESS_MEMORY * _peak(chosen)]):
        return None
    return min(less, key=_peak)


def _peak(row: Row) -> float:
    return row.memory.allocated.peak_mib if row.memory.allocated is not None else 0.0
