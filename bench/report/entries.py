"""Runs side by side: each with its label, its baseline and the reason where there is none."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import Any

from bench.ledger import cost_ratio
from bench.record import Record
from bench.report.wording import run_type
from bench.study import Study
from bench.trials import Clock, Trial, cost_to_target

KEY_FIELDS = (
    "workload", "recipe", "profile", "epochs", "final epochs", "devices per trial", "model", "data set", "DeepSpeed",
    "simulation",
)  # fmt: skip
"""The parts of `Study.comparison_key`, in its order."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One run in a comparison. `group`: equal for runs that differ in their seed alone. `baseline`: the manual run it
    is measured against (None: `refusal` says why). `target`: theta_1, the median loss of the comparable manual
    winners. `group_label`: `label` without what tells the runs of one group apart."""

    record: Record
    study: Study
    label: str
    group: str
    group_label: str
    baseline: Record | None
    refusal: str
    target: float | None

    @property
    def is_manual(self) -> bool:
        return self.study.strategy == "manual"

    def ratio(self, clock: Clock) -> float | None:
        """cost(strategy) / cost(manual) of the whole search; None where either is unknown."""
        if self.baseline is None:
            return None
        return cost_ratio(search_cost(self.record, clock), search_cost(self.baseline, clock))

    def to_target(self, clock: Clock) -> float | None:
        """T(theta_1) in device-minutes; infinite where it was not reached, None without a target or a known cost."""
        if self.target is None or search_cost(self.record, clock) is None:
            return None
        return cost_to_target(self.record.trace, self.target, clock)

    def target_ratio(self, clock: Clock) -> float | None:
        """rho = T_strategy / T_manual; None where either was not reached or is unknown."""
        if self.baseline is None or self.target is None:
            return None
        reference = cost_to_target(self.baseline.trace, self.target, clock)
        own = self.to_target(clock)
        if own is None or math.isinf(own) or math.isinf(reference):
            return None
        return cost_ratio(own, reference)


def search_cost(record: Record, clock: Clock) -> float | None:
    """Device-minutes of the search on one clock; None where unknown."""
    costs = record.costs.search
    return costs.allocated_device_min if clock == "allocated" else costs.busy_device_min


def incomparable(record: Record, other: Record) -> str:
    """Why no cost ratio between two runs means anything; empty where one does."""
    return _difference(_Keyed.of(record), _Keyed.of(other))


def entries(records: Sequence[Record], baselines: Sequence[Record] = ()) -> list[Entry]:
    """The runs with their baselines: a comparable manual run of the same seed, or else the first comparable one, from
    `baselines` and the records themselves."""
    keyed = [_Keyed.of(r) for r in records]
    manuals = [k for k in [_Keyed.of(b) for b in baselines] + keyed if k.study.strategy == "manual"]
    by_key: dict[tuple[Any, ...], list[_Keyed]] = {}
    for manual in manuals:
        by_key.setdefault(manual.key, []).append(manual)
    choices: dict[str, _Baselines] = {}
    for one in keyed:  # once for all runs of the same conditions: with many seeds a search for each would be quadratic
        if one.conditions not in choices:
            choices[one.conditions] = _Baselines.of(one, by_key.get(one.key, []), manuals)
    labels = _labels(keyed)
    return [_entry(k, label, choices[k.conditions]) for k, label in zip(keyed, labels, strict=True)]


def geometric_median(ratios: Sequence[float]) -> float:
    """exp(median of ln rho): how ratios are summarised over seeds."""
    return math.exp(median(math.log(r) for r in ratios))


def random_order_cost(record: Record, target: float, clock: Clock) -> float | None:
    """Expected device-minutes until `target` when the same trials run one after the other in a random order.

    With k trials at the target or below, each of the others comes before all of these with probability 1 / (k + 1):
    E = mean(cost of the k) + sum(cost of the others) / (k + 1). Idle time, where it is charged, is spread over trials
    in proportion to their busy time. None where no trial reached the target or the cost is unknown.
    """
    total, busy = search_cost(record, clock), record.costs.search.busy_device_min
    hits = [t for t in record.search_trials if _hits(t, target)]
    if total is None or not hits or not busy:
        return None
    hit_cost = sum(t.busy_device_min for t in hits)
    expected = hit_cost / len(hits) + (busy - hit_cost) / (len(hits) + 1)
    return expected * total / busy


def _hits(trial: Trial, target: float) -> bool:
    return trial.best_loss is not None and trial.best_loss <= target


@dataclass(frozen=True)
class _Keyed:
    record: Record
    study: Study
    key: tuple[Any, ...]
    hashes: dict[str, Any]

    @classmethod
    def of(cls, record: Record) -> _Keyed:
        study = record.parsed_study()
        hashes = record.provenance.get("hashes")
        return cls(record, study, study.comparison_key(), hashes if isinstance(hashes, dict) else {})

    @cached_property
    def conditions(self) -> str:
        """Equal for runs to which the same manual runs compare."""
        return json.dumps([list(self.key), self.hashes], sort_keys=True, default=str)

    @property
    def group(self) -> str:
        study = self.study
        plan = [study.strategy, dict(study.settings), study.samples, study.devices, self.record.study["space"]]
        return json.dumps([*plan, list(self.key)], sort_keys=True, default=str)


def _difference(one: _Keyed, other: _Keyed) -> str:
    pairs = zip(KEY_FIELDS, one.key, other.key, strict=True)
    differing = [f"{name} {_said(a)} against {_said(b)}" for name, a, b in pairs if a != b]
    shared = sorted(one.hashes.keys() & other.hashes.keys())
    differing += [f"another {name} (its hash differs)" for name in shared if one.hashes[name] != other.hashes[name]]
    return ", ".join(differing)


def _said(value: Any) -> str:
    if value is None:
        return "default"
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


@dataclass(frozen=True)
class _Baselines:
    """The manual runs that compare to runs of some conditions: the first, those by seed, and their median winner."""

    first: Record | None
    by_seed: dict[int, Record]
    target: float | None
    refusal: str

    @classmethod
    def of(cls, keyed: _Keyed, same_key: list[_Keyed], manuals: list[_Keyed]) -> _Baselines:
        usable = [m for m in same_key if not _difference(keyed, m)]
        if not usable:
            return cls(None, {}, None, _difference(keyed, manuals[0]) if manuals else "there is no manual baseline")
        losses = [m.record.winner.eval_loss for m in usable if m.record.winner is not None]
        by_seed = {m.study.seed: m.record for m in reversed(usable)}
        return cls(usable[0].record, by_seed, median(losses) if losses else None, "")


def _entry(keyed: _Keyed, label: tuple[str, str], choice: _Baselines) -> Entry:
    return Entry(
        record=keyed.record,
        study=keyed.study,
        label=label[1],
        group=keyed.group,
        group_label=label[0],
        baseline=choice.by_seed.get(keyed.study.seed, choice.first),
        refusal=choice.refusal,
        target=choice.target,
    )


def _labels(keyed: list[_Keyed]) -> list[tuple[str, str]]:
    """Run types with as much behind them as tells groups apart, and with as much as tells the runs apart."""
    groups = _told_apart(
        [run_type(k.study) for k in keyed],
        [k.study.profile for k in keyed],
        [k.study.recipe for k in keyed],
        [k.study.workload for k in keyed],
        [f"{k.study.samples} trials" for k in keyed],
    )
    runs = _told_apart(groups, [f"seed {k.study.seed}" for k in keyed], [k.record.run_id for k in keyed])
    counts = Counter(runs)
    seen: Counter[str] = Counter()
    for i, label in enumerate(runs):
        if counts[label] > 1:  # the same run given twice
            seen[label] += 1
            runs[i] = f"{label} ({seen[label]})"
    return list(zip(groups, runs, strict=True))


def _told_apart(labels: list[str], *details: list[str]) -> list[str]:
    """Labels that several runs share, each with those of the details in which these differ."""
    for detail in details:
        members: dict[str, set[str]] = {}
        for label, said in zip(labels, detail, strict=True):
            members.setdefault(label, set()).add(said)
        labels = [
            f"{label}, {said}" if len(members[label]) > 1 else label for label, said in zip(labels, detail, strict=True)
        ]
    return labels
