"""The gate's test: an exact one-sided permutation test on ranks within seeds, and the change that belongs to it.

With one seed it is the Wilcoxon-Mann-Whitney test; with several, rank sums are added over the seeds. The distribution
under exchange of labels within each seed is counted, not approximated, ties (midranks) and infinite values included.
docs/regress.md compares it with t tests on recorded repeats.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 400
RESAMPLING_SEED = 20_260_101
POWER = 0.95
"""What a rise must be found with to count as one that the test would see."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stratum:
    """The values of one seed: `base` of the reference, `new` to be judged; logarithms where the metric is positive."""

    base: tuple[float, ...]
    new: tuple[float, ...]


def p_value(strata: Sequence[Stratum]) -> float:
    """The chance of new rank sums as high as these, or higher, if the labels base and new meant nothing."""
    counts = np.ones(1)
    observed = 0
    for stratum in strata:
        ranks = _doubled_ranks((*stratum.base, *stratum.new))
        observed += sum(ranks[len(stratum.base) :])
        counts = np.convolve(counts, _subset_sums(tuple(sorted(ranks)), len(stratum.new)))
    return float(min(1.0, counts[observed:].sum() / counts.sum()))


def smallest_p(sizes: Sequence[tuple[int, int]]) -> float:
    """The smallest p-value that so many base and new runs, seed by seed, can give."""
    return 1.0 / math.prod(math.comb(base + new, new) for base, new in sizes)


def more_needed(sizes: Sequence[tuple[int, int]], level: float, most: int = 10_000) -> int | None:
    """How many more new runs of one seed (the one with most base runs) the test needs before it can ever fire at that
    level; 0: it can. None: no number would do."""
    if not sizes:
        return None
    largest = max(range(len(sizes)), key=lambda i: sizes[i][0])
    for more in range(most):
        if smallest_p([(b, n + more * (i == largest)) for i, (b, n) in enumerate(sizes)]) <= level:
            return more
    return None


def shift(strata: Sequence[Stratum]) -> float:
    """How far new lies above base: the median of all differences within seeds (Hodges, Lehmann 1963)."""
    with np.errstate(invalid="ignore"):
        gaps = np.concatenate([np.subtract.outer(np.array(s.new), np.array(s.base)).ravel() for s in strata])
    gaps[np.isnan(gaps)] = 0.0  # both infinite: no difference
    gaps.sort()
    middle = gaps[(len(gaps) - 1) // 2], gaps[len(gaps) // 2]
    return float(middle[0] if middle[0] == middle[1] else (middle[0] + middle[1]) / 2)


def spread(groups: Sequence[Sequence[float]]) -> float | None:
    """Standard deviation within a seed, pooled over the seeds; None where no seed has two runs."""
    repeated = [np.array(values) for values in groups if len(values) > 1]
    if not repeated:
        return None
    if not all(np.isfinite(values).all() for values in repeated):
        return math.inf
    squares = sum(float(((values - values.mean()) ** 2).sum()) for values in repeated)
    return math.sqrt(squares / sum(len(values) - 1 for values in repeated))


def detectable(
    base: Sequence[Sequence[float]], sizes: Sequence[int], *, level: float, tolerance: float, power: float = POWER
) -> float | None:
    """The smallest shift that the test finds with that probability: base and new are both drawn (with replacement)
    from the base of their seed, and new is then raised until the test fires and its shift exceeds the tolerance. None
    where so many runs can never make it fire, or values are infinite."""
    if not all(math.isfinite(v) for values in base for v in values):
        return None
    critical = _critical(tuple((len(b), n) for b, n in zip(base, sizes, strict=True)), level)
    if critical is None:
        return None
    rng = np.random.default_rng(RESAMPLING_SEED)
    gaps = []
    for values, new in zip(base, sizes, strict=True):
        old, raised = (rng.choice(np.array(values), (RESAMPLES, size)) for size in (len(values), new))
        gaps.append((raised[:, :, None] - old[:, None, :]).reshape(RESAMPLES, -1))
    ordered = np.sort(np.concatenate(gaps, axis=1), axis=1)
    # Raised by more than this, new lies above base in `critical` pairs (Mann and Whitney count pairs for rank sums; a
    # tie counts for neither, so this finds no more than the test does), and the median of all gaps is beyond the
    # tolerance.
    enough = np.maximum(-ordered[:, -critical], tolerance - np.median(ordered, axis=1))
    return max(tolerance, float(np.sort(enough)[math.ceil(power * RESAMPLES) - 1]))


@cache
def _critical(sizes: tuple[tuple[int, int], ...], level: float) -> int | None:
    """The smallest number of pairs in which new lies above base that has at most that probability, without ties."""
    counts = np.ones(1)
    lowest = 0
    for base, new in sizes:
        counts = np.convolve(counts, _subset_sums(tuple(range(1, base + new + 1)), new))
        lowest += new * (new + 1) // 2
    tail = counts[::-1].cumsum()[::-1] / counts.sum()
    reached = np.flatnonzero(tail <= level * (1 + 1e-12))
    reached = reached[reached - lowest <= sum(base * new for base, new in sizes)]
    return int(reached[0]) - lowest if len(reached) else None


def _doubled_ranks(values: Sequence[float]) -> list[int]:
    """Twice the midranks, which makes them whole numbers."""
    from scipy.stats import rankdata

    return [round(2 * float(rank)) for rank in rankdata(values)]


@cache
def _subset_sums(weights: tuple[int, ...], size: int) -> NDArray[np.float64]:
    """How many subsets of that size have each sum of weights."""
    counts = np.zeros((size + 1, sum(sorted(weights)[len(weights) - size :]) + 1))
    counts[0, 0] = 1.0
    for weight in weights:
        for taken in range(size, 0, -1):
            counts[taken, weight:] += counts[taken - 1, : counts.shape[1] - weight]
    found: NDArray[np.float64] = counts[size]
    return found
