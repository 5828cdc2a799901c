"""Runs side by side: each with its label, its baseline and the reason where there is none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench import statistics
from bench.ledger import cost_ratio
from bench.metrics import METRICS, Metric
from bench.record import Record
from bench.report.keys import Keyed, difference, search_is_over
from bench.report.labels import labels
from bench.study import Study
from bench.trials import Clock, Trial, cost_to_target, score_of

NO_BASELINE = "there is no manual baseline"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One run in a comparison. `group`: equal for runs that differ in their seed alone. `search_key`: equal where
    searches may compare. `baseline`: the manual run it is measured against (None: `refusal` says why). `target`:
    theta_1, the median loss of the comparable manual winners, or their median score by the metric (see
    `Incumbent.score`). `group_label`: `label` without what tells the runs of one
    group apart."""

    record: Record
    study: Study
    label: str
    group: str
    group_label: str
    search_key: tuple[Any, ...]
    baseline: Record | None
    refusal: str
    target: float | None

    @property
    def is_manual(self) -> bool:
        return self.study.strategy == "manual"

    @property
    def metric(self) -> Metric:
        """What the winner is best by."""
        return METRICS[self.study.metrics[0]]

    @property
    def reached(self) -> bool:
        """Whether a trial at full fidelity was as good as the target."""
        trace = self.record.trace
        return bool(trace) and self.target is not None and trace[-1].score <= self.target

    def ratio(self, clock: Clock) -> float | None:
        """cost(strategy) / cost(manual) of the whole search; None where either is unknown."""
        if self.baseline is None:
            return None
        return cost_ratio(search_cost(self.record, clock), search_cost(self.baseline, clock))

    @property
    def train_ratio(self) -> float | None:
        """The ratio of what was spent on training alone; None where time is not split."""
        if self.baseline is None:
            return None
        return cost_ratio(train_cost(self.record), train_cost(self.baseline))

    def to_target(self, clock: Clock) -> float | None:
        """T(theta_1) in device-minutes; infinite where it was not reached, None without a target or a known cost."""
        if self.target is None or search_cost(self.record, clock) is None:
            return None
        return cost_to_target(self.record.trace, self.target, clock)

    def target_ratio(self, clock: Clock) -> float | None:
        """rho = T_strategy / T_manual; None where either was not reached or is unknown."""
        if self.baseline is None or self.target is None:
            return None
        return _finite_ratio(self.to_target(clock), cost_to_target(self.baseline.trace, self.target, clock))

    def random_order(self, clock: Clock) -> float | None:
        """What its baseline's grid would have cost to the target in a random order, on average."""
        if self.baseline is None or self.target is None:
            return None
        return random_order_cost(self.baseline, self.target, clock)

    def random_order_ratio(self, clock: Clock) -> float | None:
        """T_strategy over the grid's expected cost in a random order; None where either is unknown or infinite."""
        return _finite_ratio(self.to_target(clock), self.random_order(clock))


def entries(records: Sequence[Record], baselines: Sequence[Record] = ()) -> list[Entry]:
    """The runs with their baselines: a comparable manual run of the same seed, or else the first comparable one, from
    `baselines` and the records themselves. A search that is not over has none and is none."""
    keyed = [Keyed.of(r) for r in records]
    candidates = [Keyed.of(b) for b in baselines] + keyed
    manuals = [k for k in candidates if k.study.strategy == "manual" and search_is_over(k.record)]
    by_key: dict[tuple[Any, ...], list[Keyed]] = {}
    for manual in manuals:
        by_key.setdefault(manual.search_key, []).append(manual)
    choices: dict[str, _Baselines] = {}
    for one in keyed:  # once for all runs of the same conditions: with many seeds a search for each would be quadratic
        if one.conditions not in choices:
            choices[one.conditions] = _Baselines.of(one, by_key.get(one.search_key, []), manuals)
    return [_entry(k, label, choices[k.conditions]) for k, label in zip(keyed, labels(keyed), strict=True)]


def search_cost(record: Record, clock: Clock) -> float | None:
    """Device-minutes of the search on one clock; None where unknown."""
    costs = record.costs.search
    return costs.allocated_device_min if clock == "allocated" else costs.busy_device_min


def train_cost(record: Record) -> float | None:
    """Device-minutes of the search's training steps; None where time is not split."""
    by_phase = record.costs.search.by_phase_device_min
    return None if by_phase["unsplit"] else by_phase["train"]


def ranking_clock(entries: Sequence[Entry]) -> Clock:
    """What is ranked by: allocated cost where it is known of all, else busy."""
    return "allocated" if all(search_cost(e.record, "allocated") is not None for e in entries) else "busy"


def random_order_cost(record: Record, target: float, clock: Clock) -> float | None:
    """Expected device-minutes until `target` when the same trials run one after the other in a random order.

    Idle time, where it is charged, is spread over trials in proportion to their busy time. None where no trial reached
    the target or the cost is unknown.
    """
    total, busy = search_cost(record, clock), record.costs.search.busy_device_min
    hits = [t for t in record.search_trials if _hits(t, target)]
    if total is None or not hits or not busy:
        return None
    costs = [t.busy_device_min for t in hits]
    return statistics.random_order_cost(costs, [busy - sum(costs)]) * total / busy


def _hits(trial: Trial, target: float) -> bool:
    return trial.best_loss is not None and score_of(trial.best_loss, trial.values) <= target


def _finite_ratio(cost: float | None, reference: float | None) -> float | None:
    if cost is None or reference is None or math.isinf(cost) or math.isinf(reference):
        return None
    return cost_ratio(cost, reference)


@dataclass(frozen=True)
class _Baselines:
    """The manual runs that compare to runs of some conditions: the first, those by seed, and their winners' median."""

    first: Record | None
    by_seed: dict[int, list[Keyed]]
    target: float | None
    refusal: str

    @classmethod
    def of(cls, keyed: Keyed, same_key: list[Keyed], manuals: list[Keyed]) -> _Baselines:
        if not search_is_over(keyed.record):
            return cls(None, {}, None, "the search is not over")
        usable = [m for m in same_key if not difference(keyed, m)]
        if not usable:
            return cls(None, {}, None, difference(keyed, manuals[0]) if manuals else NO_BASELINE)
        scores = [m.record.trace[-1].score for m in usable if m.record.winner is not None]
        by_seed: dict[int, list[Keyed]] = {}
        for manual in usable:
            by_seed.setdefault(manual.study.seed, []).append(manual)
        return cls(usable[0].record, by_seed, median(scores) if scores else None, "")

    def for_run(self, keyed: Keyed) -> Record | None:
        """The run itself where it is manual; else one of the same seed, rather one whose winner was retrained for as
        long; else the first."""
        same_seed = self.by_seed.get(keyed.study.seed, [])
        if any(m.record is keyed.record for m in same_seed):
            return keyed.record
        as_long = [m for m in same_seed if m.study.final_epochs == keyed.study.final_epochs]
        chosen = as_long or same_seed
        return chosen[0].record if chosen else self.first


def _entry(keyed: Keyed, label: tuple[str, str], choice: _Baselines) -> Entry:
    return Entry(
        record=keyed.record,
        study=keyed.study,
        label=label[1],
        group=keyed.group,
        group_label=label[0],
        search_key=keyed.search_key,
        baseline=choice.for_run(keyed),
        refusal=choice.refusal,
        target=choice.target,
    )
