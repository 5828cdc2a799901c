"""The search space serves the grid, Ray Tune and hpbandster alike, and refuses what makes no sense."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import UserError
from bench.hyperparameters import Value
from bench.space import Choice, LogUniform, SearchSpace, Uniform, plain

SPACE = SearchSpace(
    (
        LogUniform("learning_rate", 5e-6, 2e-4, (1e-5, 2e-4, 5e-6)),
        Choice("batch_size", (1, 2)),
        Choice("weight_decay", (0.0, 0.01)),
    )
)


def test_the_grid_is_the_workshops_in_its_order() -> None:
    points = [tuple(point.values()) for point in SPACE.grid()]
    assert points[:5] == [(1e-5, 1, 0.0), (1e-5, 1, 0.01), (1e-5, 2, 0.0), (1e-5, 2, 0.01), (2e-4, 1, 0.0)]
    assert len(points) == 12


def test_data_and_back() -> None:
    assert SearchSpace.from_dict(json.loads(json.dumps(SPACE.to_dict()))) == SPACE


def test_overrides_reach_every_view_of_the_space() -> None:
    changed = SPACE.override(lr_lower=1e-5, lr_upper=1e-3, bs_choices=(4,), wd_choices=(0.1, 0.2, 0.3))
    assert [point["learning_rate"] for point in changed.grid()[::3]] == pytest.approx([1e-4, 1e-3, 1e-5])
    assert {point["batch_size"] for point in changed.grid()} == {4}
    tune = changed.tune()
    assert (tune["learning_rate"].lower, tune["learning_rate"].upper) == (1e-5, 1e-3)
    assert tune["weight_decay"].categories == [0.1, 0.2, 0.3]
    configspace = changed.configspace(0)
    assert configspace["learning_rate"].log
    assert (configspace["learning_rate"].lower, configspace["learning_rate"].upper) == (1e-5, 1e-3)


def test_no_override_changes_nothing() -> None:
    assert SPACE.override(lr_lower=5e-6) == SPACE


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ({"lr_lower": 1e-3}, r"\[0.001, 0.0002\]"),
        ({"lr_lower": 0.0}, "0 < lower < upper"),
        ({"lr_upper": math.inf}, "inf"),
        ({"bs_choices": ()}, "no values"),
        ({"bs_choices": (0, 8)}, "1 or more"),
        ({"bs_choices": (8, 8)}, "repeat"),
        ({"wd_choices": (-0.1,)}, "0 or more"),
        ({"wd_choices": (math.nan,)}, "0 or more"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(override: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        SPACE.override(**override)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_grid_outside_its_range_is_refused() -> None:
    with pytest.raises(ValueError, match="outside its range"):
        LogUniform("learning_rate", 1e-5, 1e-4, (1e-3,))


@pytest.mark.parametrize(("value", "edge"), [(5e-6, True), (2e-4, True), (5.2e-6, True), (3e-5, False)])
def test_edges_of_the_learning_rate(value: float, edge: bool) -> None:
    assert SPACE.edges({"learning_rate": value, "batch_size": 1, "weight_decay": 0.0}) == ["learning_rate"] * edge


@given(st.floats(1e-9, 1e-2), st.floats(1.001, 1e6))
def test_every_grid_point_lies_within_any_bounds(lower: float, ratio: float) -> None:
    dimension = LogUniform("learning_rate", 1e-6, 1.0).bounded(lower, lower * ratio)
    assert all(dimension.contains(value) for value in dimension.grid)


WIDE = SearchSpace(
    (
        LogUniform("learning_rate", 1e-4, 1e-2, (1e-3,)),
        Uniform("lora_dropout", 0.0, 0.2, (0.0, 0.1)),
        Choice("optimizer", ("adamw_torch", "sgd"), ("sgd",)),
        Choice("gradient_accumulation", (1, 2)),
    )
)


def test_words_and_linear_ranges_reach_every_view_of_the_space() -> None:
    assert SearchSpace.from_dict(json.loads(json.dumps(WIDE.to_dict()))) == WIDE
    assert WIDE.to_dict()["optimizer"] == {"choice": ["adamw_torch", "sgd"], "grid": ["sgd"]}
    assert [tuple(p.values()) for p in WIDE.grid()][:3] == [
        (1e-3, 0.0, "sgd", 1), (1e-3, 0.0, "sgd", 2), (1e-3, 0.1, "sgd", 1)
    ]  # fmt: skip
    tune = WIDE.tune()
    assert (tune["lora_dropout"].lower, tune["lora_dropout"].upper) == (0.0, 0.2)
    assert tune["optimizer"].categories == ["adamw_torch", "sgd"]
    configspace = WIDE.configspace(0)
    assert not configspace["lora_dropout"].log
    drawn = plain(dict(configspace.sample_configuration()))
    assert type(drawn["optimizer"]) is str
    assert all(WIDE[name].contains(value) for name, value in drawn.items())


def test_a_space_of_old_is_written_as_of_old() -> None:
    """Run ids are made of it."""
    assert json.dumps(SPACE.to_dict()) == (
        '{"learning_rate": {"log_uniform": [5e-06, 0.0002], "grid": [1e-05, 0.0002, 5e-06]}, '
        '"batch_size": {"choice": [1, 2]}, "weight_decay": {"choice": [0.0, 0.01]}}'
    )


def test_a_word_is_in_no_range_and_nothing_lies_beyond_zero() -> None:
    assert not any(WIDE[name].contains("sgd") for name in ("learning_rate", "lora_dropout"))
    at: dict[str, Value] = {"learning_rate": 1e-3, "lora_dropout": 0.0, "optimizer": "sgd", "gradient_accumulation": 1}
    assert WIDE.edges(at) == []
    assert WIDE.edges({**at, "lora_dropout": 0.199}) == ["lora_dropout"]


@pytest.mark.parametrize("data", [{"choice": [1], "uniform": [0, 1]}, {"grid": [1]}, {}, {"choice": [1], "width": 2}])
def test_a_dimension_of_two_kinds_or_none_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected one of 'choice', 'log_uniform' and 'uniform'"):
        SearchSpace.from_dict({"lora_rank": data})
