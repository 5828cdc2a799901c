"""Every searcher on a space with words and linear ranges, and what a copy in PBT takes over."""

from __future__ import annotations

import random
from typing import Any

import pytest

from bench.hyperparameters import Value
from bench.space import Choice, LogUniform, SearchSpace, Uniform
from bench.strategy import GridPlan, Request, TunePlan, load_strategy

SPACE = SearchSpace(
    (
        LogUniform("learning_rate", 1e-4, 1e-2, (1e-3,)),
        Choice("batch_size", (8, 16)),
        Choice("optimizer", ("adamw_torch", "adafactor", "sgd")),
        Choice("lr_scheduler", ("linear", "cosine")),
        Choice("lora_rank", (2, 4)),
        Uniform("lora_dropout", 0.0, 0.2, (0.0, 0.1)),
        Choice("precision", ("fp32", "bf16")),
    )
)


def plan(name: str) -> GridPlan | TunePlan:
    settings = load_strategy(name).resolve({})
    return load_strategy(name).plan(Request(SPACE, samples=12, epochs=4, slots=2, seed=5, settings=settings))


@pytest.mark.parametrize("name", ["tpe", "asha-tpe", "bohb"])
def test_models_learn_from_words(name: str) -> None:
    import numpy as np

    np.random.seed(0)
    made = plan(name)
    assert isinstance(made, TunePlan)
    for i in range(30):
        config = made.search_alg.suggest(f"t{i}")
        assert set(config) == set(SPACE.names)
        for key, value in config.items():
            assert SPACE[key].contains(value), (key, value)
            assert type(value) in (int, float, str)
        result = {"objective": 1.0 + (config["optimizer"] != "sgd") + config["lora_dropout"], "training_iteration": 4}
        if name == "bohb":
            made.search_alg.on_trial_result(f"t{i}", result | {"hyperband_info": {"budget": 4}})
        else:
            made.search_alg.on_trial_complete(f"t{i}", result)
    assert any((made.model_based or {}).values())


def test_the_grid_holds_words() -> None:
    made = plan("manual")
    assert isinstance(made, GridPlan)
    assert len(made.configs) == 1 * 2 * 3 * 2 * 2 * 2 * 2
    assert {config["optimizer"] for config in made.configs} == {"adamw_torch", "adafactor", "sgd"}


def test_a_copy_has_its_donors_value_of_what_comes_with_the_weights() -> None:
    """By Ray's own way to make a copy's configuration, many times over."""
    from ray.tune.schedulers.pbt import _explore

    made = plan("pbt")
    assert isinstance(made, TunePlan)
    scheduler: Any = made.scheduler
    assert set(scheduler._hyperparam_mutations) == {"learning_rate", "batch_size", "lr_scheduler", "lora_dropout"}
    donor: dict[str, Value] = {
        "learning_rate": 9e-3, "batch_size": 8, "optimizer": "sgd", "lr_scheduler": "cosine", "lora_rank": 2,
        "lora_dropout": 0.19, "precision": "bf16",
    }  # fmt: skip
    random.seed(1)
    copies = [
        _explore(
            dict(donor), scheduler._hyperparam_mutations, 0.25, (1.2, 0.8), scheduler._custom_explore_fn
        )[0]
        for _ in range(60)
    ]  # fmt: skip
    for copy in copies:
        assert {n: copy[n] for n in ("optimizer", "lora_rank", "precision")} == {
            "optimizer": "sgd", "lora_rank": 2, "precision": "bf16"
        }  # fmt: skip
        assert all(SPACE[name].contains(value) for name, value in copy.items()), copy
    assert {copy["lr_scheduler"] for copy in copies} == {"linear", "cosine"}
    assert len({copy["learning_rate"] for copy in copies}) > 2
