"""What a ladder or a start-up trains: a workload, cut and changed as asked, and its configuration."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.profile import Profile
from bench.seeds import child_seed
from bench.training import TrainingTask
from bench.workload import ModelSource, Workload, load_recipe, load_workload

RANDOM_VOCABULARY = 8192
"""Words of the tokenizer that is trained for a model from random weights; the model keeps its own number."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What to measure. `epochs`, `train`: instead of the workload's (`train`: examples; a validation split is at most
    as large). `random_weights`: the architecture of the hub's model without its weights."""

    workload: str
    epochs: int | None = None
    train: int | None = None
    dataset: Path | None = None
    dataset_name: str | None = None
    random_weights: bool = False
    batch_size: int | None = None
    learning_rate: float | None = None
    seed: int = 0

    @property
    def data_words(self) -> str:
        data = load_workload(self.workload).data
        if self.dataset is not None:
            return self.dataset_name or self.dataset.name
        return "the workload's own, generated" if data.hub is None else f"{data.hub} from the hub"

    @property
    def weights_words(self) -> str:
        model = load_workload(self.workload).model
        if model.hub is None:
            return "random weights"
        if self.random_weights:
            return (
                f"the architecture of {model.hub} with RANDOM weights, and a tokenizer of {RANDOM_VOCABULARY} words "
                "trained on the data"
            )
        return f"weights of {model.hub}"


def task_of(asked: Asked, profile: Profile, cache: Path) -> TrainingTask:
    """The task under `qa`. Raises UserError where it cannot be."""
    workload = _workload(asked)
    if asked.dataset is not None and not asked.dataset.exists():
        raise UserError(f"--dataset {asked.dataset} does not exist: check the path.")
    return TrainingTask(
        workload=workload,
        recipe=load_recipe("qa"),
        precision=profile.precision,
        device=profile.device,
        threads=profile.cpus_per_device,
        init_seed=child_seed(asked.seed, "init"),
        data_seed=child_seed(asked.seed, "data order"),
        epochs=asked.epochs or workload.epochs,
        cache=cache,
        dataset=asked.dataset.absolute() if asked.dataset else None,
        keep_checkpoints=1,
    )


def _workload(asked: Asked) -> Workload:
    workload = load_workload(asked.workload)
    if asked.epochs is not None and asked.epochs > workload.horizon_epochs:
        raise UserError(
            f"--epochs {asked.epochs} is more than {workload.name} has: give up to {workload.horizon_epochs}."
        )
    if asked.train is not None:
        data = workload.data
        if asked.train > data.train:
            raise UserError(f"--examples {asked.train} is more than {workload.name} has: give up to {data.train}.")
        small = min(asked.train, data.validation)
        workload = replace(workload, known=(), data=replace(data, train=asked.train, validation=small))
    if asked.random_weights:
        architecture = workload.model.architecture
        if architecture is None:
            raise UserError(
                f"{workload.name} has no model whose weights could be left away: drop --random-weights, or name a "
                "workload with a model of the hub, such as bloom560m-squad."
            )
        workload = replace(workload, known=(), model=ModelSource(bloom=architecture, vocab_size=RANDOM_VOCABULARY))
    return workload


def measured_name(asked: Asked, profile: Profile) -> str:
    """What the folder of a measurement is called."""
    data = [asked.dataset.stem.replace(".", "-")] if asked.dataset else []
    return "-".join([asked.workload, *data, *(["random"] if asked.random_weights else []), profile.name])


def config_of(asked: Asked) -> dict[str, Any]:
    """The configuration that is measured: the first point of the workload's grid, with its largest weight decay, so
    that whether it applies shows in the losses."""
    space = load_workload(asked.workload).space
    return {
        "learning_rate": asked.learning_rate or float(space["learning_rate"]["grid"][0]),
        "batch_size": asked.batch_size or int(space["batch_size"]["choice"][0]),
        "weight_decay": float(space["weight_decay"]["choice"][-1]),
    }
