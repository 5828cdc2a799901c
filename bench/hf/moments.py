"""Weights and optimiser state by parameter name, with and without DeepSpeed.

Under ZeRO the optimiser holds flat 32-bit copies, in which DeepSpeed tells where each parameter lies.
"""

from __future__ import annotations

from typing import Any

import torch

from bench.errors import UserError

Tensors = dict[str, torch.Tensor]


def zero_stage(trainer: Any) -> int:
    """The ZeRO stage in force; 0 without DeepSpeed and without ZeRO."""
    return int(trainer.deepspeed.zero_optimization_stage()) if trainer.deepspeed is not None else 0


def read(trainer: Any) -> tuple[Tensors, Tensors]:
    """The weights in full precision, and the optimiser's state as `<parameter>/<key>`."""
    if zero_stage(trainer) > 0:
        return _read_zero(trainer)
    weights = {name: weight.detach().cpu().contiguous() for name, weight in _named(trainer.model).items()}
    by_parameter = _torch_optimiser(trainer).state
    state = {
        f"{name}/{key}": torch.as_tensor(value).detach().cpu().contiguous()
        for name, weight in trainer.model.named_parameters()
        for key, value in by_parameter.get(weight, {}).items()
    }
    return weights, state


def write(trainer: Any, weights: Tensors, optimiser: Tensors) -> None:
    """The inverse of `read`, onto a built trainer. Raises UserError where the weights are of another model."""
    if zero_stage(trainer) > 0:
        _write_zero(trainer, weights, optimiser)
        return
    write_weights(trainer.model, weights)
    names = {weight: name for name, weight in trainer.model.named_parameters()}
    by_name = _by_name(optimiser)
    torch_optimiser = _torch_optimiser(trainer)
    order = [weight for group in torch_optimiser.param_groups for weight in group["params"]]
    # Through load_state_dict, which puts each tensor where its parameter is, with our own groups' settings.
    torch_optimiser.load_state_dict(
        {
            "state": {i: by_name[names[weight]] for i, weight in enumerate(order) if names[weight] in by_name},
            "param_groups": torch_optimiser.state_dict()["param_groups"],
        }
    )


def write_weights(model: Any, weights: Tensors) -> None:
    """Copies weights into a model. Raises UserError where they are of another model."""
    own = _named(model)
    _check(own, weights)
    with torch.no_grad():
        for name, weight in own.items():
            weight.copy_(weights[name])


def read_loss_scale(trainer: Any) -> dict[str, float] | None:
    """The state of dynamic loss scaling; None where the precision needs none."""
    if trainer.deepspeed is not None:
        scaler = getattr(trainer.deepspeed.optimizer, "loss_scaler", None)
        names = ("cur_scale", "cur_iter", "last_overflow_iter", "cur_hysteresis")
        return {name: getattr(scaler, name) for name in names if hasattr(scaler, name)} if scaler is not None else None
    scaler = getattr(trainer.accelerator, "scaler", None)
    return dict(scaler.state_dict()) if scaler is not None else None


def write_loss_scale(trainer: Any, state: dict[str, float] | None) -> None:
    """The inverse of `read_loss_scale`; what the precision in force does not use is left alone."""
    if not state:
        return
    if trainer.deepspeed is not None:
        scaler = getattr(trainer.deepspeed.optimizer, "loss_scaler", None)
        for name, value in state.items():
            if hasattr(scaler, name):
                setattr(scaler, name, value)
    elif getattr(trainer.accelerator, "scaler", None) is not None:
        trainer.accelerator.scaler.load_state_dict(state)


def _named(model: Any) -> Tensors:
    """Parameters, each once however many names it has, and the buffers that belong to the model's state."""
    kept = model.state_dict(keep_vars=True)
    return dict(model.named_parameters()) | {name: b for name, b in model.named_buffers() if name in kept}


def _torch_optimiser(trainer: Any) -> Any:
    optimiser = trainer.optimizer
    while hasattr(optimiser, "optimizer"):
        optimiser = optimiser.optimizer
    return optimiser


def _by_name(state: Tensors) -> dict[str, Tensors]:
    by_name: dict[str, Tensors] = {}
    for path, value in state.items():
        name, key = path.rsplit("/", 1)
        by_name.setdefault(name, {})[key] = value
    return by_name


def _check(own: Tensors, weights: Tensors) -> None:
    if own.keys() != weights.keys():
        odd = sorted(own.keys() ^ weights.keys())[0]
        raise UserError(f"The checkpoint is of another model ({odd} is in one only): resume with its own model.")


def zero_groups(trainer: Any) -> list[tuple[torch.Tensor, list[torch.nn.Parameter]]]:
    """Each group of ZeRO's optimiser: its flat 32-bit copy, and the model's parameters that lie in it.

    With one process the one partition holds all of them.
    """
    engine = trainer.deepspeed.optimizer
    if hasattr(engine, "bf16_groups"):
        return list(zip(engine.fp32_groups_flat_partition, engine.bf16_groups, strict=True))
    return list(zip(engine.single_partition_of_fp32_groups, engine.bit16_groups, strict=True))


def _slice(flat: torch.Tensor, weight: torch.nn.Parameter) -> torch.Tensor:
    address = weight._hp_mapping.get_hp_fragment_address()
    return flat.narrow(0, address.start, address.numel).view_as(weight)


def _read_zero(trainer: Any) -> tuple[Tensors, Tensors]:
    names = {id(weight): name for name, weight in trainer.model.named_parameters()}
    by_flat = _torch_optimiser(trainer).state
    weights, state = {}, {}
    for flat, group in zero_groups(trainer):
        for weight in group:
            name = names[id(weight)]
            weights[name] = _slice(flat.detach(), weight).cpu().clone()
            for key, value in by_flat.get(flat, {}).items():
                whole = torch.is_tensor(value) and value.shape == flat.shape
                state[f"{name}/{key}"] = (
                    _slice(value, weight).cpu().clone() if whole else torch.as_tensor(value).clone()
                )
    return weights, state


def _write_zero(trainer: Any, weights: Tensors, optimiser: Tensors) -> None:
    names = {id(weight): name for name, weight in trainer.model.named_parameters()}
    _check(dict(trainer.model.named_parameters()), weights)
    by_name = _by_name(optimiser)
    by_flat = _torch_optimiser(trainer).state
    for flat, group in zero_groups(trainer):
        for weight in group:
            name = names[id(weight)]
            with torch.no_grad():
                weight.copy_(weights[name])
                _slice(flat, weight).copy_(weights[name])
            for key, value in by_name.get(name, {}).items():
                if value.shape != weight.shape:
                    by_flat[flat][key] = value.clone()
                else:
                    _slice(by_flat[flat].setdefault(key, torch.zeros_like(flat)), weight).copy_(value)
