"""One trial: trained from scratch or from a checkpoint, evaluated and saved after every epoch."""

from __future__ import annotations

import contextlib
import math
import resource
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from bench.errors import UserError
from bench.events import Phases
from bench.hf import checkpoint, deepspeed, randomness
from bench.hf.arguments import horizon_epochs, training_arguments
from bench.hf.clock import FirstSteps, PhaseClock
from bench.hf.effective import effective_task
from bench.hf.failures import forget_frames, no_space, state_of
from bench.hf.group import Alone, Dismissed, RankLost, joined
from bench.hf.meeting import Place
from bench.hf.model import to_train
from bench.hf.prepared import Prepared, prepare
from bench.hf.quiet import quiet
from bench.hf.readback import Mismatch, read_back
from bench.hf.sampling import sampled
from bench.hf.sparing import absent
from bench.hf.trainer import LossNotFinite, TrialTrainer
from bench.space import Config
from bench.training import FIRST_STEP, EpochResult, OnEpoch, TrainingTask, TrialFailed


def train_trial(
    task: TrainingTask,
    config: Config,
    *,
    folder: Path,
    resume_from: Path | None = None,
    on_epoch: OnEpoch,
    process_started_s: float | None = None,
    place: Place | None = None,
) -> None:
    """Trains one trial until `task.epochs`, calling `on_epoch` after every epoch.

    `folder`: where its checkpoints go. `resume_from`: a checkpoint to go on from, the trial's own or another's;
    weights, optimiser moments, random numbers, completed epochs and the position in the schedule are taken over,
    `config` is in force from there. If it has all epochs already, nothing happens. `process_started_s`: the Unix time
    at which the process started, for its first trial, which is charged for the imports.

    `place`: this process's among the task's processes, where there are several; all call this alike, and `on_epoch` is
    called by rank 0 alone.

    What `on_epoch` raises ends the trial and is passed on. Raises TrialFailed where the trial cannot go on, whichever
    rank it happened on; UserError where the user must see to something (data, model, DeepSpeed's file, a full disk);
    RankLost where another process died. Returns early on the other ranks where rank 0 has ended the trial.
    """
    task = effective_task(task, config)
    clock = PhaseClock(time.time() - process_started_s if process_started_s is not None else 0.0)
    try:
        # Accelerate imports DeepSpeed where it finds it, used or not.
        spared = absent(*(() if task.deepspeed is not None else ("deepspeed",)))
        with quiet(), randomness.restored(), sampled(task, place), spared, joined(task, place) as group:
            run = _Run(task, config, folder, resume_from, on_epoch, clock, group)
            try:
                _check(task)
                run.train()
            except BaseException as error:
                forget_frames(error)  # what they hold would keep the group's connections open
                if error is run.foreign:
                    group.decide(go_on=False)
                    raise
                phases = clock.take()
                cause = _cause(error, folder, phases)
                ended = group.settle(cause, phases)
                if not isinstance(error, Exception):
                    raise
                raise ended from (error if ended is cause and isinstance(ended, TrialFailed) else None)
            finally:
                run.release()
                if task.deepspeed is not None:
                    deepspeed.forget()
    except Dismissed:
        if place is None or place.rank == 0:
            raise RankLost("a rank failed before the trial began") from None


def follow_trial(task: TrainingTask, config: Config, *, folder: Path, resume_from: Path | None, place: Place) -> None:
    """What a rank other than 0 does: it trains along, and leaves it to rank 0 to say how the trial ended."""
    with contextlib.suppress(TrialFailed, UserError, RankLost):
        train_trial(task, config, folder=folder, resume_from=resume_from, on_epoch=_nothing, place=place)


def _nothing(result: EpochResult) -> None:
    raise AssertionError("only rank 0 reports")


def _cause(error: BaseException, folder: Path, phases: Phases) -> Exception:
    """What an exception in training means to who asked for the trial."""
    if isinstance(error, (UserError, TrialFailed, Dismissed)):
        return error
    full = no_space(error, folder)
    if full is not None:
        return full
    if isinstance(error, LossNotFinite):
        return TrialFailed(state="nan", detail=str(error), phases=phases)
    if isinstance(error, Mismatch):
        return TrialFailed(state="failed", detail=str(error), phases=phases)
    state, detail = state_of(error)
    return TrialFailed(state=state, detail=detail, phases=phases)


def _forget_peaks(task: TrainingTask) -> None:
    """What an earlier trial of this process needed at most is none of this one's memory."""
    if task.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):  # a kernel without it: the peak is the process's
        Path("/proc/self/clear_refs").write_text("5")


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
        group: Alone,
    ) -> None:
        self._task = task
        self._config = dict(config)
        self._folder = folder
        self._resume_from = resume_from
        self._on_epoch = on_epoch
        self._clock = clock
        self._group = group
        self._trainer: TrialTrainer | None = None
        self._prepared: Prepared | None = None
        self._steps = FirstSteps(task.device)
        self._told = False
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
            self._clock.part("DeepSpeed")
            deepspeed.start(task)
        self._prepared = prepare(task, self._clock.part)
        self._clock.part("trainer")
        _forget_peaks(task)
        engine = deepspeed.load_config(task)
        pad_to = task.workload.max_tokens if task.recipe.padding == "max_length" else None
        self._trainer = TrialTrainer(
            prepared=self._prepared,
            model=to_train(self._prepared.model, task, self._config),
            arguments=training_arguments(task, self._config, self._folder, engine),
            pad_to=pad_to,
            start_epoch=start,
            deepspeed=engine,
            callbacks=[self],
            group=self._group,
            computation=task.recipe.computation,
        )
        self._trainer.train()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        assert self._trainer is not None
        randomness.part(self._task.init_seed, self._group.rank)
        if self._resume_from is not None:
            self._clock.enter("restore")
            checkpoint.restore(self._trainer, self._resume_from, self._group)
            self._clock.enter("startup")
        self._clock.part("read-back")
        read_back(self._trainer, self._task, self._config, kwargs["train_dataloader"], self._group)
        self._clock.enter("train")

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._steps.begin()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._steps.end()

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        assert self._trainer is not None
        assert self._prepared is not None
        epoch = round(state.epoch or 0)
        train_loss = self._trainer.take_train_loss()
        self._clock.enter("eval")
        train_s = self._clock.spent_s("train")
        path = checkpoint.checkpoint_path(self._folder, epoch)
        eval_loss = self._evaluate_and_save(self._trainer, path, epoch)
        device_memory_mib, host_memory_mib = self._memory_mib()
        if self._group.leads:
            checkpoint.keep_newest(self._folder, self._task.keep_checkpoints)
            result = EpochResult(
                epoch=epoch,
                eval_loss=eval_loss,
                train_loss=train_loss,
                phases=self._clock.take(),
                samples_per_s=len(self._prepared.train) / train_s,
                tokens_per_s=self._prepared.train_tokens / train_s,
                device_memory_mib=device_memory_mib,
                host_memory_mib=host_memory_mib,
                config=dict(self._config),
                checkpoint=path,
                startup_parts_s=self._startup_parts_s(),
            )
            self._report(result)
            self._group.decide(go_on=True)
        else:
            self._group.obey()
        if epoch >= self._task.epochs:
            control.should_training_stop = True
        self._clock.enter("train")

    def _evaluate_and_save(self, trainer: TrialTrainer, path: Path, epoch: int) -> float:
        """The evaluation loss, and the checkpoint on disk, if there is to be one."""
        saves = self._task.workload.checkpoints or epoch == self._task.epochs
        if not saves or self._task.recipe.computation.checkpoints == "waits":
            eval_loss = trainer.evaluation_loss()
            self._clock.enter("checkpoint")
            if saves:
                checkpoint.save(trainer, path, epoch, self._config, self._group)
            return eval_loss
        self._clock.enter("checkpoint")
        write = checkpoint.taken(trainer, path, epoch, self._config, self._group)
        # Evaluation leaves weights and random numbers as they are: it may go on beside the writing.
        with ThreadPoolExecutor(1) as pool:
            written = pool.submit(write)
            self._clock.enter("eval")
            eval_loss = trainer.evaluation_loss()
            self._clock.enter("checkpoint")
            written.result()
        return eval_loss

    def _startup_parts_s(self) -> dict[str, float]:
        """What the trial's start-up went to, for its first result; nothing after it."""
        if self._told:
            return {}
        self._told = True
        first_s = self._steps.first_longer_s
        return self._clock.startup_parts_s | ({} if first_s is None else {FIRST_STEP: first_s})

    def _memory_mib(self) -> tuple[float | None, float]:
        """The peaks of the fullest device, and of all the processes' memory together."""
        host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        device = torch.cuda.max_memory_allocated() / 2**20 if self._task.device == "cuda" else math.nan
        ranks = self._group.gather(torch.tensor([device, host], dtype=torch.float64))
        devices, hosts = zip(*(rank.tolist() for rank in ranks), strict=True)
        return None if math.isnan(device) else max(devices), sum(hosts)

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
