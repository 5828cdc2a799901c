"""Examples to tokens, the way a recipe wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.errors import UserError
from bench.squad import Example

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100
"""The label that the loss leaves out."""

Encoded = dict[str, list[int]]
"""`input_ids` and `labels`, equally long, without padding."""


class Encoder:
    """Turns examples into token ids.

    `labels` "answer": `Question: q Context: c Answer: a<eos>`, labelled from the answer on; too long a text loses the
    end of its passage, never the question, the cue or the answer. "question", as the workshop published it: the prompt
    alone, cut on the right (which may cut the cue), with the answer's tokens as labels of its first positions, no eos.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, labels: str, max_tokens: int, max_new_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._labels = labels
        self._max_tokens = max_tokens
        self._max_new_tokens = max_new_tokens
        # Every part but the first begins with a space, where byte-level tokenizers split anyway.
        self._cue = self._ids([" Answer:"])[0]

    def train(self, examples: list[Example]) -> list[Encoded]:
        """For training and for the loss. The label is the first gold answer."""
        heads, passages = self._prompts(examples)
        if self._labels == "question":
            answers = self._ids([e.answers[0] for e in examples])
            return [self._overlaid(*parts) for parts in zip(heads, passages, answers, strict=True)]
        answers = self._ids([f" {e.answers[0].strip()}" for e in examples])
        return [self._answered(*parts) for parts in zip(examples, heads, passages, answers, strict=True)]

    def prompts(self, examples: list[Example]) -> list[list[int]]:
        """For generation: the text up to the cue, short enough to leave `max_new_tokens` for the answer."""
        heads, passages = self._prompts(examples)
        return [
            head + self._fitting(e, passage, len(head) + len(self._cue) + self._max_new_tokens) + self._cue
            for e, head, passage in zip(examples, heads, passages, strict=True)
        ]

    def _prompts(self, examples: list[Example]) -> tuple[list[list[int]], list[list[int]]]:
        heads = self._ids([f"Question: {e.question.strip()} Context:" for e in examples])
        return heads, self._ids([f" {e.context.strip()}" for e in examples])

    def _answered(self, example: Example, head: list[int], passage: list[int], answer: list[int]) -> Encoded:
        target = [*answer, self._tokenizer.eos_token_id]
        prompt = head + self._fitting(example, passage, len(head) + len(self._cue) + len(target)) + self._cue
        return {"input_ids": prompt + target, "labels": [IGNORED] * len(prompt) + target}

    def _overlaid(self, head: list[int], passage: list[int], answer: list[int]) -> Encoded:
        prompt = (head + passage + self._cue)[: self._max_tokens]
        labels = (answer + [IGNORED] * len(prompt))[: len(prompt)]
        return {"input_ids": prompt, "labels": labels}

    def _fitting(self, example: Example, passage: list[int], others: int) -> list[int]:
        """As much of the passage as `max_tokens` leaves beside `others` tokens."""
        if others > self._max_tokens:
            raise UserError(
                f"The question {example.id[:80]} and its answer take {others} tokens without the passage, more than "
                f"max_tokens = {self._max_tokens}: raise max_tokens or drop the question."
            )
        return passage[: self._max_tokens - others]

    def _ids(self, texts: list[str]) -> list[list[int]]:
        ids: Any = self._tokenizer(texts, add_special_tokens=False, return_attention_mask=False)["input_ids"]
        return ids
