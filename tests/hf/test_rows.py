"""Batches, positions and losses that `fast` computes in its own way, against the plain way."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, BloomConfig, BloomForCausalLM, GPT2Config, LlamaConfig

from bench.errors import UserError
from bench.hf.collate import LABELLED, REAL, Collator
from bench.hf.encode import IGNORED, Encoded
from bench.hf.fused import fuse
from bench.hf.rows import Rows
from bench.hf.table import Table
from bench.workload import Computation, load_recipe

PAD = 3
FAST = load_recipe("fast").computation
SMALL: dict[str, Any] = {"vocab_size": 40, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": PAD}
BLOOM = BloomConfig(hidden_size=24, n_layer=3, n_head=6, **SMALL)  # six heads: ALiBi's slopes of no power of two
OTHERS = {
    "gpt2": GPT2Config(n_embd=24, n_layer=2, n_head=4, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, **SMALL),
    "llama": LlamaConfig(
        hidden_size=24, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, **SMALL
    ),
}  # fmt: skip


def example(length: int, labelled: set[int]) -> Encoded:
    ids = [4 + (7 * n + length) % 36 for n in range(length)]
    return {"input_ids": ids, "labels": [ids[n] if n in labelled else IGNORED for n in range(length)]}


ROWS = [example(9, {6, 7, 8}), example(5, {1, 4}), example(12, {11}), example(7, {0, 3, 4, 5, 6}), example(3, {0})]
examples = st.integers(1, 12).flatmap(
    lambda length: st.sets(st.integers(0, length - 1)).map(lambda labelled: example(length, labelled))
)


@given(st.lists(examples, min_size=1, max_size=6), st.data(), st.sampled_from([None, 15]))
def test_a_table_gives_what_the_collator_makes(rows: list[Encoded], data: st.DataObject, length: int | None) -> None:
    numbers = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=8))
    says = (LABELLED, REAL)
    found = Table(rows, PAD, length, torch.device("cpu"), says=says)(numbers)
    expected = Collator(PAD, length, says=says)([rows[number] for number in numbers])
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    following = torch.nn.functional.pad(found["labels"], (0, 1), value=IGNORED)[:, 1:].flatten()
    assert found[LABELLED].tolist() == following.ne(IGNORED).nonzero()[:, 0].tolist()
    real = found["attention_mask"].flatten()
    if REAL in found:
        assert found[REAL].tolist() == real.nonzero()[:, 0].tolist()
    else:
        assert 0.9 * real.numel() < real.sum()


def bloom() -> Any:
    torch.manual_seed(0)
    model = BloomForCausalLM(BLOOM)
    for weight in model.parameters():  # nothing stays at its neutral start
        torch.nn.init.normal_(weight, std=0.3)
    return model


def other(name: str) -> Any:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(OTHERS[name])


def loss_and_gradients(
    model: Any, computation: Computation, **more: Any
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    fuse(model, computation)
    says = [LABELLED] * (computation.head == "labelled") + [REAL] * (computation.tokens == "real")
    loss = model(**Collator(PAD, None, says=says)(ROWS), use_cache=False, **more).loss
    loss.backward()
    return loss.detach(), {name: weight.grad for name, weight in model.named_parameters()}


VARIANTS = {
    "head": Computation(head="labelled"),
    "activation": Computation(activation="fused"),
    "attention": Computation(attention="fused"),
    "last block": Computation(head="labelled", attention="fused", last_block="labelled"),
    "tokens": Computation(attention="fused", tokens="real"),
    "tokens and head": Computation(attention="fused", tokens="real", head="labelled"),
    "all": FAST,
}


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("items", [None, 17], ids=["mean", "counted"])
def test_blooms_loss_and_gradients_are_its_own(name: str, items: int | None) -> None:
    """All gradients, relative to each tensor's largest: an error at a single position would show."""
    more = {} if items is None else {"num_items_in_batch": torch.tensor(items)}
    expected, slopes = loss_and_gradients(bloom(), Computation(), **more)
    found, gradients = loss_and_gradients(bloom(), VARIANTS[name], **more)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    for weight, slope in slopes.items():
        torch.testing.assert_close(gradients[weight], slope, rtol=0, atol=2e-5 * slope.abs().max().item(), msg=weight)


@pytest.mark.parametrize("name", OTHERS)
def test_other_architectures_have_their_head_at_labelled_positions(name: str) -> None:
    expected, slopes = loss_and_gradients(other(name), Computation())
    found, gradients = loss_and_gradients(other(name), FAST)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    assert all(torch.allclose(gradients[weight], slope, atol=1e-6) for weight, slope in slopes.items())


def test_positions_are_found_where_a_batch_brings_none() -> None:
    model, batch = bloom(), Collator(PAD, None)(ROWS)
    expected = model(**batch).loss
    fuse(model, FAST)
    outputs = model(**batch, use_cache=False)
    assert outputs.logits.shape == (1, 10, 40)
    assert outputs.loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_generation_is_as_before() -> None:
    """With its cache of keys and values, and from left-padded prompts."""
    model = bloom().eval()
    prompts = torch.tensor([[PAD, PAD, 5, 9, 30], [7, 8, 22, 14, 11]])
    ask = {"input_ids": prompts, "attention_mask": prompts.ne(PAD).long(), "max_new_tokens": 5, "do_sample": False}
    expected = model.generate(**ask)
    fuse(model, FAST)
    model(**Collator(PAD, None, says=(LABELLED, REAL))(ROWS), use_cache=False)
    assert torch.equal(model.generate(**ask), expected)


def test_a_model_with_a_loss_of_its_own_is_refused() -> None:
    model = bloom()
    model.loss_function = lambda logits, labels, **_: logits.sum()
    with pytest.raises(UserError, match=r"The loss of BloomForCausalLM cannot be had .*: train it with the recipe qa"):
        fuse(model, FAST)

    class Own(BloomForCausalLM):  # type: ignore[misc]
        def forward(self, labels: Any = None, **inputs: Any) -> Any:
            outputs = super().forward(**inputs)
            outputs["loss"] = outputs.logits.sum()
            return outputs

    model = Own(BLOOM)
    fuse(model, FAST)
    with pytest.raises(UserError, match="The loss of Own"):
        model(**Collator(PAD, None)(ROWS))


def test_nothing_is_touched_where_nothing_is_asked() -> None:
    model = bloom()
    fuse(model, Computation())
    assert not model._forward_pre_hooks
    assert "_loss_function" not in vars(model)


def test_padding_goes_and_comes_back() -> None:
    model = bloom()
    rows = Rows(model, labelled=False)
    model(**Collator(PAD, None, says=[REAL])(ROWS))
    values = torch.randn(5, 12, 6)
    dense = rows.without_padding(values)
    assert dense.shape == (1, 36, 6)
    real = torch.arange(12)[None] < torch.tensor([9, 5, 12, 7, 3])[:, None]
    assert torch.equal(rows.with_padding(dense), values * real[..., None])
