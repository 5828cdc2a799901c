"""From a study to what its trainings have in common."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bench.errors import UserError
from bench.hyperparameters import Value
from bench.profile import load_profile
from bench.seeds import child_seed
from bench.space import Choice, LogUniform
from bench.stages.result import StagesStudy
from bench.training import TrainingTask
from bench.workload import Workload, load_recipe, load_workload
from bench.zero import Sharding, shardings

EPOCHS = 3
WEIGHT_DECAY = 0.01
"""Both as in the exercise that asks for this."""


def training_task(study: StagesStudy, results: Path) -> TrainingTask:
    """Without checkpoints between epochs: how a model's state is held is to be seen, not what saving it costs."""
    return TrainingTask(
        workload=replace(load_workload(study.workload), checkpoints=False),
        recipe=load_recipe(study.recipe),
        precision=study.precision,
        device=study.device,
        threads=load_profile(study.profile).cpus_per_device,
        processes=study.processes,
        init_seed=child_seed(study.seed, "init"),
        data_seed=child_seed(study.seed, "data order"),
        epochs=study.epochs,
        cache=(results / "runs" / ".cache").absolute(),
        model=Path(study.model).absolute() if study.model else None,
        dataset=Path(study.dataset).absolute() if study.dataset else None,
        keep_checkpoints=1,
    )


def configuration(study: StagesStudy) -> dict[str, Value]:
    """What all trainings are given."""
    return {
        "learning_rate": study.learning_rate,
        "batch_size": study.batch_size,
        "weight_decay": study.weight_decay,
    }


def chosen(only: tuple[str, ...]) -> tuple[Sharding, ...]:
    """The rows of those names, or all. Raises UserError."""
    every = shardings()
    names = [sharding.name for sharding in every]
    for name in only:
        if name not in names:
            raise UserError(f"--only {name} names no row: the rows are {', '.join(names)}.")
    return tuple(sharding for sharding in every if not only or sharding.name in only)


def default_learning_rate(workload: Workload) -> float:
    """The geometric middle of the workload's range. Raises UserError where it has none."""
    for dimension in workload.search_space.dimensions:
        if isinstance(dimension, LogUniform) and dimension.name == "learning_rate":
            return float(f"{(dimension.lower * dimension.upper) ** 0.5:.3g}")
    raise UserError(f"Workload {workload.name} has no range of learning rates: give --learning-rate.")


def default_batch_size(workload: Workload) -> int:
    """The smallest that the workload chooses from. Raises UserError where it has none."""
    for dimension in workload.search_space.dimensions:
        if isinstance(dimension, Choice) and dimension.name == "batch_size":
            return min(int(value) for value in dimension.values)
    raise UserError(f"Workload {workload.name} has no choice of batch sizes: give --batch-size.")
