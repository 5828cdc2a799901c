"""Weights and optimiser state by parameter name, with and without DeepSpeed.

Under ZeRO the optimiser's state is split over the trial's processes: DeepSpeed puts it together, and takes it apart, by
parameter, which all processes must ask for alike.
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
    """The trained weights in full precision, and the optimiser's state as `<parameter>/<key>`."""
    if zero_stage(trainer) > 0:
        return _read_zero(trainer)
    weights = {name: weight.detach().cpu().contiguous() for name, weight in _named(trainer.model).items()}
    by_parameter = torch_optimiser(trainer).state
    state = {
        f"{name}/{key}": torch.as_tensor(value).detach().cpu().contiguous()
        for name, weight in trainer.model.named_parameters()
        for key, value in by_parameter.get(weight, {}).items()
        if value is not None
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
    built = torch_optimiser(trainer)
    order = [weight for group in built.param_groups for weight in group["params"]]
    # Through load_state_dict, which puts each tensor where its parameter is, with our own groups' settings.
    built.load_state_dict(
        {
            "state": {i: by_name[names[weight]] for i, weight in enumerate(order) if names[weight] in by_name},
            "param_groups": built.state_dict()["param_groups"],
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


def checksums(trainer: Any) -> dict[str, torch.Tensor]:
    """A sum over the bits of every weight, and of what the optimiser keeps of it where each process keeps all."""
    stage = zero_stage(trainer)
    whole = _named(trainer.model) if stage < 3 else {}
    if stage == 0:
        by_parameter = torch_optimiser(trainer).state
        for name, weight in trainer.model.named_parameters():
            of_this = by_parameter.get(weight, {}).items()
            whole |= {f"{name}/{key}": torch.as_tensor(v) for key, v in of_this if v is not None}
    words = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    return {
        name: value.detach().contiguous().reshape(-1).view(words[value.element_size()]).sum(dtype=torch.int64).cpu()
        for name, value in whole.items()
    }


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
    """What training changes: parameters, each once however many names it has, and the buffers that belong to the
    model's state; where some parameters are frozen, the others alone, since the rest is the task's own."""
    parameters = dict(model.named_parameters())
    trained = _trained(model)
    if len(trained) < len(parameters):
        return trained
    kept = model.state_dict(keep_vars=True)
    return parameters | {name: b for name, b in model.named_buffers() if name in kept}


def _trained(model: Any) -> Tensors:
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def torch_optimiser(trainer: Any) -> Any:
    """The optimiser that steps, without what accelerate and DeepSpeed put around it."""
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
    for name, weight in own.items():
        shape = whole_shape(weight)
        if shape != tuple(weights[name].shape):
            raise UserError(
                f"The checkpoint is of another model ({name} has the shape {tuple(weights[name].shape)} there and "
                f"{shape} here): resume with its own model."
            )


def whole_shape(weight: torch.Tensor) -> tuple[int, ...]:
    """A parameter's shape, also where ZeRO-3 has split it."""
    return tuple(getattr(weight, "ds_shape", weight.shape))


def zero_groups(trainer: Any) -> list[list[torch.nn.Parameter]]:
    """The model's parameters, by the groups of the optimiser that ZeRO has wrapped."""
    engine = trainer.deepspeed.optimizer
    if hasattr(engine, "bf16_groups"):
        return [list(group) for group in engine.bf16_groups]
    if zero_stage(trainer) < 3:
        return [list(group) for group in engine.bit16_groups]
    groups: list[list[torch.nn.Parameter]] = [[] for _ in trainer.optimizer.param_groups]
    for number, part in enumerate(engine.fp16_groups):
        groups[engine.sub_group_to_group_id[number]] += part
    return groups


def _link(trainer: Any) -> dict[torch.Tensor, dict[str, Any]]:
    """The optimiser's state by flat partition, which DeepSpeed is told of: by itself it looks when the first group has
    made its first step, when there is no state of the others yet."""
    from deepspeed.utils import lazy_init_hp_params_optimizer_state

    engine, state = trainer.deepspeed.optimizer, torch_optimiser(trainer).state
    if zero_stage(trainer) == 3:
        flats = list(engine.fp32_partitioned_groups_flat)
    else:
        bf16 = hasattr(engine, "bf16_groups")
        flats = list(engine.fp32_groups_flat_partition if bf16 else engine.single_partition_of_fp32_groups)
        for flat, group in zip(flats, zero_groups(trainer), strict=True):
            lazy_init_hp_params_optimizer_state(group, flat, state)
    return {flat: state[flat] for flat in flats}


def _read_zero(trainer: Any) -> tuple[Tensors, Tensors]:
    from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

    some = next(iter(_link(trainer).values()))
    weights, state = {}, {}
    for name, weight in _trained(trainer.model).items():
        shape = whole_shape(weight)
        weights[name] = safe_get_full_fp32_param(weight).detach().reshape(shape).cpu().clone()
        for key, value in some.items():
            split = torch.is_tensor(value) and value.dim() > 0
            whole = safe_get_full_optimizer_state(weight, key).reshape(shape) if split else torch.as_tensor(value)
            state[f"{name}/{key}"] = whole.detach().cpu().clone()
    return weights, state


def _write_zero(trainer: Any, weights: Tensors, optimiser: Tensors) -> None:
    import deepspeed
    from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

    own = _trained(trainer.model)
    _check(own, weights)
    by_name = _by_name(optimiser)
    for flat, state in _link(trainer).items():
        for key, value in next(iter(by_name.values()), {}).items():
            # A count of steps is the same for all; of what is split, room is made.
            state[key] = torch.zeros_like(flat) if value.dim() else value.clone()
    _link(trainer)
    for name, weight in own.items():
        # The copy that is trained with, which stage 3 puts together for this; then the optimiser's own in 32 bits.
        split = zero_stage(trainer) == 3
        with torch.no_grad(), deepspeed.zero.GatheredParameters([weight], modifier_rank=0, enabled=split):
            weight.copy_(weights[name])
        safe_set_full_fp32_param(weight, weights[name])
        for key, value in by_name.get(name, {}).items():
            if value.dim():
                safe_set_full_optimizer_state(weight, value, key)
