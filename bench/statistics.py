"""The methodology's formulas, one small function each, on plain numbers.

Costs are device-minutes and losses nats a labelled token; both may be infinite (a target that was never reached, a
search without an incumbent) and are kept so: nothing that missed is dropped. Values of several runs are paired by seed:
equal positions are equal seeds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DRAWN_AT_ONCE = 256
RESAMPLES = 10_000
CONFIDENCE = 0.95
CLAIM_FROM = 0.75
"""The least probability of outperforming with which a win is claimed."""
R_MAX = 4.0
"""Where a performance profile ends: a strategy that costs so many times the cheapest scores nothing."""


def success_rate(costs_to_target: Sequence[float]) -> float:
    """Share of seeds with a finite cost to target T. Raises ValueError without any."""
    return sum(map(math.isfinite, _some(costs_to_target))) / len(costs_to_target)


def expected_running_cost(costs_to_target: Sequence[float], budgets: Sequence[float]) -> float:
    """ERT in device-minutes: the sum of min(T, B) over all seeds / the number of successes; infinite without any.

    `budgets`: B, what each run had spent when it ended. A T beyond it is no success: the run had ended.
    """
    pairs = list(zip(costs_to_target, budgets, strict=True))
    successes = sum(math.isfinite(cost) and cost <= budget for cost, budget in pairs)
    return sum(min(pair) for pair in pairs) / successes if successes else math.inf


def random_order_cost(hits: Sequence[float], others: Sequence[float]) -> float:
    """Expected device-minutes until one of k `hits` has run, where trials of these costs run one after the other in a
    random order; infinite without a hit.

    Each of the others comes before all hits with probability 1 / (k + 1), and the first hit is each of the k equally
    often: E = mean(hits) + sum(others) / (k + 1).
    """
    return fmean(hits) + sum(others) / (len(hits) + 1) if hits else math.inf


def paired_ratios(costs: Sequence[float], references: Sequence[float]) -> list[float]:
    """rho_k = T_k / T_reference,k, seed by seed: infinite where the cost is, whatever the reference (a miss is never a
    tie); 0 where the reference alone is infinite."""
    pairs = zip(costs, references, strict=True)
    return [math.inf if math.isinf(c) else 0.0 if math.isinf(r) else c / r for c, r in pairs]


def geometric_median(ratios: Sequence[float]) -> float:
    """exp(median of ln rho): how ratios are summarised over seeds. Ratios may be 0 or infinite; between a 0 and an
    infinite one in the middle the median is infinite: half of the seeds missed."""
    return math.exp(_middle([_log(r) for r in _some(ratios)]))


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number over seeds with its 95 % percentile bootstrap interval, ends included."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Resamples:
    """Bootstrap resamples of `n` seeds, drawn once and used for every number of a report.

    `counts`: how often each seed is in each resample (resamples x n). `middle`: the two middle positions of each
    resample among the sorted values, equal where n is odd (resamples x 2). A resample of the sorted values has the same
    distribution as one of the values, so the positions serve every median without a further draw. (Not
    scipy.stats.bootstrap: it draws anew for each statistic, and its interpolation makes NaN of infinite values.)
    """

    n: int
    counts: NDArray[np.float64]
    middle: NDArray[np.intp]

    @classmethod
    def draw(cls, n: int, *, seed: int, resamples: int = RESAMPLES) -> Resamples:
        """Resamples of n seeds with replacement. Raises ValueError where either number is below 1."""
        import numpy as np

        if n < 1 or resamples < 1:
            raise ValueError(f"{resamples} resamples of {n} seeds cannot be drawn; both must be 1 or more")
        generator = np.random.default_rng(seed)
        counts, middle = np.empty((resamples, n)), np.empty((resamples, 2), dtype=np.intp)
        ends = [(n - 1) // 2, n // 2]
        for begin in range(0, resamples, DRAWN_AT_ONCE):  # in parts: what is drawn takes as much memory as the counts
            rows = min(DRAWN_AT_ONCE, resamples - begin)
            drawn = generator.integers(0, n, size=(rows, n))
            flat = (drawn + np.arange(rows)[:, None] * n).ravel()
            counts[begin : begin + rows] = np.bincount(flat, minlength=rows * n).reshape(rows, n)
            middle[begin : begin + rows] = np.partition(drawn, ends, axis=1)[:, ends]
        return cls(n, counts, middle)

    def median(self, values: Sequence[float]) -> Estimate:
        """The median of one value a seed. Values may be infinite, of either sign; between the two the median is
        +infinite."""
        import numpy as np

        ordered = np.sort(self._array(values))
        pairs = ordered[self.middle]
        with np.errstate(invalid="ignore"):
            medians = pairs.sum(axis=1) / 2
        return self._estimate(_middle(values), np.where(np.isnan(medians), np.inf, medians))

    def mean(self, values: Sequence[float]) -> Estimate:
        """The mean of one finite value a seed."""
        array = self._array(values)
        return self._estimate(float(array.mean()), self.counts @ array / self.n)

    def expected_running_cost(self, costs: Sequence[float], budgets: Sequence[float]) -> Estimate:
        """ERT in device-minutes; infinite in resamples without a success."""
        import numpy as np

        spent = np.minimum(costs, budgets)
        hits = np.array([math.isfinite(c) and c <= b for c, b in zip(costs, budgets, strict=True)], dtype=np.float64)
        with np.errstate(divide="ignore"):
            resampled = (self.counts @ spent) / (self.counts @ hits)
        return self._estimate(expected_running_cost(costs, budgets), resampled)

    def _array(self, values: Sequence[float]) -> NDArray[np.float64]:
        import numpy as np

        if len(values) != self.n:
            raise ValueError(f"there are {len(values)} values for resamples of {self.n} seeds; give one a seed")
        return np.asarray(values, dtype=np.float64)

    def _estimate(self, value: float, resampled: NDArray[np.float64]) -> Estimate:
        """The interval's ends are resampled values, the outer ones of two: infinite ones cannot be interpolated."""
        import numpy as np

        ordered, last = np.sort(resampled), len(resampled) - 1
        tail = (1 - CONFIDENCE) / 2
        low, high = ordered[math.floor(tail * last)], ordered[math.ceil((1 - tail) * last)]
        return Estimate(value, float(low), float(high))


def headline_ratio(costs: Sequence[float], references: Sequence[float], resamples: Resamples) -> Estimate:
    """exp(median of ln rho_k) of the costs to target, seed by seed, as `paired_ratios` and `geometric_median` have
    it: infinite where half of the seeds or more missed, 0 where the reference missed in as many."""
    logs = resamples.median([_log(r) for r in paired_ratios(costs, references)])
    return Estimate(math.exp(logs.value), math.exp(logs.low), math.exp(logs.high))


def outperforming(values: Sequence[float], references: Sequence[float], resamples: Resamples) -> Estimate:
    """P(A better than B) over paired seeds: the share in which the value (cost or loss) is lower; an equal pair, two
    infinite ones among them, counts one half (Bouthillier et al. 2021, arXiv 2103.03098)."""
    pairs = zip(values, references, strict=True)
    return resamples.mean([1.0 if a < b else 0.5 if a == b else 0.0 for a, b in pairs])


def win_is_claimed(probability: Estimate) -> bool:
    """Whether P(A better than B) supports the claim: its interval lies above 0.5 and it is 0.75 or more."""
    return probability.low > 0.5 and probability.value >= CLAIM_FROM


def loss_difference(losses: Sequence[float], references: Sequence[float], resamples: Resamples) -> Estimate:
    """Median of y_strategy - y_reference in nats, seed by seed, both at the same cost; negative is better. Infinite
    losses (no incumbent yet) are kept: where neither has one, the strategy still has none, and +infinity stands."""
    pairs = zip(losses, references, strict=True)
    return resamples.median([math.inf if math.isinf(a) else a - b for a, b in pairs])


def expected_minimum(finals: Sequence[float], n: int) -> float:
    """E[min_n]: the expected lowest of n losses drawn without replacement from the recorded finals.

    sum_{i=1}^{N-n+1} C(N-i, n-1) / C(N, n) * y_(i), the unbiased form of Tang et al. 2020 (arXiv 2004.13705). Raises
    ValueError where n is not within 1 and N.
    """
    total = len(finals)
    if not 1 <= n <= total:
        raise ValueError(f"the best of {n} cannot be drawn from {total} finals; n must be from 1 to {total}")
    draws = math.comb(total, n)
    lowest = sorted(finals)[: total - n + 1]
    return math.fsum(math.comb(total - i, n - 1) / draws * loss for i, loss in enumerate(lowest, 1))


def normalised_regret(loss: float, *, best: float, reference: float) -> float:
    """(y* - y_best) / (y_reference - y_best): 0 as good as the best known, 1 as the reference. The constants are
    frozen: never the extremes of the entrants. Raises ValueError where the reference is not worse than the best."""
    if not best < reference:
        raise ValueError(f"the reference loss is {reference:g} and the best {best:g}; the reference must be higher")
    return (loss - best) / (reference - best)


def performance_profile(costs: Mapping[str, Sequence[float]], tau: float) -> dict[str, float]:
    """rho_s(tau) of each strategy: the share of cells (workloads) in which its cost is at most tau times the lowest
    (Dolan, More 2002)."""
    ratios = _ratios_to_lowest(costs)
    return {name: sum(r <= tau for r in own) / len(own) for name, own in ratios.items()}


def performance_profile_score(costs: Mapping[str, Sequence[float]], r_max: float = R_MAX) -> dict[str, float]:
    """1 / (r_max - 1) times the integral of rho_s from 1 to r_max, of each strategy: 1 where it is always the cheapest,
    0 where it always costs r_max times as much or more. rho is a step function: each cell adds r_max - r, 0 at least.
    """
    ratios = _ratios_to_lowest(costs)
    return {name: fmean(max(0.0, r_max - r) for r in own) / (r_max - 1) for name, own in ratios.items()}


def _ratios_to_lowest(costs: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    lowest = [min(cell) for cell in zip(*costs.values(), strict=True)]
    return {name: paired_ratios(own, lowest) for name, own in costs.items()}


def _middle(values: Sequence[float]) -> float:
    """The median; +infinity between values that are infinite in both directions."""
    found = median(values)
    return math.inf if math.isnan(found) else found


def _log(ratio: float) -> float:
    return math.log(ratio) if ratio else -math.inf


def _some(values: Sequence[float]) -> Sequence[float]:
    if not values:
        raise ValueError("there are no seeds; give one value or more")
    return values


def pareto_front(points: Sequence[Sequence[float | None]]) -> list[bool]:
    """For each point, numbers to be minimised, whether it is on the Pareto front: no other is as good in all of them
    and better in one. Equal points are on it together. A point with a number that is missing or not finite is not on
    it, and keeps no other off it. Raises ValueError where points have different numbers of dimensions."""
    if len({len(point) for point in points}) > 1:
        raise ValueError("points of different dimensions have no front")
    whole = [_whole(point) for point in points]
    front: set[tuple[float, ...]] = set()
    for point in sorted({point for point in whole if point is not None}):  # what dominates a point comes before it
        if not any(all(a <= b for a, b in zip(other, point, strict=True)) for other in front):
            front.add(point)
    return [point in front for point in whole]


def _whole(point: Sequence[float | None]) -> tuple[float, ...] | None:
    known = tuple(x for x in point if x is not None and math.isfinite(x))
    return known if len(known) == len(point) else None
