"""What a ladder measured, as it lies on disk: raw numbers, from which table, pictures and page are made again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.files import write_together
from bench.flops import Shape

SCHEMA_VERSION = 1
LADDER_NAME = "ladder.json"
MAX_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochSpeed:
    """One epoch of a trial; see `bench.training.EpochResult`."""

    epoch: int
    eval_loss: float
    train_loss: float
    train_s: float
    eval_s: float
    checkpoint_s: float
    device_memory_mib: float | None
    host_memory_mib: float


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialSpeed:
    """One trial in a process of its own. `repeat`: from 0. `state`: "completed", or what became of it, and `detail`
    why. `startup_s`: from the process's start to the first step."""

    repeat: int
    state: str
    detail: str = ""
    startup_s: float | None = None
    epochs: tuple[EpochSpeed, ...] = ()

    @property
    def completed(self) -> bool:
        return self.state == "completed"


@dataclass(frozen=True, kw_only=True, slots=True)
class RungSpeed:
    """One rung with its trials, by repeat. `settings`: labels, padding, sharding and computation. `model_flops`,
    `hardware_flops`: of one epoch's training (see `bench.flops`). `train_tokens`: of an epoch, without padding."""

    name: str
    change: str
    comparable: bool
    settings: dict[str, str | bool | None]
    model_flops: float
    hardware_flops: float
    train_tokens: int
    trials: tuple[TrialSpeed, ...]

    @property
    def completed(self) -> tuple[TrialSpeed, ...]:
        return tuple(trial for trial in self.trials if trial.completed)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ladder:
    """A whole run. `name`: its folder's. `data`: what was trained on, and `weights` what from, in words. `config`: the
    hyperparameters, the same on all rungs. `threads`: of a trial. `examples`: of the splits. `declared_peak_tflops`:
    the profile's; `measured_peak_tflops`: of a large matrix product on a trial's threads, measured before each repeat.
    `tolerance`: nats, by which losses of comparable rungs may differ."""

    schema_version: int = SCHEMA_VERSION
    name: str
    workload: str
    data: str
    weights: str
    profile: str
    device: str
    precision: str
    threads: int
    epochs: int
    repeats: int
    config: dict[str, float | int]
    examples: dict[str, int]
    max_tokens: int
    shape: Shape
    parameters: int
    declared_peak_tflops: float
    measured_peak_tflops: tuple[float, ...]
    tolerance: float
    measured_at_s: float
    provenance: dict[str, Any]
    rungs: tuple[RungSpeed, ...]


@cache
def _adapter() -> Any:
    from pydantic import ConfigDict, TypeAdapter, with_config

    for cls in (EpochSpeed, TrialSpeed, RungSpeed, Shape, Ladder):
        with_config(ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))(cls)
    return TypeAdapter(Ladder)


def encode_ladder(ladder: Ladder) -> bytes:
    """As JSON for people and machines. Raises ValueError on NaN or infinity."""
    plain = _adapter().dump_python(ladder, mode="json")
    return (json.dumps(plain, allow_nan=False, ensure_ascii=False, indent=1) + "\n").encode()


def load_ladder(path: Path) -> Ladder:
    """A ladder by its file or folder; the file may be anybody's. Raises UserError, in one sentence, where it is
    missing, too large, or not as this version writes it."""
    from pydantic import ValidationError

    if path.is_dir():
        path = path / LADDER_NAME
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"Cannot read the ladder {path} ({error.strerror}): give its folder or its file.") from None
    if len(data) > MAX_BYTES:
        raise UserError(f"{path} is larger than the {MAX_BYTES} bytes allowed: it is no ladder of this suite.")
    try:
        ladder: Ladder = _adapter().validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UserError(
            f"{path} is not a ladder of schema {SCHEMA_VERSION} ({where}: {first['msg']}): measure it again."
        ) from None
    if ladder.schema_version != SCHEMA_VERSION:
        raise UserError(
            f"{path} has schema {ladder.schema_version}; this version reads {SCHEMA_VERSION}: measure it again."
        )
    return ladder


def write_ladder(folder: Path, files: dict[str, str], ladder: Ladder) -> None:
    """The ladder, and what is made from it, into its folder. Raises UserError where that cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot make the folder {folder} ({error.strerror}): give another one as --out.") from None
    written = {folder / name: text.encode() for name, text in files.items()}
    write_together(written | {folder / LADDER_NAME: encode_ladder(ladder)})
