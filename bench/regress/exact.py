"""Virtual runs against their reference: simulated time has no noise, so whatever differs has moved."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench.regress.findings import LABELS, UNITS, Finding, percent
from bench.regress.metrics import METRICS, RunMetrics, distance
from bench.regress.reference import Reference

SHOWN = 4
"""So many changed keys or seeds are named in a sentence."""


@dataclass(frozen=True, kw_only=True)
class Now:
    """The same study now: as plain data, its runs, and the versions that decided."""

    study: Mapping[str, Any]
    runs: Sequence[RunMetrics]
    packages: Mapping[str, str]


def compare_virtual(name: str, base: Reference, now: Now) -> list[Finding]:
    """The study, each metric and the journal. Where the curve set is another one, that alone is said."""

    def skipped(metric: str, why: str) -> Finding:
        return Finding(study=name, metric=metric, kind="virtual", verdict="not compared", detail=why)

    was, now_ = base.study.get("simulation") or {}, now.study.get("simulation") or {}
    if was.get("curves_sha256") != now_.get("curves_sha256"):
        told = (
            f"The curve set {now_.get('curves')} has changed (its table's digest was "
            f"{str(was.get('curves_sha256'))[:12]}… and is {str(now_.get('curves_sha256'))[:12]}…): nothing else can "
            "be compared."
        )
        changed = Finding(study=name, metric="study", kind="virtual", verdict="moved", detail=told)
        return [changed, *(skipped(metric, "its curve set has changed") for metric in (*METRICS, "journal"))]
    theirs = {run.seed: run for run in now.runs}
    pairs = [(run, theirs[run.seed]) for run in base.runs if run.seed in theirs]
    if not pairs:
        return [
            Finding(study=name, metric=m, kind="virtual", verdict="not run", detail="no seed of it was run")
            for m in METRICS
        ]
    missing = [run.seed for run in base.runs if run.seed not in theirs]
    found = [_study(name, base, now), *(_metric(name, metric, pairs) for metric in METRICS)]
    found.append(_journal(name, base, now, pairs, any(f.failed for f in found)))
    if missing:
        seeds = ", ".join(map(str, missing))
        found.append(
            Finding(study=name, metric="seeds", kind="virtual", verdict="not run", detail=f"seeds not run: {seeds}")
        )
    return found


def _study(name: str, base: Reference, now: Now) -> Finding:
    changes = list(differences({**base.study, "seed": 0}, {**now.study, "seed": 0}))
    detail = "the same study"
    if changes:
        more = f" and {len(changes) - SHOWN} more" if len(changes) > SHOWN else ""
        detail = f"The study itself has changed: {'; '.join(changes[:SHOWN])}{more}."
    return Finding(study=name, metric="study", kind="virtual", verdict="moved" if changes else "same", detail=detail)


def _metric(name: str, metric: str, pairs: Sequence[tuple[RunMetrics, RunMetrics]]) -> Finding:
    if metric == "trial_losses":
        return _trials(name, pairs)
    moves = [(run.seed, run.value(metric), other.value(metric)) for run, other in pairs]
    moved = [(relative(old, new), seed, old, new) for seed, old, new in moves if old != new]
    old, new, of = median([m[1] for m in moves]), median([m[2] for m in moves]), "median"
    detail = "the same in every seed"
    largest = max(moved, key=lambda m: abs(m[0]), default=None)
    if largest is not None:
        change, seed, old, new = largest
        of = f"seed {seed}"
        label = LABELS[metric]
        unit = UNITS[metric]
        detail = (
            f"{label[0].upper()}{label[1:]} moved in {_seeds([m[1] for m in moved], len(pairs))}, most in seed {seed}: "
            f"{_number(old)} became {_number(new)} {unit} ({percent(change)})."
        )
    return Finding(
        study=name,
        metric=metric,
        kind="virtual",
        verdict="moved" if moved else "same",
        detail=detail,
        base=_finite(old),
        new=_finite(new),
        of=of,
        change=largest[0] if largest else 0.0,
        runs=f"{len(pairs)} seeds",
    )


def _trials(name: str, pairs: Sequence[tuple[RunMetrics, RunMetrics]]) -> Finding:
    moved = [(_moved_trials(run, other), run.seed, distance(other, run.trials)) for run, other in pairs]
    moved = [m for m in moved if m[0]]
    far = [d for _, _, d in moved if d is not None]
    detail = "the same in every seed"
    if moved:
        what, seed, most = max(moved, key=lambda m: m[2] or 0.0)
        gap = f" (mean difference of losses that both have: {percent(math.expm1(most), signed=False)})" if most else ""
        detail = f"Trials moved in {_seeds([m[1] for m in moved], len(pairs))}, most in seed {seed}: {what}{gap}."
    return Finding(
        study=name,
        metric="trial_losses",
        kind="virtual",
        verdict="moved" if moved else "same",
        detail=detail,
        change=math.expm1(max(far)) if far else None if moved else 0.0,
        runs=f"{len(pairs)} seeds",
    )


def _moved_trials(run: RunMetrics, other: RunMetrics) -> str:
    """What of the trials differs, in words; empty where nothing does."""
    if run.trials == other.trials:
        return ""
    if len(run.trials) != len(other.trials):
        return f"{len(run.trials)} trials became {len(other.trials)}"
    for mine, theirs in zip(run.trials, other.trials, strict=True):
        if mine.config != theirs.config:
            return (
                f"trial {mine.number} has another configuration: {'; '.join(differences(mine.config, theirs.config))}"
            )
        for epoch, (a, b) in enumerate(zip(mine.losses, theirs.losses, strict=False), 1):
            if a != b:
                return f"trial {mine.number} has loss {_number(b)} instead of {_number(a)} after epoch {epoch}"
        if len(mine.losses) != len(theirs.losses):
            return f"trial {mine.number} ran {len(theirs.losses)} epochs instead of {len(mine.losses)}"
    return "their numbers differ"


def _journal(
    name: str, base: Reference, now: Now, pairs: Sequence[tuple[RunMetrics, RunMetrics]], explained: bool
) -> Finding:
    seeds = [run.seed for run, other in pairs if run.journal_sha256 != other.journal_sha256]
    versions = list(differences(base.packages, now.packages))
    because = f" (versions that decide have changed: {'; '.join(versions)})" if versions else ""
    detail = "the same in every seed"
    if seeds:
        detail = f"Events differ in {_seeds(seeds, len(pairs))}{because}"
        detail += "; see the other lines." if explained else ", though no metric does."
    return Finding(
        study=name, metric="journal", kind="virtual", verdict="moved" if seeds else "same", detail=detail,
        runs=f"{len(pairs)} seeds",
    )  # fmt: skip


def differences(old: Any, new: Any, where: str = "") -> list[str]:
    """Where two pieces of plain data differ, as `key.key was 1, is 2`."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = [*old, *(key for key in new if key not in old)]
        return [
            text
            for key in keys
            for text in differences(old.get(key), new.get(key), f"{where}.{key}" if where else str(key))
        ]
    old, new = (list(v) if isinstance(v, tuple) else v for v in (old, new))
    return [] if old == new else [f"{where} was {old}, is {new}"]


def relative(old: float, new: float) -> float:
    """new / old - 1; infinite where that has no number."""
    if old == new:
        return 0.0
    if math.isfinite(old) and math.isfinite(new) and old != 0:
        return (new - old) / abs(old)
    return math.inf if new > old else -math.inf


def _seeds(seeds: Sequence[int], total: int) -> str:
    return f"{len(seeds)} of {total} seeds" if total > 1 else "its seed"


def _number(value: float | None) -> str:
    return "none" if value is None or not math.isfinite(value) else f"{value:.7g}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
