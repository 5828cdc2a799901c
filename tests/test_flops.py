"""FLOPs by formula: against hand-worked numbers, and against what PyTorch counts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.flops import LAYER, TRAINING, Sample, Shape, batch_flops, hardware_flops, model_flops
from bench.workload import Computation, Recipe, load_recipe, load_workload

SMALL = Shape(layers=2, hidden=16, heads=2, vocab=50)
IGNORED = -100


def test_parameters_of_the_real_model() -> None:
    workload = load_workload("bloom560m-squad")
    shape = Shape.of_bloom(workload.model.architecture or {})
    assert shape.parameters == workload.known[0].parameters == 559_214_592


def test_what_a_sample_predicts_and_sees() -> None:
    # The labels at places 3 and 4 are predicted at places 2 and 3, which see 3 and 4 positions.
    assert Sample.of([IGNORED, IGNORED, IGNORED, 7, 8], IGNORED) == Sample(tokens=5, predicting=2, seen=7)
    # A label at the first place is predicted by nothing.
    assert Sample.of([7, 8, IGNORED], IGNORED) == Sample(tokens=3, predicting=1, seen=1)


def test_model_flops_by_hand() -> None:
    """Two layers of width 16 and 50 words; 5 tokens, 2 of which are predicted, seeing 7."""
    first = 2 * 12 * 256 * 5 + 4 * 16 * 15
    last = 2 * 2 * 256 * 5 + 2 * 10 * 256 * 2 + 4 * 16 * 7
    head = 2 * 16 * 50 * 2
    assert (first, last, head) == (31_680, 15_808, 3_200)
    assert model_flops(SMALL, [Sample(tokens=5, predicting=2, seen=7)] * 3) == 3 * 50_688


def test_hardware_flops_by_hand() -> None:
    """A batch of 5 and 3 tokens, padded to 5 (10 positions, 50 pairs) or to 8 (16 positions, 128 pairs)."""
    batch = [Sample(tokens=5, predicting=2, seen=7), Sample(tokens=3, predicting=1, seen=2)]
    qa = load_recipe("qa")
    assert batch_flops(SMALL, batch, qa, 8) == 2 * 24 * 256 * 10 + 4 * 16 * 2 * 50 + 2 * 16 * 50 * 10
    padded = replace(qa, padding="max_length")
    assert batch_flops(SMALL, batch, padded, 8) == 2 * 24 * 256 * 16 + 4 * 16 * 2 * 128 + 2 * 16 * 50 * 16
    real = with_(qa, head="labelled", attention="fused", last_block="labelled", tokens="real")
    matrices = 2 * 256 * (15 * 8 + 9 * 3)
    assert batch_flops(SMALL, batch, real, 8) == matrices + 4 * 16 * 2 * 50 + 2 * 16 * 50 * 3
    # All in one batch: the order is nothing.
    assert hardware_flops(SMALL, batch, qa, batch_size=2, max_tokens=8) == pytest.approx(
        batch_flops(SMALL, batch, qa, 8)
    )
    alone = batch_flops(SMALL, batch[:1], qa, 8) + batch_flops(SMALL, batch[1:], qa, 8)
    assert hardware_flops(SMALL, batch, qa, batch_size=1, max_tokens=8) == pytest.approx(alone)


def with_(recipe: Recipe, **changes: object) -> Recipe:
    return replace(recipe, computation=Computation(**changes))  # type: ignore[arg-type]


def test_what_is_needed_is_never_more_than_what_is_computed() -> None:
    samples = [Sample.of([IGNORED] * n + [1] * 3, IGNORED) for n in (4, 9, 30)]
    fast = hardware_flops(SMALL, samples, load_recipe("fast"), batch_size=2, max_tokens=64)
    qa = hardware_flops(SMALL, samples, load_recipe("qa"), batch_size=2, max_tokens=64)
    assert model_flops(SMALL, samples) < fast < qa


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"head": "labelled"},
        {"head": "labelled", "attention": "fused", "last_block": "labelled"},
        {"head": "labelled", "attention": "fused", "last_block": "labelled", "tokens": "real"},
    ],
)
def test_the_formula_is_what_pytorch_counts(changes: dict[str, str]) -> None:
    """Of a training step on a batch with padding. The counter has no formula for a CPU's fused attention: it is added
    here."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import BloomConfig, BloomForCausalLM

    from bench.hf.collate import Collator
    from bench.hf.fused import fuse

    config = {"n_layer": 2, "hidden_size": 16, "n_head": 2, "vocab_size": 50}
    model = BloomForCausalLM(BloomConfig(**config, hidden_dropout=0.0, attention_dropout=0.0))
    recipe = with_(load_recipe("qa"), **changes)
    rows = [{"input_ids": [5] * n, "labels": [IGNORED] * (n - 3) + [5] * 3} for n in (9, 6)]
    samples = [Sample.of(row["labels"], IGNORED) for row in rows]
    inputs = Collator(0, None)(rows)
    if recipe.computation.tokens == "real":
        from bench.hf.collate import REAL

        inputs[REAL] = inputs["attention_mask"].flatten().nonzero()[:, 0]
    fuse(model, recipe.computation)
    with FlopCounterMode(display=False) as counter:
        model(**inputs, use_cache=False).loss.backward()
    expected = TRAINING * batch_flops(SMALL, samples, recipe, 64)
    uncounted = TRAINING * SMALL.attention(2 * 2 * 9 * 9) if recipe.computation.attention == "fused" else 0.0
    assert counter.get_total_flops() + uncounted == expected
    assert torch.isfinite(next(model.parameters()).grad).all()


def test_a_layer_is_twelve_squares() -> None:
    assert LAYER == 12
