"""The transformers Trainer with what a trial needs: an epoch to start from, and an end at a loss that is no number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from bench.hf.collate import LABELLED, REAL, Collator
from bench.hf.deepspeed import zero_stage
from bench.hf.encode import IGNORED
from bench.hf.fused import fuse
from bench.hf.group import Alone
from bench.hf.prepared import Prepared
from bench.workload import Computation

CHECK_STEPS = 10
"""How often the training loss is looked at; on a GPU every look waits for the device."""


class LossNotFinite(Exception):
    """A training or evaluation loss is NaN or infinite."""


class TrialTrainer(Trainer):
    """Trains from `start_epoch` on, together with the other ranks of `group`. `steps_per_epoch`: optimiser steps.
    `asked_zero_stage`: of DeepSpeed's file."""

    def __init__(
        self,
        prepared: Prepared,
        model: Any,
        arguments: TrainingArguments,
        pad_to: int | None,
        start_epoch: int,
        deepspeed: dict[str, Any] | None,
        callbacks: list[TrainerCallback],
        group: Alone,
        computation: Computation,
    ) -> None:
        fuse(model, computation)
        said = {LABELLED: computation.head == "labelled", REAL: computation.tokens == "real"}
        says = frozenset(name for name, wanted in said.items() if wanted)
        rows: Sequence[Any] = prepared.train
        if computation.batches == "device":
            rows = range(len(rows))
            collate: Any = prepared.table("train", pad_to, arguments.device, says)
            self._validation: Any = prepared.table("validation", pad_to, arguments.device, says)
        else:
            collate = Collator(prepared.tokenizer.pad_token_id, pad_to, says=says)
            self._validation = lambda numbers: collate([prepared.validation[number] for number in numbers])
        super().__init__(
            model=model,
            args=arguments,
            data_collator=collate,
            train_dataset=rows,
            eval_dataset=prepared.validation,
            callbacks=callbacks,
        )
        self.remove_callback(PrinterCallback)
        self.start_epoch = start_epoch
        batches = math.ceil(len(prepared.train) / (self._train_batch_size * group.size))
        self.steps_per_epoch = math.ceil(batches / arguments.gradient_accumulation_steps)
        self.asked_zero_stage = zero_stage(deepspeed)
        self._losses = torch.zeros((), device=arguments.device)
        self._steps = 0
        self._group = group

    def _init_training_state(
        self, max_steps: int, num_update_steps_per_epoch: int, num_train_epochs: int, *rest: Any
    ) -> tuple[int, int]:
        # The Trainer's own way to start late is its own checkpoint format, which pickles and cannot change batch size.
        super()._init_training_state(max_steps, num_update_steps_per_epoch, num_train_epochs, *rest)
        self.state.global_step = self.start_epoch * num_update_steps_per_epoch
        self.state.epoch = self.start_epoch
        return self.start_epoch, 0

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        # Nobody asks for the Trainer's count, for which it goes through all parameters in every step.
        return 0

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        self._group.check()
        loss = super().training_step(model, inputs, num_items_in_batch)
        self._losses += loss
        if not self.accelerator.sync_gradients:  # its gradients are added to the next batch's, and its loss to that
            return loss
        self._steps += 1
        if self._steps % CHECK_STEPS == 0:
            total = self._group.total(self._losses).item()
            if not math.isfinite(total):
                raise LossNotFinite(f"the training loss is {total} at step {self.state.global_step + 1}")
        return loss

    def take_train_loss(self) -> float:
        """The mean training loss since the last call, over all ranks. Raises LossNotFinite."""
        mean = self._group.total(self._losses).item() / max(1, self._steps * self._group.size)
        self._losses.zero_()
        self._steps = 0
        if not math.isfinite(mean):
            raise LossNotFinite(f"the training loss is {mean}")
        return mean

    def evaluation_loss(self) -> float:
        """The loss on the validation split: the batches' losses, weighted by their examples. Raises LossNotFinite.

        The batches are those of a single process, dealt out to the ranks, so that the number of ranks changes nothing.
        The Trainer's own evaluation fills the last batches up with examples that it has seen.
        """
        count, size = len(self.eval_dataset), self.args.per_device_eval_batch_size
        batches = [range(start, min(start + size, count)) for start in range(0, count, size)]
        losses = torch.zeros(len(batches), device=self.args.device)
        self.model.eval()
        for turn in range(0, len(batches), self._group.size):
            # All ranks take every turn: under ZeRO stage 3 the weights come from all of them.
            own = turn + self._group.rank
            loss = self._loss_of(batches[min(own, len(batches) - 1)])
            if own < len(batches):
                losses[own] = loss
        weights = [len(batch) for batch in batches]
        mean = float(np.repeat(self._group.total(losses).cpu().numpy(), weights).mean())
        if not math.isfinite(mean):
            raise LossNotFinite(f"the evaluation loss is {mean} after epoch {round(self.state.epoch or 0)}")
        return mean

    def _loss_of(self, numbers: Sequence[int]) -> torch.Tensor:
        """The mean loss over the labelled tokens of a batch of these examples."""
        inputs = self._prepare_inputs(self._validation(numbers))
        labelled = {"num_items_in_batch": inputs["labels"][:, 1:].ne(IGNORED).sum()}
        with torch.no_grad(), self.compute_loss_context_manager():
            outputs = self.model(**inputs, **(labelled if self.model_accepts_loss_kwargs else {}))
        return outputs["loss"]
