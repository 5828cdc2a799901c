"""Encoded examples to padded batches."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch

from bench.hf.encode import IGNORED, Encoded

LABELLED = "labelled"
"""In a batch: the positions whose next token is labelled, flat over [batch, length]; see `rows.Rows`."""
REAL = "real"
"""In a batch of which a tenth or more is padding: the positions that are none, likewise. With less, to leave it out
costs more than it saves."""
LEAST_PADDING = 0.1


class Collator:
    """Pads on the right, to the longest of the batch or always to `length`. `says`: which of `LABELLED` and `REAL` its
    batches hold."""

    def __init__(self, pad_id: int, length: int | None, *, says: Collection[str] = ()) -> None:
        self._pad_id = pad_id
        self._length = length
        self._says = says

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
        tensors = {name: torch.tensor(rows) for name, rows in columns.items()}
        return tensors | said({name: [positions_of(name, row) for row in batch] for name in self._says}, length)


def positions_of(what: str, row: Encoded) -> Sequence[int]:
    """The positions in an example that are `LABELLED` or `REAL`."""
    if what == REAL:
        return range(len(row["input_ids"]))
    return [position for position, label in enumerate(row["labels"][1:]) if label != IGNORED]


def said(positions: Mapping[str, Sequence[Sequence[int]]], length: int) -> dict[str, torch.Tensor]:
    """What a batch holds of `LABELLED` and `REAL`, given each row's positions."""
    if REAL in positions and sum(map(len, positions[REAL])) > (1 - LEAST_PADDING) * len(positions[REAL]) * length:
        positions = {name: rows for name, rows in positions.items() if name != REAL}
    return {
        name: torch.tensor([row * length + n for row, some in enumerate(rows) for n in some], dtype=torch.int64)
        for name, rows in positions.items()
    }


def left_padded(prompts: Sequence[Sequence[int]], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and attention mask, [batch, longest], padded on the left so that generation goes on from the text."""
    longest = max(len(prompt) for prompt in prompts)
    ids = torch.tensor([[pad_id] * (longest - len(prompt)) + list(prompt) for prompt in prompts])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    return ids, mask
