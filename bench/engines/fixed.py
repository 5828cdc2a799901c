"""Configurations that are known before anything is trained, so that each trial can be a job of its own."""

from __future__ import annotations

from bench.errors import UserError
from bench.space import plain
from bench.strategy import GridPlan, Strategy, TunePlan


def fixed(plan: GridPlan | TunePlan, strategy: Strategy, samples: int) -> GridPlan:
    """All configurations of a plan in the order of its trials: the same as an engine would suggest. Raises UserError
    where they depend on results."""
    if isinstance(plan, GridPlan):
        return plan
    from ray.tune.schedulers import FIFOScheduler
    from ray.tune.search.basic_variant import BasicVariantGenerator

    from bench.engines.virtual.controller import wrapped
    from bench.engines.virtual.trial import Spec, virtual_trials

    if type(plan.scheduler) is not FIFOScheduler or not isinstance(plan.search_alg, BasicVariantGenerator):
        raise UserError(
            f"Strategy {strategy.name} decides by results, so its trials cannot be jobs apart: submit it without "
            "--array, or take manual or random."
        )
    with virtual_trials():
        search_alg = wrapped(plan.search_alg)
        search_alg.add_configurations([Spec(plan.param_space, samples)])
        configs = []
        while (trial := search_alg.next_trial()) is not None:
            configs.append(plain(trial.config))
    return GridPlan(tuple(configs))
