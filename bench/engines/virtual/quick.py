"""Shortcuts through the hot spots of Ray Tune and HpBandSter while time is virtual: the same numbers, found sooner.

No decision may differ: tests compare whole journals with and without them.
"""

from __future__ import annotations

import bisect
import contextlib
import copy
import heapq
import math
import sys
from collections.abc import Iterator
from itertools import count, islice
from types import SimpleNamespace
from typing import Any

import numpy as np
from ray.tune.experiment import Trial
from ray.tune.schedulers import async_hyperband, pbt
from ray.tune.search import basic_variant, search_generator, variant_generator
from ray.tune.search.sample import Categorical, Domain, Float, Integer
from scipy import special, stats


@contextlib.contextmanager
def shortcuts() -> Iterator[None]:
    """Put the shortcuts in place; all is put back afterwards."""
    with contextlib.ExitStack() as stack:

        def put(owner: Any, name: str, value: Any) -> None:
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, value)

        put(basic_variant, "generate_variants", variants)
        put(variant_generator, "copy", SimpleNamespace(deepcopy=copied, copy=copy.copy))
        put(search_generator, "copy", SimpleNamespace(deepcopy=copied, copy=copy.copy))
        put(async_hyperband._Bracket, "cutoff", cutoff)
        put(pbt._PBTTrialState, "__repr__", object.__repr__)  # formatted for messages that nobody reads
        put(pbt.PopulationBasedTraining, "choose_trial_to_run", choose_in_population)
        bohb = sys.modules.get("hpbandster.optimizers.config_generators.bohb")
        if bohb is not None:  # a strategy has loaded it
            put(bohb, "sps", SimpleNamespace(truncnorm=SimpleNamespace(rvs=truncated_normal)))
            put(bohb.sm.nonparametric.KDEMultivariate, "pdf", density)
        yield


def variants(
    spec: dict[str, Any], constant_grid_search: bool = False, random_state: Any = None
) -> Iterator[tuple[dict[tuple[str, str], Any], dict[str, Any]]]:
    """Tune's variants of a search space: a flat one without a grid has a single one, each domain sampled in turn."""
    space = spec["config"]
    if not space or not all(isinstance(domain, (Float, Integer, Categorical)) for domain in space.values()):
        yield from variant_generator.generate_variants(spec, constant_grid_search, random_state)
        return
    drawn = {name: domain.sample(spec, random_state=random_state) for name, domain in space.items()}
    yield {("config", name): value for name, value in drawn.items()}, {**spec, "config": drawn}


def copied(value: Any) -> Any:
    """A deep copy of containers; search domains are shared, since nothing changes one."""
    if isinstance(value, dict):
        return {key: copied(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [copied(inner) for inner in value]
    return value if isinstance(value, (Domain, int, float, str)) else copy.deepcopy(value)


def cutoff(self: Any, recorded: dict[str, float]) -> float | None:
    """ASHA's percentile of a rung, whose results are kept in order instead of being sorted each time."""
    if not recorded:
        return None
    ordered: list[float] = self.__dict__.setdefault("_ordered", {}).setdefault(id(recorded), [])
    for value in islice(reversed(recorded.values()), len(recorded) - len(ordered)):
        bisect.insort(ordered, value)
    return percentile(ordered, (1 - 1 / self.rf) * 100)


def percentile(ordered: list[float], q: float) -> float:
    """`numpy.percentile(ordered, q)` of ascending numbers, bit for bit."""
    position = (len(ordered) - 1) * (q / 100)
    below = math.floor(position)
    low, high = ordered[below], ordered[min(below + 1, len(ordered) - 1)]
    share, width = position - below, high - low
    return high - width * (1 - share) if share >= 0.5 else low + width * share


def choose_in_population(self: Any, controller: Any) -> Any | None:
    """The waiting trial that is the furthest behind; of several, the first. Keeps them in a heap."""
    states = self._trial_state
    heap: list[tuple[float, int, int, Any]] = self.__dict__.setdefault("_waiting", [])
    numbers: Iterator[int] = self.__dict__.setdefault("_numbers", count())
    for trial in controller.waited:
        heapq.heappush(heap, (states[trial].last_train_time, trial.position, next(numbers), trial))
    controller.waited.clear()
    while heap:
        time, position, _, trial = heap[0]
        now = states[trial].last_train_time
        if trial.status in (Trial.PENDING, Trial.PAUSED) and (time, position) == (now, trial.position):
            return trial if not self._synch or now < self._next_perturbation_sync else None
        heapq.heappop(heap)
    return None


def truncated_normal(a: float, b: float, *, loc: float, scale: float) -> float:
    """`scipy.stats.truncnorm.rvs(a, b, loc=loc, scale=scale)` for one number from numpy's global generator: the same
    draw and the same arithmetic, without the arrays around it."""
    if not a < 0 < b:
        return float(stats.truncnorm.rvs(a, b, loc=loc, scale=scale))
    q = np.random.uniform()
    mass = special.log1p(-special.ndtr(a) - special.ndtr(-b))
    return float(special.ndtri_exp(log_sum(special.log_ndtr(a), np.log(q) + mass)) * scale + loc)


def log_sum(log_p: float, log_q: float) -> float:
    """ln(p + q), as `scipy.special.logsumexp` of the two computes it."""
    if log_p == log_q:
        return float(np.log(2.0) + log_p)
    largest, other = max(log_p, log_q), min(log_p, log_q)
    return float(np.log1p(np.exp(other - largest)) + largest)


def density(self: Any, point: list[float]) -> float:
    """statsmodels' kernel density of mixed data at one point: its Gaussian and Aitchison-Aitken kernels, with the
    levels of each variable counted once."""
    data, widths = self.data, self.bw
    levels = self.__dict__.setdefault("_levels", [len(set(column)) for column in data.T.tolist()])
    kernels = np.empty(data.shape)
    continuous = [kind == "c" for kind in self.var_type]
    with np.errstate(divide="ignore", invalid="ignore"):  # a variable that has one level in the data
        for i, (width, value) in enumerate(zip(widths, point, strict=True)):
            if continuous[i]:
                kernels[:, i] = (1.0 / np.sqrt(2 * np.pi)) * np.exp(-((data[:, i] - value) ** 2) / (width**2 * 2.0))
            else:
                kernels[:, i] = np.where(data[:, i] == value, 1 - width, width / np.float64(levels[i] - 1))
        at_point = kernels.prod(axis=1) / np.prod(widths[continuous])
        return float(at_point.sum(axis=0) / self.nobs)
