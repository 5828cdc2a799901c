"""The head's logits and the loss at labelled positions alone: exact, since no other position enters the loss."""

from __future__ import annotations

from typing import Any

import torch
from transformers.loss.loss_utils import ForCausalLMLoss

from bench.errors import UserError
from bench.hf.rows import Rows, picked


class LabelledHead:
    """Attached to a causal language model, has its head see, of a batch with labels, the labelled positions only.

    The model's own forward goes on being called, whatever wraps it (DDP, DeepSpeed, autocast): a hook chooses the rows
    that reach the output embeddings, and the model's own loss function gets their labels. Logits of such a batch are
    [1, labelled, vocabulary]. Raises UserError where a model's loss is not that of transformers' causal models.
    """

    def __init__(self, model: Any, rows: Rows) -> None:
        owner = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._name = type(owner).__name__
        self._rows = rows
        self._targets: torch.Tensor | None = None
        head = owner.get_output_embeddings()
        if head is None or getattr(owner, "loss_function", None) is not ForCausalLMLoss:
            raise self._unfit()
        owner.loss_function = self._loss
        head.register_forward_pre_hook(self._select)
        model.register_forward_pre_hook(self._begin, with_kwargs=True)
        model.register_forward_hook(self._end)

    def _unfit(self) -> UserError:
        return UserError(
            f"The loss of {self._name} cannot be had at labelled positions alone: train it with the recipe qa."
        )

    def _begin(self, model: Any, args: Any, kwargs: dict[str, Any]) -> None:
        labels, labelled = kwargs.get("labels"), self._rows.labelled
        self._targets = None if labels is None or labelled is None else labels.flatten()[labelled + 1]

    def _select(self, head: Any, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        labelled = self._rows.labelled
        if labelled is None or args[0].shape[:-1].numel() == len(labelled):  # or the last block has chosen already
            return None
        return (picked(args[0], labelled), *args[1:])

    def _loss(self, logits: torch.Tensor, labels: Any, vocab_size: int, **kwargs: Any) -> torch.Tensor:
        targets, self._targets = self._targets, None
        if targets is None:
            return ForCausalLMLoss(logits, labels, vocab_size, **kwargs)
        return ForCausalLMLoss(logits, None, vocab_size, shift_labels=targets, **kwargs)

    def _end(self, model: Any, args: Any, outputs: Any) -> None:
        if self._targets is not None:  # the model has computed a loss of its own, from rows that it did not expect
            raise self._unfit()
