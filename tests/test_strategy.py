"""Finding strategies, their settings, and what they refuse."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.space import SearchSpace
from bench.strategy import GridPlan, Request, TunePlan, load_strategy, strategy_names
from bench.workload import load_workload

SPACE: SearchSpace = load_workload("bloom560m-squad").search_space

OWN = """
from bench.strategy import GridPlan, Setting, Strategy

def build(request):
    low = request.space["learning_rate"].lower
    return GridPlan(tuple(
        {"learning_rate": low * request.settings["factor"] ** i, "batch_size": 1, "weight_decay": 0.0}
        for i in range(request.samples)
    ))

STRATEGY = Strategy(
    name="ladder", summary="learning rates, each a factor above the last", build=build, serial=True,
    settings={"factor": Setting(2.0, "from one learning rate to the next")},
)
"""


def request(name: str, **changes: object) -> Request:
    settings = load_strategy(name).resolve({})
    return replace(Request(SPACE, samples=12, epochs=5, slots=2, seed=7, settings=settings), **changes)  # type: ignore[arg-type]


def test_names() -> None:
    assert {"manual", "random", "asha", "asha-tpe", "hyperband", "bohb", "pbt", "tpe"} <= set(strategy_names())


def test_listing_loads_neither_ray_nor_torch() -> None:
    code = (
        "import sys; from bench.strategy import load_strategy, strategy_names;"
        "[load_strategy(n) for n in strategy_names()]; assert not {'ray', 'torch', 'optuna'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", strategy_names())
def test_plans_are_made_of_rays_own_classes(name: str) -> None:
    plan = load_strategy(name).build(request(name))
    if name == "manual":
        assert isinstance(plan, GridPlan)
        assert list(plan.configs) == SPACE.grid()
        return
    from ray.tune.schedulers import TrialScheduler
    from ray.tune.search import SearchAlgorithm, Searcher

    assert isinstance(plan, TunePlan)
    assert isinstance(plan.scheduler, TrialScheduler)
    assert isinstance(plan.search_alg, (SearchAlgorithm, Searcher))


@pytest.mark.parametrize("name", ["tpe", "asha-tpe", "bohb"])
def test_suggestions_lie_in_the_space_and_repeat_with_the_seed(name: str) -> None:
    import numpy as np

    def suggestions(seed: int) -> list[dict[str, float]]:
        np.random.seed(seed)
        plan = load_strategy(name).build(request(name, seed=seed))
        assert isinstance(plan, TunePlan)
        drawn = [plan.search_alg.suggest(f"t{i}") for i in range(4)]
        assert set(plan.model_based or {}) == {"t0", "t1", "t2", "t3"}
        return drawn

    assert suggestions(3) == suggestions(3) != suggestions(4)
    for config in suggestions(3):
        assert 5e-6 <= config["learning_rate"] <= 2e-4
        assert type(config["batch_size"]) is int
        assert SPACE["weight_decay"].contains(config["weight_decay"])


def test_bohb_says_when_its_model_chose() -> None:
    """2(d + 1) results at one budget make a model; then some suggestions come from it."""
    import numpy as np

    np.random.seed(0)
    plan = load_strategy("bohb").build(request("bohb"))
    assert isinstance(plan, TunePlan)
    searcher = plan.search_alg
    for i in range(40):
        config = searcher.suggest(f"t{i}")
        loss = abs(np.log(config["learning_rate"] / 3e-5)) + config["batch_size"]
        searcher.on_trial_result(f"t{i}", {"objective": loss, "hyperband_info": {"budget": 5}})
    chose = list((plan.model_based or {}).values())
    assert not any(chose[:8])
    assert 10 <= sum(chose) < 40


def test_settings_are_parsed_by_the_type_of_their_default() -> None:
    bohb = load_strategy("bohb")
    resolved = bohb.resolve({"reduction_factor": "4", "min_bandwidth": "0.01"})
    assert resolved == bohb.resolve({}) | {"reduction_factor": 4, "min_bandwidth": 0.01}
    assert load_strategy("tpe").resolve({"multivariate": "true"})["multivariate"] is True


@pytest.mark.parametrize(
    ("name", "overrides", "words"),
    [
        ("bohb", {"reduction_facto": "4"}, "did you mean 'reduction_factor'"),
        ("bohb", {"reduction_factor": "four"}, "whole number"),
        ("tpe", {"multivariate": "maybe"}, "true or false"),
        ("manual", {"x": "1"}, "no setting 'x'"),
    ],
)
def test_bad_settings_are_refused(name: str, overrides: dict[str, str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        load_strategy(name).resolve(overrides)


def test_a_strategy_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "ladder.py"
    path.write_text(OWN)
    strategy = load_strategy(str(path))
    plan = strategy.build(replace(request("manual"), samples=3, settings=strategy.resolve({"factor": "10"})))
    assert isinstance(plan, GridPlan)
    assert [config["learning_rate"] for config in plan.configs] == pytest.approx([5e-6, 5e-5, 5e-4])
    assert strategy.source == path


@pytest.mark.parametrize(
    ("text", "words"),
    [(None, "no strategy file"), ("x = 1", "does not set STRATEGY"), ("import nothing_here", "does not load")],
)
def test_a_file_that_is_no_strategy(text: str | None, words: str, tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=words):
        load_strategy(str(path))


@pytest.mark.parametrize("name", ["bohb", "hyperband", "pbt"])
def test_who_pauses_or_copies_refuses_a_workload_that_cannot_be_saved(name: str) -> None:
    workload = replace(load_workload("tiny-squad"), checkpoints=False)
    with pytest.raises(UserError, match="cannot save them"):
        load_strategy(name).check(workload)
    load_strategy("random").check(workload)


def test_who_takes_several_metrics() -> None:
    both = ("eval_loss", "memory_mib")
    for name in strategy_names():
        strategy = load_strategy(name)
        strategy.check_metrics(("samples_per_s",))
        if strategy.several:
            strategy.check_metrics(both)
        else:
            with pytest.raises(UserError, match=r"use a strategy that takes several \(manual, random, tpe\)"):
                strategy.check_metrics(both)
    with pytest.raises(UserError, match="none has a cost of its own"):
        load_strategy("pbt").check_metrics(("trial_device_min",))
