"""The strategies of a comparison, each over its seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from bench.metrics import Metric
from bench.report.entries import Entry, search_cost
from bench.statistics import expected_running_cost, geometric_median
from bench.trials import Clock


@dataclass(frozen=True, kw_only=True)
class Side:
    """One strategy over its seeds: medians, None where a run has no such number. Costs in device-minutes on the clock
    of the comparison.

    `score`: the winners' loss or signed value of the metric; a run without a winner counts as infinite; None where the
    median run has none. `cost_ratio`,
    `target_ratio`, `random_ratio`: the exponential of the median logarithm, seed by seed; of the whole search, of the
    cost to the target, and of that over the grid's in a random order. `successes`: runs that reached the target.
    `to_target`: None unless all did. `expected`: ERT, what all runs spent until they reached it or ended over the
    successes; infinite without any. `expected_random`: the same of a manual grid in a random order.
    """

    label: str
    entries: tuple[Entry, ...]
    score: float | None
    cost: float | None
    cost_ratio: float | None
    wall_s: float | None
    successes: int
    to_target: float | None
    expected: float | None
    expected_random: float | None
    target_ratio: float | None
    random_ratio: float | None
    test_loss: float | None

    @property
    def seeds(self) -> int:
        return len({e.study.seed for e in self.entries})

    @property
    def metric(self) -> Metric:
        return self.entries[0].metric

    @property
    def final_epochs(self) -> int:
        return self.entries[0].study.final_epochs

    @property
    def held(self) -> int:
        return self.entries[0].record.costs.search.devices

    @property
    def without_winner(self) -> int:
        return sum(e.record.winner is None for e in self.entries)

    @property
    def was_random(self) -> bool:
        """Whether its strategy has a model that suggested nothing."""
        flags = [t.model_based for e in self.entries for t in e.record.search_trials if t.model_based is not None]
        return bool(flags) and not any(flags)

    def of_runs(self, number: int) -> str:
        """`1 of 2 seeds`."""
        return f"{number} of {len(self.entries)} {'seeds' if self.seeds == len(self.entries) else 'runs'}"


def sides_of(entries: Sequence[Entry], clock: Clock) -> list[Side]:
    """One for each group of runs that differ in their seed alone."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.group, []).append(entry)
    return [_side(tuple(members), clock) for members in groups.values()]


def ranked(sides: Sequence[Side], of: Callable[[Side], float | None]) -> list[tuple[float, Side]]:
    """The sides that have such a number, the lowest first."""
    known = [(value, side) for side in sides if (value := of(side)) is not None]
    return sorted(known, key=lambda pair: pair[0])


def _side(members: tuple[Entry, ...], clock: Clock) -> Side:
    return Side(
        label=members[0].group_label if len(members) > 1 else members[0].label,
        entries=members,
        score=_median_score(members),
        cost=_median([search_cost(e.record, clock) for e in members]),
        cost_ratio=_ratio([e.ratio(clock) for e in members]),
        wall_s=_median([e.record.costs.search.wall_s for e in members]),
        successes=sum(e.reached for e in members),
        to_target=_median([e.to_target(clock) if e.reached else None for e in members]),
        expected=_expected(members, clock, [e.to_target(clock) for e in members]),
        expected_random=_expected(members, clock, [e.random_order(clock) if e.reached else math.inf for e in members]),
        target_ratio=_ratio([e.target_ratio(clock) for e in members]),
        random_ratio=_ratio([e.random_order_ratio(clock) for e in members]),
        test_loss=_median([None if e.record.final is None else e.record.final.test_loss for e in members]),
    )


def _median_score(members: Sequence[Entry]) -> float | None:
    score = median(math.inf if e.record.winner is None else e.record.trace[-1].score for e in members)
    return None if math.isinf(score) else score


def _expected(members: Sequence[Entry], clock: Clock, costs: Sequence[float | None]) -> float | None:
    """Expected running cost: the sum of min(T, B) over the number of successes, B being the whole search."""
    known = _all_known(costs)
    budgets = _all_known([search_cost(e.record, clock) for e in members])
    return expected_running_cost(known, budgets) if known and budgets else None


def _all_known(values: Sequence[float | None]) -> list[float]:
    """The values, or none of them where one is missing: a run that missed must not flatter the rest."""
    known = [v for v in values if v is not None]
    return known if len(known) == len(values) else []


def _median(values: Sequence[float | None]) -> float | None:
    known = _all_known(values)
    return median(known) if known else None


def _ratio(values: Sequence[float | None]) -> float | None:
    known = _all_known(values)
    return geometric_median(known) if known and min(known) > 0 else None
