"""The light driver of the virtual engine takes the same steps as Ray Tune's own controller, to the last event."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from bench.journal import encode
from bench.profile import Profile
from bench.space import Choice
from bench.strategy import Request, Strategy, TunePlan, load_strategy
from bench.study import Study
from tests.engines.oracle import ray_decides
from tests.engines.simulated import JUDGED_BY, profile, simulated, tune_strategy, virtual_study

Draw = Callable[[Random], dict[str, Any] | Strategy]
"""Draws a strategy's settings, or a strategy that is none of the suite's own."""


def _asynchronous_pbt(rng: Random) -> Strategy:
    interval, fraction = rng.randint(1, 3), rng.choice((0.25, 0.5))

    def build(request: Request) -> TunePlan:
        from ray.tune.schedulers import PopulationBasedTraining
        from ray.tune.search import BasicVariantGenerator

        domains = request.space.tune()
        own = {d.name: list(d.values) if isinstance(d, Choice) else domains[d.name] for d in request.space.dimensions}

        def within_bounds(config: dict[str, Any]) -> dict[str, Any]:
            return config | {"learning_rate": min(max(config["learning_rate"], 1e-4), 1e-2)}

        scheduler = PopulationBasedTraining(
            **JUDGED_BY, perturbation_interval=interval, quantile_fraction=fraction, hyperparam_mutations=own,
            custom_explore_fn=within_bounds, log_config=False,
        )  # fmt: skip
        return TunePlan(BasicVariantGenerator(random_state=request.seed), scheduler, domains)

    return tune_strategy("pbt-asynchronous", build, copies=True)


def _median(rng: Random) -> Strategy:
    given = {
        "grace_period": rng.randint(1, 3),
        "min_samples_required": rng.randint(1, 3),
        "hard_stop": rng.random() < 0.7,
    }

    def build(request: Request) -> TunePlan:
        from ray.tune.schedulers import MedianStoppingRule
        from ray.tune.search import BasicVariantGenerator

        searcher = BasicVariantGenerator(random_state=request.seed)
        return TunePlan(searcher, MedianStoppingRule(**JUDGED_BY, **given), request.space.tune())

    return tune_strategy("median", build)


def _limited(rng: Random) -> Strategy:
    inner = load_strategy(rng.choice(("tpe", "asha-tpe", "bohb")))
    most, batch = rng.randint(1, 8), rng.random() < 0.3

    def build(request: Request) -> TunePlan:
        from ray.tune.search import ConcurrencyLimiter

        plan = inner.build(replace(request, settings=inner.resolve({})))
        assert isinstance(plan, TunePlan)
        return replace(plan, search_alg=ConcurrencyLimiter(plan.search_alg, most, batch=batch))

    return tune_strategy(f"{inner.name}-limited", build)


def _asha(rng: Random) -> dict[str, Any]:
    return {"grace_period": 1, "reduction_factor": rng.randint(2, 4), "brackets": rng.randint(1, 2)}


def _halving(rng: Random) -> dict[str, Any]:
    return {"reduction_factor": rng.randint(2, 4)}


def _pbt(rng: Random) -> dict[str, Any]:
    return {"perturbation_interval": rng.randint(1, 3), "quantile_fraction": rng.choice((0.25, 0.5))}


def _nothing(rng: Random) -> dict[str, Any]:
    return {}


STRATEGIES: dict[str, Draw] = {
    "random": _nothing,
    "tpe": lambda rng: {"n_startup_trials": rng.randint(1, 5)},
    "asha": _asha,
    "asha-tpe": lambda rng: {"reduction_factor": rng.randint(2, 4)},
    "hyperband": _halving,
    "bohb": _halving,
    "pbt": _pbt,
    "pbt-asynchronous": _asynchronous_pbt,
    "median": _median,
    "limited": _limited,
}
CASES = {"tpe": 20, "asha-tpe": 40, "limited": 40}
"""Fewer where Optuna takes its time."""


def case(name: str, seed: int) -> tuple[Study, Strategy, Profile]:
    """One of a strategy's random cases."""
    rng = Random(f"{name} {seed}")
    drawn = STRATEGIES[name](rng)
    strategy, settings = (drawn, {}) if isinstance(drawn, Strategy) else (load_strategy(name), drawn)
    nodes = rng.randint(1, 3)
    of = virtual_study(
        strategy,
        nodes=nodes,
        slots=rng.randint(1, 6 // nodes),
        seed=seed,
        samples=rng.randint(1, 30),
        epochs=rng.randint(1, 9),
        settings=strategy.resolve({key: str(value) for key, value in settings.items()}),
        failure_rate=rng.choice((0.0, 0.05)),
        queue_wait_s=rng.choice((0.0, 60.0)),
        speed=rng.choice((1.0, 2.5)),
    )
    overheads = {"worker_startup_s": 20.0, "trial_startup_s": 5.0, "restore_s": 1.0, "engine_startup_s": 1.5}
    return of, strategy, profile(**overheads, scheduler_latency_s=rng.choice((0.0, 0.02)))


def told(of: Study, strategy: Strategy, on: Profile, *, quick: bool = True) -> list[str]:
    """The journal of a run."""
    events, _ = simulated(of, strategy, on, quick=quick)
    return list(map(encode, events))


@pytest.mark.slow
@pytest.mark.parametrize("name", STRATEGIES)
def test_both_controllers_write_the_same_journal(name: str) -> None:
    """None stalls, though processes die: what waits for ever is in test_schedulers."""
    for seed in range(CASES.get(name, 80)):
        given = case(name, seed)
        light = told(*given)
        with ray_decides():
            heavy = told(*given, quick=False)
        assert light == heavy, f"case {name} {seed}"
        assert '"run_interrupted"' not in light[-1], f"case {name} {seed} stalls"
