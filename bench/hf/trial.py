"""One trial: trained from scratch or from a checkpoint, evaluated and saved after every epoch."""

from __future__ import annotations

import resource
import time
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from bench.errors import UserError
from bench.hf import checkpoint, deepspeed, randomness
from bench.hf.arguments import horizon_epochs, training_arguments
from bench.hf.clock import PhaseClock
from bench.hf.failures import no_space, state_of
from bench.hf.model import fresh
from bench.hf.prepared import Prepared, prepare
from bench.hf.quiet import quiet
from bench.hf.readback import Mismatch, read_back
from bench.hf.trainer import LossNotFinite, TrialTrainer
from bench.space import Config
from bench.training import EpochResult, OnEpoch, TrainingTask, TrialFailed


def train_trial(
    task: TrainingTask,
    config: Config,
    *,
    folder: Path,
    resume_from: Path | None = None,
    on_epoch: OnEpoch,
    process_started_s: float | None = None,
) -> None:
    """Trains one trial until `task.epochs`, calling `on_epoch` after every epoch.

    `folder`: where its checkpoints go. `resume_from`: a checkpoint to go on from, the trial's own or another's;
    weights, optimiser moments, random numbers, completed epochs and the position in the schedule are taken over,
    `config` is in force from there. If it has all epochs already, nothing happens. `process_started_s`: the Unix time
    at which the process started, for its first trial, which is charged for the imports.

    What `on_epoch` raises ends the trial and is passed on. Raises TrialFailed where the trial cannot go on, UserError
    where the user must see to something (data, model, DeepSpeed's file, a full disk).
    """
    clock = PhaseClock(time.time() - process_started_s if process_started_s is not None else 0.0)
    _check(task)
    run: _Run | None = None
    try:
        with quiet(), randomness.restored():
            run = _Run(task, config, folder, resume_from, on_epoch, clock)
            run.train()
    except Exception as error:
        if isinstance(error, (UserError, TrialFailed)) or (run is not None and error is run.foreign):
            raise
        full = no_space(error, folder)
        if full is not None:
            raise full from None
        if isinstance(error, LossNotFinite):
            raise TrialFailed(state="nan", detail=str(error), phases=clock.take()) from None
        if isinstance(error, Mismatch):
            raise TrialFailed(state="failed", detail=str(error), phases=clock.take()) from None
        state, detail = state_of(error)
        raise TrialFailed(state=state, detail=detail, phases=clock.take()) from error
    finally:
        if run is not None:
            run.release()
        if task.deepspeed is not None:
            deepspeed.forget()


def _check(task: TrainingTask) -> None:
    horizon = horizon_epochs(task)
    if task.epochs > horizon:
        raise UserError(
            f"{task.epochs} epochs were asked for, but the learning rate has decayed to nothing after the workload's "
            f"{horizon}: ask for {horizon} or fewer."
        )
    if task.device == "cuda" and not torch.cuda.is_available():
        raise UserError("There is no GPU that PyTorch can use here: choose a CPU hardware profile.")
    if task.device == "cpu" and task.precision == "fp16":
        raise UserError("fp16 does not train on a CPU: choose fp32 or bf16.")


class _Run(TrainerCallback):
    """A trial while it runs: what happens before the first step and after every epoch."""

    def __init__(
        self,
        task: TrainingTask,
        config: Config,
        folder: Path,
        resume_from: Path | None,
        on_epoch: OnEpoch,
        clock: PhaseClock,
    ) -> None:
        self._task = task
        self._config = dict(config)
        self._folder = folder
        self._resume_from = resume_from
        self._on_epoch = on_epoch
        self._clock = clock
        self._trainer: TrialTrainer | None = None
        self._prepared: Prepared | None = None
        self.foreign: BaseException | None = None

    def train(self) -> None:
        task = self._task
        start = 0
        if self._resume_from is not None:
            self._clock.enter("restore")
            start = checkpoint.epoch_of(self._resume_from)
            self._clock.enter("startup")
            if start >= task.epochs:
                return
        if task.deepspeed is not None:
            deepspeed.start(task)
        self._prepared = prepare(task)
        if task.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        engine = deepspeed.load_config(task)
        pad_to = task.workload.max_tokens if task.recipe.padding == "max_length" else None
        self._trainer = TrialTrainer(
            prepared=self._prepared,
            model=fresh(self._prepared.model),
            arguments=training_arguments(task, self._config, self._folder, engine),
            pad_to=pad_to,
            start_epoch=start,
            deepspeed=engine,
            callbacks=[self],
        )
        self._trainer.train()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        assert self._trainer is not None
        if self._resume_from is not None:
            self._clock.enter("restore")
            checkpoint.restore(self._trainer, self._resume_from)
            self._clock.enter("startup")
        read_back(self._trainer, self._task, self._config, kwargs["train_dataloader"])
        self._clock.enter("train")

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        assert self._trainer is not None
        assert self._prepared is not None
        epoch = round(state.epoch or 0)
        train_loss = self._trainer.take_train_loss()
        self._clock.enter("eval")
        train_s = self._clock.spent_s("train")
        eval_loss = self._trainer.evaluate()["eval_loss"]
        if not torch.isfinite(torch.tensor(eval_loss)):
            raise LossNotFinite(f"the evaluation loss is {eval_loss} after epoch {epoch}")
        self._clock.enter("checkpoint")
        path = checkpoint.checkpoint_path(self._folder, epoch)
        if self._task.workload.checkpoints or epoch == self._task.epochs:
            checkpoint.save(self._trainer, path, epoch, self._config)
            checkpoint.keep_newest(self._folder, self._task.keep_checkpoints)
        result = EpochResult(
            epoch=epoch,
            eval_loss=eval_loss,
            train_loss=train_loss,
            phases=self._clock.take(),
            samples_per_s=len(self._prepared.train) / train_s,
            tokens_per_s=self._prepared.train_tokens / train_s,
            device_memory_mib=torch.cuda.max_memory_allocated() / 2**20 if self._task.device == "cuda" else None,
            host_memory_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            config=dict(self._config),
            checkpoint=path,
        )
        self._report(result)
        if epoch >= self._task.epochs:
            control.should_training_stop = True
        self._clock.enter("train")

    def _report(self, result: EpochResult) -> None:
        try:
            # The caller may draw random numbers; the trial must not notice.
            with randomness.restored():
                self._on_epoch(result)
        except BaseException as error:
            self.foreign = error
            raise
        finally:
            self._clock.skip()

    def release(self) -> None:
        """Frees the trial's memory, whatever ended it."""
        trainer, self._trainer = self._trainer, None
        if trainer is None:
            return
        # Cut the cycles first, then let accelerate collect what hung on them.
        trainer.callback_handler.callbacks.clear()
        trainer.model = trainer.model_wrapped = trainer.optimizer = trainer.lr_scheduler = None
        trainer.accelerator.free_memory()
