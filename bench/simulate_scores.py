"""Each strategy of a simulated comparison over its seeds, scored by the methodology's formulas."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from bench.seeds import child_seed
from bench.simulate_many import Outcome
from bench.simulate_targets import Targets
from bench.statistics import (
    Estimate,
    Resamples,
    expected_running_cost,
    geometric_median,
    headline_ratio,
    loss_difference,
    outperforming,
    paired_ratios,
    random_order_cost,
    success_rate,
)
from bench.trials import cost_to_target, incumbent_at

MANUAL = "manual"
RANDOM = "random"
REFERENCES = (MANUAL, RANDOM)


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetScore:
    """A strategy against one target. Costs in allocated device-minutes, infinite where the target was not reached.

    `cost`: median T. `expected`: ERT, a run's budget being what it had spent when it ended. `ratio`: rho, over manual.
    `random_order_ratio`: over what manual's grid would cost in a random order. `over_manual`, `over_random`:
    probability of being cheaper to the target than these. None: of a reference to itself.
    """

    success_rate: float
    cost: float
    expected: float
    ratio: Estimate | None
    random_order_ratio: float
    over_manual: Estimate | None
    over_random: Estimate | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """A strategy over its seeds. `outcomes`: in the order of seeds. `cost_ratio`: of the whole search, over manual's.
    `loss_difference`: its incumbent's loss minus manual's, both at the cost of manual's whole search; None of manual.
    `losses`: of its last incumbents, in the median."""

    strategy: str
    outcomes: tuple[Outcome, ...]
    grid: TargetScore
    hard: TargetScore
    cost_ratio: float
    loss_difference: Estimate | None
    best_loss: float

    @property
    def suggestions(self) -> int:
        return sum(o.suggestions for o in self.outcomes)

    @property
    def model_based(self) -> int:
        return sum(o.model_based for o in self.outcomes)

    @property
    def stalls(self) -> int:
        return sum(bool(o.stalled) for o in self.outcomes)


def scores(outcomes: Iterable[Outcome], goal: Targets) -> list[Score]:
    """The references first, then the others by ERT. Raises ValueError where manual or random are missing, or a strategy
    has other seeds than manual."""
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(outcome.strategy, []).append(outcome)
    ordered = {name: tuple(sorted(runs, key=lambda o: o.seed)) for name, runs in groups.items()}
    missing = [name for name in REFERENCES if name not in ordered]
    if missing:
        raise ValueError(f"there are no outcomes of {missing[0]}: simulate it too, it is a reference")
    seeds = [o.seed for o in ordered[MANUAL]]
    for name, runs in ordered.items():
        if [o.seed for o in runs] != seeds:
            raise ValueError(f"{name} has other seeds than {MANUAL}: simulate the same, seeds are paired")
    resamples = Resamples.draw(len(seeds), seed=child_seed(0, "bootstrap"))
    found = [_score(name, ordered, goal, resamples) for name in ordered]
    places = {name: place for place, name in enumerate(REFERENCES)}
    return sorted(found, key=lambda s: (places.get(s.strategy, len(places)), s.grid.expected, s.strategy))


def _score(name: str, runs: dict[str, tuple[Outcome, ...]], goal: Targets, resamples: Resamples) -> Score:
    own, manual = runs[name], runs[MANUAL]
    whole = [o.allocated_device_min for o in manual]
    return Score(
        strategy=name,
        outcomes=own,
        grid=_target_score(name, runs, goal.grid, resamples),
        hard=_target_score(name, runs, goal.hard, resamples),
        cost_ratio=geometric_median(paired_ratios([o.allocated_device_min for o in own], whole)),
        loss_difference=None
        if name == MANUAL
        else loss_difference(_losses_at(own, whole), _losses_at(manual, whole), resamples),
        best_loss=median(o.best_loss for o in own),
    )


def _target_score(name: str, runs: dict[str, tuple[Outcome, ...]], target: float, resamples: Resamples) -> TargetScore:
    own, manual, random = (_costs(runs[who], target) for who in (name, MANUAL, RANDOM))
    grid = [cost_in_random_order(o, target) for o in runs[MANUAL]]
    return TargetScore(
        success_rate=success_rate(own),
        cost=median(own),
        expected=expected_running_cost(own, [o.allocated_device_min for o in runs[name]]),
        ratio=None if name == MANUAL else headline_ratio(own, manual, resamples),
        random_order_ratio=geometric_median(paired_ratios(own, grid)),
        over_manual=None if name == MANUAL else outperforming(own, manual, resamples),
        over_random=None if name == RANDOM else outperforming(own, random, resamples),
    )


def _costs(outcomes: Sequence[Outcome], target: float) -> list[float]:
    return [cost_to_target(o.trace, target, "allocated") for o in outcomes]


def cost_in_random_order(manual: Outcome, target: float) -> float:
    """Expected device-minutes to the target of one grid in a random order; what was allocated and idle is spread over
    its trials in proportion to their busy time."""
    hits = [busy for loss, busy in manual.finals if loss <= target]
    expected = random_order_cost(hits, [manual.busy_device_min - sum(hits)])
    return expected * manual.allocated_device_min / manual.busy_device_min if hits else math.inf


def _losses_at(outcomes: Sequence[Outcome], costs: Sequence[float]) -> list[float]:
    found = [incumbent_at(o.trace, cost, "allocated") for o, cost in zip(outcomes, costs, strict=True)]
    return [math.inf if step is None else step.eval_loss for step in found]
