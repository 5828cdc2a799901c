"""The methodology's formulas against vectors worked by hand, brute force and scipy."""

from __future__ import annotations

import itertools
import math
from statistics import fmean, median
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from bench.statistics import (
    Estimate,
    Resamples,
    expected_minimum,
    expected_running_cost,
    geometric_median,
    headline_ratio,
    loss_difference,
    normalised_regret,
    outperforming,
    paired_ratios,
    pareto_front,
    performance_profile,
    performance_profile_score,
    random_order_cost,
    success_rate,
    win_is_claimed,
)

INF = math.inf


def test_success_rate() -> None:
    assert success_rate([3.0, INF, 5.0, INF]) == 0.5
    with pytest.raises(ValueError, match="no seeds"):
        success_rate([])


@pytest.mark.parametrize(
    ("costs", "budgets", "ert"),
    [
        ([4.0, 6.0], [10.0, 10.0], 5.0),  # all succeed: the mean
        ([4.0, INF], [10.0, 10.0], 14.0),  # one success pays for the miss
        ([4.0, INF, 8.0], [10.0, 30.0, 9.0], 21.0),  # (4 + 30 + 8) / 2
        ([4.0, 12.0], [10.0, 10.0], 14.0),  # reached beyond the budget: a miss
        ([INF, INF], [10.0, 10.0], INF),
    ],
)
def test_expected_running_cost(costs: list[float], budgets: list[float], ert: float) -> None:
    assert expected_running_cost(costs, budgets) == ert


def test_a_ratio_with_a_miss_is_never_a_tie() -> None:
    assert paired_ratios([2.0, INF, 2.0, INF], [4.0, 4.0, INF, INF]) == [0.5, INF, 0.0, INF]


@pytest.mark.parametrize(
    ("ratios", "value"),
    [
        ([0.5, 2.0], 1.0),  # not 1.25, the mean
        ([0.1, 0.4, 10.0], 0.4),
        ([0.25, 0.5, 1.0, INF], math.sqrt(0.5)),
        ([0.5, INF, INF], INF),
        ([0.5, INF], INF),
        ([0.0, 0.0, 3.0], 0.0),
        ([0.0, INF], INF),  # half missed: no success may be made of that
    ],
)
def test_geometric_median(ratios: list[float], value: float) -> None:
    assert geometric_median(ratios) == pytest.approx(value)


@given(st.lists(st.floats(0.1, 50), min_size=1, max_size=4), st.lists(st.floats(0.1, 50), max_size=2))
def test_random_order_is_the_mean_over_all_orders(hits: list[float], others: list[float]) -> None:
    trials = [(cost, True) for cost in hits] + [(cost, False) for cost in others]
    spent = []
    for order in itertools.permutations(trials):
        first = next(i for i, (_, hit) in enumerate(order) if hit)
        spent.append(sum(cost for cost, _ in order[: first + 1]))
    assert random_order_cost(hits, others) == pytest.approx(fmean(spent))


def test_random_order_without_a_hit_never_ends() -> None:
    assert random_order_cost([], [1.0, 2.0]) == INF


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=8), st.data())
def test_expected_minimum_is_the_mean_over_all_subsets(finals: list[float], data: st.DataObject) -> None:
    n = data.draw(st.integers(1, len(finals)))
    brute = fmean(min(subset) for subset in itertools.combinations(finals, n))
    assert expected_minimum(finals, n) == pytest.approx(brute, abs=1e-12)


def test_expected_minimum_at_its_ends() -> None:
    assert expected_minimum([4.0, 1.0, 3.0, 2.0], 2) == pytest.approx(10 / 6)  # minima 1 1 1 2 2 3
    assert expected_minimum([1.0, 2.0, 3.0], 1) == pytest.approx(2.0)
    assert expected_minimum([1.0, 2.0, INF], 3) == 1.0
    assert expected_minimum([1.0, 2.0, INF], 2) == pytest.approx(4 / 3)  # the infinite one is never the lower
    assert expected_minimum([float(i) for i in range(5000)], 12) == pytest.approx(4988 / 13)  # (N + 1) / (n + 1) - 1
    with pytest.raises(ValueError, match="from 1 to 2"):
        expected_minimum([1.0, 2.0], 3)


def test_normalised_regret() -> None:
    assert normalised_regret(1.5, best=1.0, reference=3.0) == 0.25
    assert normalised_regret(INF, best=1.0, reference=3.0) == INF
    with pytest.raises(ValueError, match="must be higher"):
        normalised_regret(1.0, best=1.0, reference=1.0)


def test_performance_profile() -> None:
    costs = {"a": [1.0, 2.0, 9.0, INF], "b": [2.0, 2.0, 3.0, INF]}  # a: 1 1 3 inf; b: 2 1 1 inf
    assert performance_profile(costs, 1.0) == {"a": 0.5, "b": 0.5}
    assert performance_profile(costs, 2.5) == {"a": 0.5, "b": 0.75}
    scores = performance_profile_score(costs)
    assert scores == pytest.approx({"a": (3 + 3 + 1) / 4 / 3, "b": (2 + 3 + 3) / 4 / 3})
    taus = np.linspace(1, 4, 30_001)
    for name, score in scores.items():
        steps = [performance_profile(costs, tau)[name] for tau in taus]
        assert score == pytest.approx(np.trapezoid(steps, taus) / 3, abs=1e-4)


@pytest.mark.parametrize("n", [9, 10])
def test_median_interval_agrees_with_scipy(n: int) -> None:
    values = np.random.default_rng(1).lognormal(size=n)
    ours = Resamples.draw(n, seed=3).median(list(values))
    theirs = scipy.stats.bootstrap(
        (values,), np.median, n_resamples=10_000, method="percentile", rng=np.random.default_rng(4)
    ).confidence_interval
    assert ours.value == median(values)
    spread = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=0.1 * spread)
    assert ours.high == pytest.approx(theirs.high, abs=0.1 * spread)


def test_median_interval_is_that_of_the_exact_bootstrap_distribution() -> None:
    """A resample's median of 2m + 1 values is at most the j-th when more than m of its draws are (Efron 1979)."""
    n, m = 21, 10
    at_most = [scipy.stats.binom.sf(m, n, j / n) for j in range(1, n + 1)]
    low = next(j for j, p in enumerate(at_most) if p >= 0.025)
    high = next(j for j, p in enumerate(at_most) if p >= 0.975)
    found = Resamples.draw(n, seed=0).median([float(v) for v in range(n)])
    assert found == Estimate(10.0, float(low), float(high))


def test_mean_interval_agrees_with_scipy() -> None:
    values = [1.0] * 140 + [0.5] * 10 + [0.0] * 50
    ours = Resamples.draw(200, seed=3).mean(values)
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(4)
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.006)
    assert ours.value == pytest.approx(0.725)


def test_same_seed_same_interval() -> None:
    values = [math.sqrt(v) for v in range(30)]
    first, again, other = (Resamples.draw(30, seed=seed).mean(values) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_resamples_refuse_what_they_were_not_drawn_for() -> None:
    with pytest.raises(ValueError, match="one a seed"):
        Resamples.draw(3, seed=0).median([1.0, 2.0])
    with pytest.raises(ValueError, match="1 or more"):
        Resamples.draw(0, seed=0)


def test_headline_ratio_is_paired_by_seed() -> None:
    resamples = Resamples.draw(40, seed=0)
    manual = [float(10 + k) for k in range(40)]
    quarter = headline_ratio([m / 4 for m in manual], manual, resamples)
    assert (quarter.value, quarter.low, quarter.high) == pytest.approx((0.25, 0.25, 0.25))


def test_headline_ratio_with_misses() -> None:
    resamples = Resamples.draw(40, seed=0)
    manual = [8.0] * 40
    some_miss = headline_ratio([2.0] * 24 + [INF] * 16, manual, resamples)
    assert some_miss.value == pytest.approx(0.25)
    assert some_miss.low == pytest.approx(0.25)
    assert some_miss.high == INF
    assert headline_ratio([2.0] * 20 + [INF] * 20, manual, resamples).value == INF
    assert headline_ratio([2.0] * 40, [INF] * 40, resamples) == Estimate(0.0, 0.0, 0.0)
    assert headline_ratio([INF] * 40, [INF] * 40, resamples) == Estimate(INF, INF, INF)


def test_outperforming_counts_ties_half() -> None:
    found = outperforming([1.0, 2.0, 3.0, INF], [2.0, 2.0, 1.0, INF], Resamples.draw(4, seed=0))
    assert found.value == 0.5  # a win, two ties, a loss
    assert found.low <= 0.5 <= found.high


@pytest.mark.parametrize(
    ("probability", "claimed"),
    [
        (Estimate(0.80, 0.55, 0.95), True),
        (Estimate(0.75, 0.51, 0.95), True),
        (Estimate(0.74, 0.60, 0.85), False),  # sure to be better, but not by enough
        (Estimate(0.80, 0.50, 0.95), False),  # enough, but not sure
    ],
)
def test_claim_rule(probability: Estimate, claimed: bool) -> None:
    assert win_is_claimed(probability) is claimed


def test_loss_difference() -> None:
    resamples = Resamples.draw(3, seed=0)
    found = loss_difference([1.0, 1.0, 4.0], [2.0, 3.0, 2.0], resamples)
    assert found.value == -1.0
    assert (found.low, found.high) == (-2.0, 2.0)
    assert loss_difference([INF, INF, 1.0], [1.0, INF, 2.0], resamples).value == INF
    assert loss_difference([1.0, 1.0, 1.0], [INF, INF, 2.0], resamples).value == -INF


def test_a_front_by_hand() -> None:
    points = [(1.0, 5.0), (2.0, 3.0), (2.0, 4.0), (3.0, 3.0), (4.0, 1.0), (1.0, 5.0), (0.0, math.nan), (0.0, None)]
    assert pareto_front(points) == [True, True, False, False, True, True, False, False]
    assert pareto_front([]) == []
    with pytest.raises(ValueError, match="different dimensions"):
        pareto_front([(1.0,), (1.0, 2.0)])


@given(st.lists(st.tuples(*[st.sampled_from([None, math.inf, 0.0, 1.0, 2.0, 3.0])] * 2), max_size=12))
def test_the_front_is_what_no_other_dominates(points: list[tuple[float | None, float | None]]) -> None:
    def whole(point: tuple[float | None, ...]) -> bool:
        return all(x is not None and math.isfinite(x) for x in point)

    def dominates(a: tuple[Any, ...], b: tuple[Any, ...]) -> bool:
        return whole(a) and a != b and all(x <= y for x, y in zip(a, b, strict=True))

    expected = [whole(p) and not any(dominates(other, p) for other in points) for p in points]
    assert pareto_front(points) == expected
