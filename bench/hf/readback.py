"""What really is in force in a built trainer, compared with what the configuration and the recipe demand."""

from __future__ import annotations

import math
from typing import Any

import torch

from bench.hf import lora
from bench.hf.arguments import accumulation, clip_norm, horizon_epochs, optimizer, scheduler, weight_decay
from bench.hf.group import Alone
from bench.hf.moments import checksums, torch_optimiser, zero_groups, zero_stage
from bench.hf.schedule import factor
from bench.hyperparameters import OPTIMIZERS, SGD_MOMENTUM
from bench.space import Config
from bench.training import TrainingTask


class Mismatch(Exception):
    """A setting that did not arrive."""


def read_back(trainer: Any, task: TrainingTask, config: Config, dataloader: Any, group: Alone) -> None:
    """Raises Mismatch naming the first setting that differs. Called on every rank after restoring, before the first
    step."""
    _same("processes", task.processes, int(trainer.accelerator.num_processes))
    _same("batch_size", int(config["batch_size"]) * group.size, _batch_size(dataloader))
    _accumulation(trainer, task, accumulation(config), len(dataloader))
    _optimizer(trainer, optimizer(config))
    _learning_rate(trainer, task, config)
    _adapters(trainer.model, config)
    _weight_decay(trainer, weight_decay(task, config))
    _same("gradient clipping", clip_norm(task), _clipping(trainer))
    _same("precision", task.precision, _precision(trainer))
    if trainer.deepspeed is not None:
        _same("ZeRO stage", trainer.asked_zero_stage, zero_stage(trainer))
        if task.precision == "fp16":
            _same("dynamic loss scale", True, bool(trainer.deepspeed.dynamic_loss_scale()))
    _equal_on_all(trainer, group)


def _same(what: str, asked: float | str, found: float | str) -> None:
    if isinstance(asked, str) or isinstance(found, str):
        equal = asked == found
    else:
        equal = asked == found or math.isclose(asked, found, rel_tol=1e-9)
    if not equal:
        raise Mismatch(f"{what}: asked {asked}, found {found}")


def _batch_size(dataloader: Any) -> int:
    return int(dataloader.total_batch_size if hasattr(dataloader, "total_batch_size") else dataloader.batch_size)


def _equal_on_all(trainer: Any, group: Alone) -> None:
    """Every rank starts from the same weights and the same optimiser state, to the bit."""
    if group.size == 1:
        return
    sums = checksums(trainer)
    first, *others = group.gather(torch.stack(list(sums.values())) if sums else torch.zeros(0, dtype=torch.int64))
    for rank, found in enumerate(others, 1):
        for name, one, other in zip(sums, first.tolist(), found.tolist(), strict=True):
            _same(f"checksum of {name} on rank {rank}", f"{one:x}", f"{other:x}")


def _learning_rate(trainer: Any, task: TrainingTask, config: Config) -> None:
    """The schedule starts from the configuration's rate, has the shape asked for, and stands where its step says."""
    asked, name = float(config["learning_rate"]), scheduler(config)
    built = getattr(trainer.lr_scheduler, "scheduler", trainer.lr_scheduler)
    for base in built.base_lrs:
        _same("learning_rate", asked, float(base))
    steps = horizon_epochs(task) * trainer.steps_per_epoch
    warmup = math.ceil(steps * task.workload.warmup_fraction)
    for step in sorted({0, warmup // 2, warmup, (warmup + steps) // 2, steps - 1}):
        right = factor(name, step, warmup=warmup, steps=steps)
        for shape in built.lr_lambdas:
            _same(f"lr_scheduler {name}, warmup_fraction {task.workload.warmup_fraction:g} at step {step} of {steps}",
                  right, float(shape(step)))  # fmt: skip
    step = built.last_epoch
    for group in trainer.optimizer.param_groups:
        right = asked * factor(name, step, warmup=warmup, steps=steps)
        _same(f"learning_rate at step {step}", right, float(group["lr"]))


def _accumulation(trainer: Any, task: TrainingTask, asked: int, batches: int) -> None:
    """So many batches a step, in the loop's own settings, in DeepSpeed's, and in the steps that the loop counts."""
    _same("gradient_accumulation", asked, int(trainer.args.gradient_accumulation_steps))
    if trainer.deepspeed is not None:
        _same("gradient_accumulation", asked, int(trainer.deepspeed.gradient_accumulation_steps()))
    _same("steps of an epoch", trainer.steps_per_epoch, math.ceil(batches / asked))
    _same("steps of the horizon", horizon_epochs(task) * trainer.steps_per_epoch, int(trainer.state.max_steps))


def _optimizer(trainer: Any, asked: str) -> None:
    """The class that steps. DeepSpeed has several of its own for AdamW, and no other is asked of it."""
    built = torch_optimiser(trainer)
    if trainer.deepspeed is not None:
        return
    classes = dict(zip(OPTIMIZERS, ("AdamW", "Adafactor", "Adagrad", "RMSprop", "SGD"), strict=True))
    _same("optimizer", classes[asked], type(built).__name__)
    if asked == "sgd":
        for group in built.param_groups:
            _same("momentum", SGD_MOMENTUM, float(group["momentum"]))


def _adapters(model: Any, config: Config) -> None:
    """LoRA's settings are those of all adapters, and they alone are trained; without LoRA all weights are."""
    asked = lora.asked(config)
    try:
        found = lora.found(model)
    except ValueError as error:
        raise Mismatch(f"LoRA: {error}") from None
    if (asked is None) != (found is None):
        raise Mismatch(f"LoRA: asked {asked or 'none'}, found {found or 'none'}")
    if asked is not None and found is not None:
        for name in ("rank", "alpha", "dropout"):
            _same(f"lora_{name}", getattr(asked, name), getattr(found, name))
    for name, weight in model.named_parameters():
        if weight.requires_grad != (asked is None or lora.is_adapter(name)):
            raise Mismatch(f"{name} is {'trained' if weight.requires_grad else 'frozen'} and should not be")


def _weight_decay(trainer: Any, asked: float) -> None:
    """The decay is that of the configuration on what the Trainer decays (the matrices), and nothing elsewhere."""
    decayed = set(trainer.get_decay_parameter_names(trainer.model))
    names = {id(weight): name for name, weight in trainer.model.named_parameters() if weight.requires_grad}
    seen = set()
    for group, weights in zip(trainer.optimizer.param_groups, _groups(trainer), strict=True):
        for weight in weights:
            if id(weight) not in names:
                raise Mismatch("the optimiser holds a parameter that is not trained")
            name = names[id(weight)]
            seen.add(name)
            _same(f"weight_decay of {name}", asked if name in decayed else 0.0, float(group["weight_decay"]))
    missing = sorted(set(names.values()) - seen)
    if missing:
        raise Mismatch(f"the optimiser does not hold {missing[0]}")


def _groups(trainer: Any) -> list[list[torch.nn.Parameter]]:
    """The model's parameters, group by group; ZeRO's optimiser holds flat copies in their place."""
    if zero_stage(trainer) > 0:
        return zero_groups(trainer)
    return [list(group["params"]) for group in trainer.optimizer.param_groups]


def _clipping(trainer: Any) -> float:
    if trainer.deepspeed is not None:
        return float(trainer.deepspeed.gradient_clipping())
    return float(trainer.args.max_grad_norm or 0.0)


def _precision(trainer: Any) -> str:
    engine = trainer.deepspeed
    if engine is not None:
        return "fp16" if engine.fp16_enabled() else "bf16" if engine.bfloat16_enabled() else "fp32"
    mixed = str(trainer.accelerator.mixed_precision)
    dtypes = {weight.dtype for weight in trainer.model.parameters()}
    if dtypes != {torch.float32}:
        return f"weights in {', '.join(sorted(str(d) for d in dtypes))}"
    return "fp32" if mixed == "no" else mixed
