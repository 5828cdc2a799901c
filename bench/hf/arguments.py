"""The Trainer's arguments for one trial."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import TrainingArguments

from bench.hyperparameters import OPTIMIZERS, SCHEDULERS, SGD_MOMENTUM
from bench.space import Config
from bench.training import TrainingTask


def clip_norm(task: TrainingTask) -> float:
    """The norm that gradients are clipped to; 0 where the recipe does not clip."""
    return task.workload.max_grad_norm if task.recipe.applies_clipping else 0.0


def weight_decay(task: TrainingTask, config: Config) -> float:
    """The weight decay that must reach the matrices; 0 where the recipe does not apply it."""
    return float(config.get("weight_decay", 0.0)) if task.recipe.applies_weight_decay else 0.0


def optimizer(config: Config) -> str:
    """The optimiser's word; the first one is AdamW, computed as the recipe says."""
    return str(config.get("optimizer", OPTIMIZERS[0]))


def scheduler(config: Config) -> str:
    """The word for the schedule of the learning rate."""
    return str(config.get("lr_scheduler", SCHEDULERS[0]))


def accumulation(config: Config) -> int:
    """Batches a step of the optimiser; an epoch's last step may have fewer."""
    return int(config.get("gradient_accumulation", 1))


def horizon_epochs(task: TrainingTask) -> int:
    """The epochs over which the learning rate decays to nothing."""
    return task.workload.horizon_epochs if task.recipe.horizon == "workload" else task.epochs


def training_arguments(
    task: TrainingTask, config: Config, folder: Path, deepspeed: dict[str, Any] | None
) -> TrainingArguments:
    """The arguments; the trial stops after `task.epochs`, the schedule ends after `horizon_epochs`."""
    if deepspeed is not None and accumulation(config) > 1:
        deepspeed = {"gradient_accumulation_steps": "auto", **deepspeed}
    arguments = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=horizon_epochs(task),
        learning_rate=float(config["learning_rate"]),
        weight_decay=weight_decay(task, config),
        max_grad_norm=clip_norm(task),
        per_device_train_batch_size=int(config["batch_size"]),
        per_device_eval_batch_size=task.workload.eval_batch_size,
        lr_scheduler_type=scheduler(config),
        gradient_accumulation_steps=accumulation(config),
        warmup_steps=task.workload.warmup_fraction,
        seed=task.init_seed,
        data_seed=task.data_seed,
        use_cpu=task.device == "cpu",
        fp16=task.precision == "fp16",
        bf16=task.precision == "bf16",
        deepspeed=deepspeed,
        logging_nan_inf_filter=False,
        logging_strategy="no",
        eval_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        # What lies on the device cannot be pinned.
        dataloader_pin_memory=task.device == "cuda" and task.recipe.computation.batches == "loader",
        log_level="error",
        **_optimizer_arguments(optimizer(config)),
    )
    # One process drives one device, however many the machine shows: DataParallel would multiply the batch.
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1
    return arguments


def _optimizer_arguments(name: str) -> dict[str, Any]:
    if name == OPTIMIZERS[0]:
        return {}  # the Trainer's own, or what the recipe makes of it
    return {"optim": name} | ({"optim_args": f"momentum={SGD_MOMENTUM}"} if name == "sgd" else {})
