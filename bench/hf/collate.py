"""Encoded examples to padded batches."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from bench.hf.encode import IGNORED, Encoded


class Collator:
    """Pads on the right, to the longest of the batch or always to `length`."""

    def __init__(self, pad_id: int, length: int | None) -> None:
        self._pad_id = pad_id
        self._length = length

    def __call__(self, batch: Sequence[Encoded]) -> dict[str, torch.Tensor]:
        """`input_ids`, `attention_mask` and `labels`, each [batch, length] of int64."""
        length = self._length or max(len(row["input_ids"]) for row in batch)
        columns: dict[str, list[list[int]]] = {"input_ids": [], "attention_mask": [], "labels": []}
        for row in batch:
            count = len(row["input_ids"])
            space = length - count
            columns["input_ids"].append(row["input_ids"] + [self._pad_id] * space)
            columns["attention_mask"].append([1] * count + [0] * space)
            columns["labels"].append(row["labels"] + [IGNORED] * space)
        return {name: torch.tensor(rows) for name, rows in columns.items()}


def left_padded(prompts: Sequence[Sequence[int]], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and attention mask, [batch, longest], padded on the left so that generation goes on from the text."""
    longest = max(len(prompt) for prompt in prompts)
    ids = torch.tensor([[pad_id] * (longest - len(prompt)) + list(prompt) for prompt in prompts])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    return ids, mask
