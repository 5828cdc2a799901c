"""What the model sees and what the loss counts, under both recipes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from bench.errors import UserError
from bench.hf import prepare
from bench.hf.collate import Collator, left_padded
from bench.hf.encode import IGNORED, Encoder
from bench.squad import Example
from bench.training import TrainingTask

EXAMPLE = Example(
    id="1",
    article="a",
    question="Where does Ada live?",
    context="Ada lives in Oslo. Ben lives in Rome. Fay eats figs.",
    answers=("Oslo", "in Oslo"),
)


@pytest.fixture
def tokenizer(task: TrainingTask) -> Any:
    return prepare(task).tokenizer


def encoder(tokenizer: Any, labels: str = "answer", max_tokens: int = 64) -> Encoder:
    return Encoder(tokenizer, labels, max_tokens, max_new_tokens=8)


def test_the_tokenizer_has_blooms_special_tokens(tokenizer: Any) -> None:
    ids = [tokenizer.unk_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id]
    assert ids == [0, 1, 2, 3]
    assert tokenizer.convert_ids_to_tokens(ids) == ["<unk>", "<s>", "</s>", "<pad>"]
    assert tokenizer.decode(tokenizer("Ōsaka — €")["input_ids"]) == "Ōsaka — €"


def test_qa_labels_begin_with_the_answer(tokenizer: Any) -> None:
    (row,) = encoder(tokenizer).train([EXAMPLE])
    text = f"Question: {EXAMPLE.question} Context: {EXAMPLE.context} Answer: Oslo</s>"
    assert tokenizer.decode(row["input_ids"]) == text
    answer = tokenizer(" Oslo")["input_ids"] + [tokenizer.eos_token_id]
    assert row["labels"] == [IGNORED] * (len(row["input_ids"]) - len(answer)) + answer
    assert row["input_ids"][-len(answer) :] == answer


def test_pieces_are_tokenised_as_the_whole_text_would_be(tokenizer: Any) -> None:
    (row,) = encoder(tokenizer).train([EXAMPLE])
    assert row["input_ids"] == tokenizer(tokenizer.decode(row["input_ids"]))["input_ids"]


@pytest.mark.parametrize("max_tokens", [16, 20, 30])
def test_qa_cuts_the_passage_alone(tokenizer: Any, max_tokens: int) -> None:
    (row,) = encoder(tokenizer, max_tokens=max_tokens).train([EXAMPLE])
    text = tokenizer.decode(row["input_ids"])
    assert len(row["input_ids"]) == min(max_tokens, len(encoder(tokenizer).train([EXAMPLE])[0]["input_ids"]))
    assert text.startswith(f"Question: {EXAMPLE.question} Context:")
    assert text.endswith(" Answer: Oslo</s>")
    (prompt,) = encoder(tokenizer, max_tokens=max(24, max_tokens)).prompts([EXAMPLE])
    assert tokenizer.decode(prompt).endswith(" Answer:")
    assert len(prompt) + 8 <= max(24, max_tokens)


def test_a_question_that_cannot_fit_is_named(tokenizer: Any) -> None:
    with pytest.raises(UserError, match=r"question 1 .* max_tokens = 10"):
        encoder(tokenizer, max_tokens=10).train([EXAMPLE])


def test_workshop_labels_lie_over_the_question(tokenizer: Any) -> None:
    """As published: the prompt alone, the answer's tokens from position 0, no end-of-sequence token."""
    (row,) = encoder(tokenizer, "question").train([EXAMPLE])
    assert tokenizer.decode(row["input_ids"]) == f"Question: {EXAMPLE.question} Context: {EXAMPLE.context} Answer:"
    answer = tokenizer("Oslo")["input_ids"]
    assert row["labels"] == answer + [IGNORED] * (len(row["input_ids"]) - len(answer))
    (cut,) = encoder(tokenizer, "question", max_tokens=12).train([EXAMPLE])
    assert cut["input_ids"] == row["input_ids"][:12]


def test_padding_is_right_in_training_and_left_in_generation(tokenizer: Any) -> None:
    rows = [{"input_ids": [5, 6, 7], "labels": [IGNORED, 6, 7]}, {"input_ids": [8], "labels": [8]}]
    batch = Collator(3, None)(rows)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 3, 3]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["labels"].tolist() == [[IGNORED, 6, 7], [8, IGNORED, IGNORED]]
    assert Collator(3, 5)(rows)["input_ids"].shape == (2, 5)
    ids, mask = left_padded([[5, 6, 7], [8]], 3)
    assert ids.tolist() == [[5, 6, 7], [3, 3, 8]]
    assert mask.tolist() == [[1, 1, 1], [0, 0, 1]]


def test_padding_changes_no_loss(task: TrainingTask) -> None:
    prepared = prepare(task)
    model = prepared.model.eval()
    losses = []
    for length in (None, 64):
        with torch.no_grad():
            losses.append(model(**Collator(3, length)(prepared.train[:8])).loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_splits_share_no_article_and_have_their_sizes(make_task: Callable[..., TrainingTask]) -> None:
    prepared = prepare(make_task())
    assert [len(s) for s in (prepared.train, prepared.validation, prepared.test)] == [48, 16, 16]
    assert len(prepared.prompts) == len(prepared.answers) == 16
