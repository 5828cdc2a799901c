"""LoRA's adapters in a model (Hu et al. 2021, arXiv 2106.09685), by peft: they alone are trained and saved.

The adapters are put into the model itself, without peft's wrapper around it, so that the model keeps its class, its
methods and its parameters' names. In a checkpoint they lie as peft writes them, and `PeftModel.from_pretrained` loads
them onto the model that they were trained on.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench.errors import UserError
from bench.hf.moments import whole_shape
from bench.space import Config

Tensors = dict[str, torch.Tensor]

WEIGHTS_NAME = "adapter_model.safetensors"
_ADAPTER = "default"
_PEFTS_PREFIX = "base_model.model."


@dataclass(frozen=True, kw_only=True)
class Lora:
    """The adapters' settings; their output is scaled by `alpha` over `rank`."""

    rank: int
    alpha: float
    dropout: float

    def __str__(self) -> str:
        return f"rank {self.rank}, alpha {self.alpha:g}, dropout {self.dropout:g}"


def asked(config: Config) -> Lora | None:
    """The adapters that a configuration wants; None: all weights are trained."""
    if "lora_rank" not in config:
        return None
    rank = int(config["lora_rank"])
    return Lora(
        rank=rank, alpha=float(config.get("lora_alpha", 2 * rank)), dropout=float(config.get("lora_dropout", 0.0))
    )


def add(model: Any, lora: Lora, seed: int) -> None:
    """Puts adapters into the model, initialised from `seed`, and freezes all else. They go where peft puts them in a
    model of this type (into BLOOM's `query_key_value`), else into all linear layers but the head. Raises UserError."""
    from peft import LoraConfig, inject_adapter_in_model
    from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as KNOWN

    targets = None if model.config.model_type in KNOWN else _linear(model)
    settings = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # it scales as any number does
        lora_dropout=lora.dropout,
        target_modules=targets,
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            inject_adapter_in_model(settings, model, _ADAPTER)
        except ValueError as error:
            raise UserError(
                f"LoRA finds no layers for its adapters in this model ({str(error).splitlines()[0][:200]}): search a "
                "space without lora_rank."
            ) from None
    model.sweepmark_lora = settings


def found(model: Any) -> Lora | None:
    """The settings of the adapters that are in a model; None where it has none. Raises ValueError where layers
    differ."""
    settings = {
        Lora(
            rank=whole_shape(layer.lora_A[_ADAPTER].weight)[0],
            alpha=float(layer.scaling[_ADAPTER] * layer.r[_ADAPTER]),
            dropout=float(getattr(layer.lora_dropout[_ADAPTER], "p", 0.0)),
        )
        for layer in _layers(model)
    }
    if len(settings) > 1:
        raise ValueError(f"the adapters differ: {', '.join(sorted(map(str, settings)))}")
    return settings.pop() if settings else None


def is_adapter(name: str) -> bool:
    """Whether a parameter of that name is an adapter's."""
    return f".lora_A.{_ADAPTER}." in name or f".lora_B.{_ADAPTER}." in name


def write_settings(model: Any, folder: Path) -> None:
    """What peft needs beside the weights to load them."""
    model.sweepmark_lora.save_pretrained(str(folder))


def pefts_names(weights: Tensors) -> Tensors:
    """Adapters by the names in peft's files."""
    return {_PEFTS_PREFIX + name.replace(f".{_ADAPTER}.weight", ".weight"): w for name, w in weights.items()}


def own_names(weights: Tensors) -> Tensors:
    """The inverse of `pefts_names`."""
    return {
        name.removeprefix(_PEFTS_PREFIX).replace(".weight", f".{_ADAPTER}.weight"): w for name, w in weights.items()
    }


def _layers(model: Any) -> Iterator[Any]:
    if "peft" not in sys.modules:  # which put them there, if any; it takes its time to import
        return iter(())
    from peft.tuners.lora import LoraLayer

    return (module for module in model.modules() if isinstance(module, LoraLayer))


def _linear(model: Any) -> list[str]:
    """The names of all linear layers but the head, whose weights are often the embedding's."""
    head = model.get_output_embeddings()
    return sorted(n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and m is not head)
