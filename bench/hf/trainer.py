"""The transformers Trainer with what a trial needs: an epoch to start from, and an end at a loss that is no number."""

from __future__ import annotations

import math
from typing import Any

import torch
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from bench.hf.collate import Collator
from bench.hf.deepspeed import zero_stage
from bench.hf.prepared import Prepared

CHECK_STEPS = 10
"""How often the training loss is looked at; on a GPU every look waits for the device."""


class LossNotFinite(Exception):
    """A training or evaluation loss is NaN or infinite."""


class TrialTrainer(Trainer):
    """Trains from `start_epoch` on. `steps_per_epoch`: optimiser steps. `asked_zero_stage`: of DeepSpeed's file."""

    def __init__(
        self,
        prepared: Prepared,
        model: Any,
        arguments: TrainingArguments,
        pad_to: int | None,
        start_epoch: int,
        deepspeed: dict[str, Any] | None,
        callbacks: list[TrainerCallback],
    ) -> None:
        super().__init__(
            model=model,
            args=arguments,
            data_collator=Collator(prepared.tokenizer.pad_token_id, pad_to),
            train_dataset=prepared.train,
            eval_dataset=prepared.validation,
            callbacks=callbacks,
        )
        self.remove_callback(PrinterCallback)
        self.start_epoch = start_epoch
        self.steps_per_epoch = math.ceil(len(prepared.train) / self._train_batch_size)
        self.asked_zero_stage = zero_stage(deepspeed)
        self._losses = torch.zeros((), device=arguments.device)
        self._steps = 0

    def _init_training_state(
        self, max_steps: int, num_update_steps_per_epoch: int, num_train_epochs: int, *rest: Any
    ) -> tuple[int, int]:
        # The Trainer's own way to start late is its own checkpoint format, which pickles and cannot change batch size.
        super()._init_training_state(max_steps, num_update_steps_per_epoch, num_train_epochs, *rest)
        self.state.global_step = self.start_epoch * num_update_steps_per_epoch
        self.state.epoch = self.start_epoch
        return self.start_epoch, 0

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        loss = super().training_step(model, inputs, num_items_in_batch)
        self._losses += loss
        self._steps += 1
        if self._steps % CHECK_STEPS == 0 and not math.isfinite(self._losses.item()):
            raise LossNotFinite(f"the training loss is {self._losses.item()} at step {self.state.global_step + 1}")
        return loss

    def take_train_loss(self) -> float:
        """The mean training loss since the last call. Raises LossNotFinite."""
        mean = float(self._losses) / max(1, self._steps)
        self._losses.zero_()
        self._steps = 0
        if not math.isfinite(mean):
            raise LossNotFinite(f"the training loss is {mean}")
        return mean
