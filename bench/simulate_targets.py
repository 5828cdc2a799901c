"""The two losses that a simulated comparison asks for, fixed before any strategy is looked at."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from bench.errors import UserError
from bench.hyperparameters import Value
from bench.seeds import child_seed
from bench.space import Choice, Dimension, LogUniform, SearchSpace, Uniform

if TYPE_CHECKING:
    import numpy as np

    from bench.curve_model import CurveModel
    from bench.simulate_many import Outcome
    from bench.trials import Config

RERUNS = 10
"""Of each seed's winner of the grid."""
HARD_QUANTILE = 0.02
HARD_DRAWS = 2000
"""theta_2: so good is the best fiftieth of so many configurations drawn at random."""


@dataclass(frozen=True, slots=True)
class Targets:
    """Losses in nats. `grid`, theta_1: as good as the manual grid. `hard`, theta_2: as good as a declared quantile of a
    large random search."""

    grid: float
    hard: float


def targets(manual: Iterable[Outcome], model: CurveModel, space: SearchSpace, *, epochs: int) -> Targets:
    """Both targets of a study of so many epochs. Raises UserError where the grid has no winner."""
    return Targets(grid=target_loss(manual, model, epochs=epochs), hard=hard_target_loss(model, space, epochs=epochs))


def target_loss(manual: Iterable[Outcome], model: CurveModel, *, epochs: int) -> float:
    """theta_1 in nats: the median loss, after all epochs, of re-runs of the manual grid's winners.

    Each seed's winner is run again `RERUNS` times under other seeds: the loss with which it won is the lowest of a
    grid, and too good. Raises UserError where no seed has a winner or most re-runs do not end with a finite loss.
    """
    losses = [
        _last_loss(model, outcome.winner, seed=child_seed(outcome.seed, f"re-run {number}"), epochs=epochs)
        for outcome in manual
        if outcome.winner is not None
        for number in range(1, RERUNS + 1)
    ]
    found = median(losses) if losses else math.inf
    if math.isinf(found):
        raise UserError(
            "The manual grid has no winner that could be a target: give a longer time budget, or a range of learning "
            "rates in which training does not diverge."
        )
    return found


def hard_target_loss(model: CurveModel, space: SearchSpace, *, epochs: int) -> float:
    """theta_2 in nats: the loss, after all epochs, that `HARD_QUANTILE` of `HARD_DRAWS` configurations reach, drawn
    independently as random search draws them, each under a seed of its own. It is the same for every study on the
    space."""
    import numpy as np

    rng = np.random.default_rng(child_seed(0, "hard target"))
    losses = sorted(
        _last_loss(model, draw_config(space, rng), seed=child_seed(number, "hard target"), epochs=epochs)
        for number in range(HARD_DRAWS)
    )
    return losses[math.ceil(HARD_QUANTILE * HARD_DRAWS) - 1]


def draw_config(space: SearchSpace, rng: np.random.Generator) -> Config:
    """One configuration, each hyperparameter independently: learning rates uniform in their logarithm, choices equally
    likely."""
    return {d.name: _draw(d, rng) for d in space.dimensions}


def _draw(d: Dimension, rng: np.random.Generator) -> Value:
    match d:
        case LogUniform():
            return min(max(math.exp(rng.uniform(math.log(d.lower), math.log(d.upper))), d.lower), d.upper)
        case Uniform():
            return float(rng.uniform(d.lower, d.upper))
        case Choice():
            return d.values[int(rng.integers(len(d.values)))]


def _last_loss(model: CurveModel, config: Config, *, seed: int, epochs: int) -> float:
    """Under a seed that no other trial has: what the trials of a run have in common is drawn anew too."""
    loss = model.draw(config, seed=seed, trial="target").losses[epochs - 1]
    return math.inf if loss is None else loss
