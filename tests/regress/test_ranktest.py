"""The gate's test against enumerations, scipy and a worked example; and what it says of its own power."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bench.regress.ranktest import Stratum, detectable, more_needed, p_value, shift, smallest_p, spread

values = st.sampled_from([0.0, 0.5, 1.0, 2.0, math.inf])
strata = st.lists(
    st.tuples(st.lists(values, min_size=1, max_size=4), st.lists(values, min_size=1, max_size=3)),
    min_size=1,
    max_size=2,
)


def enumerated(given_strata: list[Stratum]) -> float:
    """All exchanges of labels within strata, one by one."""
    ranks = [stats.rankdata([*s.base, *s.new]) for s in given_strata]
    sums = [
        [sum(r[list(chosen)]) for chosen in itertools.combinations(range(len(r)), len(s.new))]
        for r, s in zip(ranks, given_strata, strict=True)
    ]
    observed = sum(sum(r[len(s.base) :]) for r, s in zip(ranks, given_strata, strict=True))
    totals = [sum(parts) for parts in itertools.product(*sums)]
    return float(sum(total >= observed - 1e-9 for total in totals) / len(totals))


def test_worked_example() -> None:
    """Ranks of new among 1..5 are 3, 4 and 5; of the ten subsets of three one has that sum, or more."""
    assert p_value([Stratum(base=(1.0, 2.0), new=(3.0, 4.0, 5.0))]) == pytest.approx(0.1)
    assert p_value([Stratum(base=(1.0, 4.0), new=(3.0, 2.0, 5.0))]) == pytest.approx(0.4)
    assert p_value([Stratum(base=(1.0, 1.0), new=(1.0,))]) == 1.0


@settings(max_examples=60, deadline=None)
@given(strata)
def test_equals_enumeration_with_ties_and_infinite_values(found: list[tuple[list[float], list[float]]]) -> None:
    own = [Stratum(base=tuple(b), new=tuple(n)) for b, n in found]
    assert p_value(own) == pytest.approx(enumerated(own))


def test_equals_scipy_for_one_seed() -> None:
    rng = np.random.default_rng(1)
    for base, new in ((4, 3), (8, 5), (20, 3)):
        old, fresh = rng.normal(size=base), rng.normal(0.5, size=new)
        expected = stats.mannwhitneyu(fresh, old, alternative="greater", method="exact").pvalue
        assert p_value([Stratum(base=tuple(old), new=tuple(fresh))]) == pytest.approx(expected)


def test_equals_scipys_permutation_test_of_rank_sums() -> None:
    rng = np.random.default_rng(2)
    old, fresh = rng.normal(size=6).round(1), rng.normal(0.4, size=4).round(1)
    ranks = stats.rankdata([*old, *fresh])

    def difference(a: np.ndarray, b: np.ndarray) -> float:
        return float(a.sum() / len(a) - b.sum() / len(b))

    expected = stats.permutation_test(
        (ranks[6:], ranks[:6]), difference, alternative="greater", n_resamples=np.inf
    ).pvalue
    assert p_value([Stratum(base=tuple(old), new=tuple(fresh))]) == pytest.approx(expected)


def test_seeds_are_not_mixed() -> None:
    """Seed 1 costs ten times what seed 0 costs, and has more new runs: that is no regression."""
    first = Stratum(base=(1.0, 1.2, 1.4), new=(1.1,))
    second = Stratum(base=(10.0, 12.0), new=(9.0, 11.0, 11.5))
    assert p_value([first, second]) > 0.4
    merged = Stratum(base=(*first.base, *second.base), new=(*first.new, *second.new))
    assert p_value([merged]) < p_value([first, second])
    assert abs(shift([first, second])) < 1.1


def test_how_many_runs_are_needed() -> None:
    assert smallest_p([(20, 3)]) == 1 / 1771
    assert more_needed([(20, 2)], 0.002) == 1
    assert more_needed([(20, 3)], 0.002) == 0
    assert more_needed([(1, 1)], 0.002) == 498  # 1 / 500 with one base run
    assert more_needed([], 0.002) is None


def test_shift_is_the_median_difference() -> None:
    assert shift([Stratum(base=(0.0, 1.0), new=(2.0, 3.0))]) == 2.0
    assert shift([Stratum(base=(math.inf,), new=(math.inf,))]) == 0.0
    assert shift([Stratum(base=(1.0,), new=(math.inf,))]) == math.inf


def test_spread_is_within_seeds() -> None:
    assert spread([(0.0, 2.0), (100.0, 102.0)]) == pytest.approx(math.sqrt(2))
    assert spread([(1.0,)]) is None


@pytest.mark.parametrize(("noise", "runs"), [(0.02, 5), (0.1, 10)])
def test_what_it_says_it_would_see_it_sees(noise: float, runs: int) -> None:
    """In 95 of 100, within what 400 tries can tell, on samples from the distribution that the base came from."""
    rng = np.random.default_rng(3)
    base = rng.normal(0, noise, 200)  # so large that it is the distribution
    found = detectable([tuple(rng.choice(base, 20, replace=False))], [runs], level=0.002, tolerance=0.0)
    assert found is not None
    hits = sum(
        p_value([Stratum(base=tuple(rng.choice(base, 20)), new=tuple(rng.choice(base, runs) + found))]) <= 0.002
        for _ in range(400)
    )
    assert 0.8 < hits / 400 <= 1  # one base of twenty runs does not know its distribution better


def test_without_noise_the_tolerance_is_what_is_seen() -> None:
    assert detectable([(1.0,) * 20], [3], level=0.002, tolerance=0.01) == 0.01
    assert detectable([(1.0,) * 20], [2], level=0.002, tolerance=0.01) is None, "two runs can never fire"
