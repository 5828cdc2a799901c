"""DeepSpeed's configurations that ship with the suite, by name, and what ZeRO's arithmetic says of their memory.

A process of n keeps, in bytes a parameter, weights w, gradients g and the optimiser's state k (Rajbhandari et al. 2020,
"ZeRO: Memory Optimizations Toward Training Trillion Parameter Models", arXiv 1910.02054, section 5):

    no sharding   w + g + k            stage 2   w + (g + k) / n
    stage 1       w + g + k / n        stage 3   (w + g + k) / n

In mixed precision w = g = 2 and k = 12 (weights and two moments in 32 bits); in 32 bits w = g = 4 and k = 8: both 16.
Offload moves a process's share to the host's memory: of the optimiser, its state k / n; of the parameters, w / n. Not
counted: activations, buffers of communication, weights that are gathered while they are used, libraries, and what an
implementation keeps twice.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import UserError, did_you_mean
from bench.resources import PACKAGE
from bench.training import Precision

FOLDER = PACKAGE / "deepspeed"
PLAIN = "plain"
"""The name of training without DeepSpeed."""


@dataclass(frozen=True, kw_only=True)
class Sharding:
    """A way to hold a model's state. `stage`: ZeRO's, 0 for none of it."""

    name: str
    stage: int = 0
    offload_optimizer: bool = False
    offload_params: bool = False

    @property
    def deepspeed(self) -> Path | None:
        """Its configuration file; None without DeepSpeed."""
        return None if self.name == PLAIN else deepspeed_file(self.name)

    @property
    def offloads(self) -> bool:
        return self.offload_optimizer or self.offload_params


@dataclass(frozen=True, kw_only=True)
class StateBytes:
    """Bytes a parameter that one process keeps of weights, gradients and optimiser state, by where."""

    device: float
    host: float


def deepspeed_names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def deepspeed_file(name: str) -> Path:
    """The shipped configuration of that name. Raises UserError with the nearest names."""
    if name not in deepspeed_names():
        raise UserError(f"There is no DeepSpeed configuration '{name}'{did_you_mean(name, deepspeed_names())}")
    return FOLDER / f"{name}.json"


def deepspeed_path(given: str) -> Path:
    """What `--deepspeed` means: the shipped configuration of that name, else the path."""
    return deepspeed_file(given) if given in deepspeed_names() else Path(given)


def check_deepspeed(given: str) -> None:
    """Raises UserError where there is no such configuration."""
    if not deepspeed_path(given).exists():
        raise UserError(
            f"--deepspeed {given} is neither a file nor a configuration of the suite"
            f"{did_you_mean(given, deepspeed_names())}"
        )


def shardings() -> tuple[Sharding, ...]:
    """Without DeepSpeed, then all shipped configurations, from the simplest to the one that moves most."""
    found = [Sharding(name=PLAIN), *(_sharding(name) for name in deepspeed_names())]
    return tuple(sorted(found, key=lambda s: (s.offload_params, s.offload_optimizer, s.stage)))


def state_bytes(sharding: Sharding, processes: int, precision: Precision) -> StateBytes:
    """By ZeRO's arithmetic, see above."""
    weights, gradients, optimizer = (4.0, 4.0, 8.0) if precision == "fp32" else (2.0, 2.0, 12.0)
    if sharding.stage >= 1:
        optimizer /= processes
    if sharding.stage >= 2:
        gradients /= processes
    if sharding.stage >= 3:
        weights /= processes
    host = optimizer * sharding.offload_optimizer + weights * sharding.offload_params
    return StateBytes(device=weights + gradients + optimizer - host, host=host)


def _sharding(name: str) -> Sharding:
    block: dict[str, Any] = json.loads(deepspeed_file(name).read_text(encoding="utf-8"))["zero_optimization"]
    return Sharding(
        name=name,
        stage=block["stage"],
        offload_optimizer="offload_optimizer" in block,
        offload_params="offload_param" in block,
    )
