"""Which positions of a batch a model has to work on, known to the hooks that leave the others out."""

from __future__ import annotations

from typing import Any

import torch

from bench.hf.collate import LABELLED, REAL
from bench.hf.encode import IGNORED


class Rows:
    """Of the forward of `model` that is under way: `labelled`, the positions whose next token is labelled, and `real`,
    those that are no padding, both flat over the batch's `shape` (its rows, and their length); None where all count.

    The batch may bring them as `collate.LABELLED` and `collate.REAL`. The labelled ones are looked for in the labels
    where it does not and `labelled` asks for them, for which a GPU has to be waited for.
    """

    def __init__(self, model: Any, *, labelled: bool) -> None:
        self._looks = labelled
        self.labelled: torch.Tensor | None = None
        self.real: torch.Tensor | None = None
        self.shape = (0, 0)
        model.register_forward_pre_hook(self._begin, with_kwargs=True)

    def _begin(self, model: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        self.real = kwargs.pop(REAL, None)
        self.labelled = kwargs.pop(LABELLED, None)
        labels = kwargs.get("labels")
        if self._looks and self.labelled is None and labels is not None:
            following = torch.nn.functional.pad(labels, (0, 1), value=IGNORED)[:, 1:]
            self.labelled = following.flatten().ne(IGNORED).nonzero()[:, 0]
        if self.real is not None:
            self.shape = tuple(kwargs["input_ids"].shape)
        return args, kwargs

    def without_padding(self, padded: torch.Tensor) -> torch.Tensor:
        """[batch, length, ...] to [1, real, ...]."""
        assert self.real is not None
        return picked(padded, self.real)

    def with_padding(self, dense: torch.Tensor) -> torch.Tensor:
        """[1, real, ...] to [batch, length, ...], with zeros."""
        assert self.real is not None
        rows, length = self.shape
        padded = dense.new_zeros(rows * length, dense.shape[-1]).index_copy(0, self.real, dense[0])
        return padded.view(rows, length, -1)

    def labelled_of(self, values: torch.Tensor, *, dense: bool) -> torch.Tensor:
        """[1, labelled, ...] of values with padding, or of `dense` ones."""
        assert self.labelled is not None
        if not dense:
            return picked(values, self.labelled)
        assert self.real is not None
        rows, length = self.shape
        place = self.real.new_zeros(rows * length)
        place[self.real] = torch.arange(len(self.real), device=place.device)
        return picked(values, place[self.labelled])


def picked(values: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """[1, positions, ...] of [batch, length, ...]."""
    return values.flatten(0, 1).index_select(0, positions)[None]
