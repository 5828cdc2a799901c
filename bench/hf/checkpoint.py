"""A trial's state on disk: weights, optimiser moments, random numbers and position. Safetensors and JSON, no pickle.

A checkpoint is a folder `epoch-0003` with `model.safetensors` and `config.json` (which transformers loads as a model),
or where adapters alone were trained `adapter_model.safetensors` and `adapter_config.json` (which peft loads onto the
untrained model), `state.safetensors` and `state.json`. It holds tensors by parameter name, so that a trial with another
configuration, or another ZeRO stage, can take them over. Learning rate and weight decay are not in it: they are the
taker's own. Of a trial's processes rank 0 writes it, with the random numbers of each, and all read it.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from bench.errors import UserError
from bench.hf import lora, moments, randomness
from bench.hf.group import Alone
from bench.space import Config

Tensors = dict[str, torch.Tensor]

OPTIMISER, RANDOM = "optimiser/", "random/"
WEIGHTS_NAME = "model.safetensors"
_PREFIX = "epoch-"


def checkpoint_path(folder: Path, epoch: int) -> Path:
    return folder / f"{_PREFIX}{epoch:04d}"


def save(trainer: Any, path: Path, epoch: int, config: Config, group: Alone) -> None:
    """Writes `path` whole or not at all. Every rank of the group calls it."""
    taken(trainer, path, epoch, config, group)()


def taken(trainer: Any, path: Path, epoch: int, config: Config, group: Alone) -> Callable[[], None]:
    """`save` in two parts: what every rank of the group has to do, and the writing, which may be called in a thread but
    must be over before the weights change."""
    state = _random(group)
    if group.leads or moments.zero_stage(trainer) > 0:
        weights, optimiser = moments.read(trainer)
        state |= {OPTIMISER + name: value for name, value in optimiser.items()}
    if not group.leads:
        return _nothing
    return functools.partial(_write, trainer, path, epoch, config, weights, state)


def _nothing() -> None:
    """What the other ranks write."""


def _write(trainer: Any, path: Path, epoch: int, config: Config, weights: Tensors, state: Tensors) -> None:
    draft = path.parent / f".draft-{path.name}-{os.getpid()}"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        if lora.found(trainer.model) is None:
            save_file(weights, draft / WEIGHTS_NAME, metadata={"format": "pt"})
        else:
            save_file(lora.pefts_names(weights), draft / lora.WEIGHTS_NAME, metadata={"format": "pt"})
            lora.write_settings(trainer.model, draft)
        save_file(state, draft / "state.safetensors")
        trainer.model.config.to_json_file(draft / "config.json", use_diff=False)
        position = {
            "epoch": epoch,
            "schedule_steps": trainer.lr_scheduler.last_epoch,
            "steps_per_epoch": trainer.steps_per_epoch,
            "loss_scale": moments.read_loss_scale(trainer),
            "config": dict(config),
        }
        (draft / "state.json").write_text(json.dumps(position), encoding="utf-8")
        # A trial that goes back to an earlier checkpoint meets its own later ones.
        shutil.rmtree(path, ignore_errors=True)
        draft.rename(path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _random(group: Alone) -> Tensors:
    """The state of every rank's generators."""
    return {
        _random_of(rank) + name: value
        for name, own in randomness.capture().items()
        for rank, value in enumerate(group.gather(own))
    }


def _random_of(rank: int) -> str:
    return RANDOM if rank == 0 else f"{RANDOM}{rank}/"


def keep_newest(folder: Path, count: int) -> None:
    """Removes all but the newest `count` checkpoints of a trial."""
    for old in sorted(folder.glob(f"{_PREFIX}*"))[: -max(1, count)]:
        shutil.rmtree(old, ignore_errors=True)


def epoch_of(path: Path) -> int:
    """The completed epochs of a checkpoint."""
    return int(_position(path)["epoch"])


def config_of(path: Path) -> Config:
    """The configuration in force when a checkpoint was saved."""
    config: Config = _position(path)["config"]
    return config


def restore(trainer: Any, path: Path, group: Alone) -> None:
    """Brings a built trainer to where the checkpoint was saved. Every rank of the group calls it.

    The position in the schedule is taken over as a fraction of the horizon, since the steps of an epoch may differ.
    """
    position = _position(path)
    try:
        state = load_file(path / "state.safetensors")
        weights = load_weights(path)
    except Exception as error:  # safetensors has no public error type for a damaged file
        raise UserError(f"Cannot read the checkpoint {path} ({error}): resume from an earlier one.") from None
    optimiser = {name.removeprefix(OPTIMISER): value for name, value in state.items() if name.startswith(OPTIMISER)}
    moments.write(trainer, weights, optimiser)
    moments.write_loss_scale(trainer, position["loss_scale"])
    steps = position["schedule_steps"]
    if position["steps_per_epoch"] != trainer.steps_per_epoch:
        steps = round(steps * trainer.steps_per_epoch / position["steps_per_epoch"])
    _move_schedule(trainer, steps)
    own = _random_of(group.rank)
    if own + "torch" in state:  # else the trial that saved it had fewer ranks
        randomness.restore({name.removeprefix(own): value for name, value in state.items() if name.startswith(own)})


def load_weights(path: Path) -> dict[str, torch.Tensor]:
    """The trained weights of a checkpoint by parameter name."""
    if (path / lora.WEIGHTS_NAME).is_file():
        return lora.own_names(load_file(path / lora.WEIGHTS_NAME))
    return load_file(path / WEIGHTS_NAME)


def _position(path: Path) -> dict[str, Any]:
    try:
        position: dict[str, Any] = json.loads((path / "state.json").read_text(encoding="utf-8"))
        return position
    except (OSError, ValueError) as error:
        raise UserError(f"Cannot read the checkpoint {path} ({error}): resume from an earlier one.") from None


def _move_schedule(trainer: Any, steps: int) -> None:
    scheduler = trainer.lr_scheduler
    scheduler = getattr(scheduler, "scheduler", scheduler)
    rates = [base * factor(steps) for base, factor in zip(scheduler.base_lrs, scheduler.lr_lambdas, strict=True)]
    scheduler.last_epoch, scheduler._step_count, scheduler._last_lr = steps, steps + 1, rates
    for group, rate in zip(scheduler.optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
