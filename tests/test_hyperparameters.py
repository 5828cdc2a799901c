"""The registry of what can be tuned: what it allows, what it refuses, and the documentation that is made of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import hyperparameters
from bench.hyperparameters import HYPERPARAMETERS, find, shown

DOCS = Path(__file__).resolve().parents[1] / "docs" / "spaces.md"


def table() -> list[str]:
    """The rows of the table in docs/spaces.md."""
    return [
        f"| `{h.name}` | {h.short} | {h.meaning} | {h.allowed} | {h.default} | {'yes' if h.midway else 'no'} |"
        for h in HYPERPARAMETERS
    ]


def test_the_documentation_holds_the_registry() -> None:
    lines = DOCS.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("| `") and line.count("|") == 7] == table()


def test_names_and_short_names_are_unique() -> None:
    for field in ("name", "short"):
        values = [getattr(h, field) for h in HYPERPARAMETERS]
        assert len(set(values)) == len(values)


def test_the_words_are_transformers_own() -> None:
    from transformers.trainer_utils import SchedulerType
    from transformers.training_args import OptimizerNames

    assert set(find("optimizer").words) <= {o.value for o in OptimizerNames}
    assert set(find("lr_scheduler").words) <= {s.value for s in SchedulerType}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", 1e-5),
        ("batch_size", 1),
        ("weight_decay", 0),
        ("max_grad_norm", 0.0),
        ("warmup_fraction", 0.999),
        ("lora_dropout", 0.0),
        ("zero_stage", 3),
        ("precision", "bf16"),
    ],
)
def test_what_it_may_be(name: str, value: object) -> None:
    find(name).check([value])


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("learning_rate", 0.0, "learning_rate cannot be 0.0; it is a real, more than 0"),
        ("learning_rate", float("inf"), "cannot be inf"),
        ("learning_rate", float("nan"), "cannot be nan"),
        ("learning_rate", "fast", "cannot be 'fast'"),
        ("batch_size", 8.0, "it is a whole number of 1 or more"),
        ("batch_size", True, "cannot be True"),
        ("batch_size", 0, "cannot be 0"),
        ("warmup_fraction", 1, "0 or more and less than 1"),
        ("zero_stage", 4, "0 or more and at most 3"),
        ("optimizer", "adam", "it is one of adamw_torch, adafactor"),
        ("precision", 16, "it is one of fp32, bf16, fp16"),
    ],
)
def test_what_it_may_not_be(name: str, value: object, told: str) -> None:
    with pytest.raises(ValueError, match=name) as caught:
        find(name).check([value])
    assert told in str(caught.value)


def test_an_unknown_name_is_told_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="no hyperparameter 'lora_rnk'; did you mean 'lora_rank'"):
        find("lora_rnk")


def test_what_belongs_to_the_weights_is_not_changed_midway() -> None:
    fixed = {h.name for h in HYPERPARAMETERS if not hyperparameters.midway(h.name)}
    assert fixed == {"optimizer", "lora_rank", "lora_alpha", "precision", "zero_stage"}
    assert hyperparameters.midway("of a strategy's own")


def test_values_as_people_read_them() -> None:
    assert (shown(0.000123456, ".3g"), shown(8, ".3g"), shown("adafactor", ".3g")) == ("0.000123", "8", "adafactor")
    assert (hyperparameters.short_name("learning_rate"), hyperparameters.short_name("other")) == ("lr", "other")
