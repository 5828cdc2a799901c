"""What was measured, as data, and its file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from bench.errors import UserError, did_you_mean
from bench.events import State
from bench.files import write_together
from bench.training import Device, Precision

SCHEMA_VERSION = 1
FILE_NAME = "stages.json"
FOLDER = "stages"
MAX_BYTES = 64 * 2**20
_STRICT = {"extra": "forbid"}


@dataclass(frozen=True, kw_only=True)
class StagesStudy:
    """What is measured. `nodes`, `node_devices`: that each training has, of each node. `batch_size`: of each device.
    `only`: names of rows; `model`, `dataset`: in place of the workload's own, as given."""

    workload: str
    recipe: str
    profile: str
    precision: Precision
    device: Device
    nodes: int
    node_devices: int
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    seed: int
    only: tuple[str, ...]
    model: str | None = None
    dataset: str | None = None

    __pydantic_config__: ClassVar = _STRICT

    @property
    def processes(self) -> int:
        return self.nodes * self.node_devices

    def name(self) -> str:
        """Readable, and another for any other study."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:8]
        return f"{self.workload}-{self.recipe}-{self.profile}-{self.nodes}x{self.node_devices}-s{self.seed}-{digest}"


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What is trained on. `parameters`: of the model. `train`, `validation`: examples. `sha256`: of model, tokenizer
    and data."""

    parameters: int
    train: int
    validation: int
    sha256: dict[str, str]

    __pydantic_config__: ClassVar = _STRICT


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One epoch. Losses in nats a token; `train_loss`: the mean over its steps."""

    epoch: int
    train_loss: float
    eval_loss: float
    train_samples_per_s: float
    eval_samples_per_s: float
    tokens_per_s: float

    __pydantic_config__: ClassVar = _STRICT


@dataclass(frozen=True, kw_only=True)
class Usage:
    """MiB of memory: the most, and the mean from the first training step on (None: there was none)."""

    peak_mib: float
    mean_mib: float | None

    __pydantic_config__: ClassVar = _STRICT


@dataclass(frozen=True, kw_only=True)
class Series:
    """MiB over time, `at_s` seconds after a process was first seen: the most within each of some hundred spans. `host`:
    all processes together. The others: the fullest device; None without devices, or where nobody tells."""

    at_s: tuple[float, ...]
    host: tuple[float, ...]
    allocated: tuple[float, ...] | None = None
    reserved: tuple[float, ...] | None = None
    used: tuple[float, ...] | None = None

    __pydantic_config__: ClassVar = _STRICT


@dataclass(frozen=True, kw_only=True)
class Memory:
    """`host`: of all processes together. `allocated`: in tensors on the fullest device; `reserved`: what PyTorch holds
    of it; `used`: by NVML's count, of whatever is on it. None: not known here."""

    host: Usage | None = None
    allocated: Usage | None = None
    reserved: Usage | None = None
    used: Usage | None = None

    __pydantic_config__: ClassVar = _STRICT


@dataclass(frozen=True, kw_only=True)
class Row:
    """One way to hold the model's state. `state`: how its training ended; `detail`: why, where it did not complete.
    `steps_per_epoch`: of the optimiser. `startup_s`: from the processes' start to the first step (None: none was
    made). `wall_s`: all of it. `device_min`: that the devices were held. `energy_j`: of all devices; None where NVML
    counts none. `state_device_mib`, `state_host_mib`: a process's weights, gradients and optimiser state by arithmetic.
    """

    name: str
    state: State
    detail: str = ""
    epochs: tuple[Epoch, ...] = ()
    steps_per_epoch: int
    startup_s: float | None = None
    wall_s: float
    device_min: float
    energy_j: float | None = None
    memory: Memory = field(default_factory=Memory)
    state_device_mib: float
    state_host_mib: float
    series: Series | None = None

    __pydantic_config__: ClassVar = _STRICT

    @property
    def completed(self) -> bool:
        return self.state == "completed"


@dataclass(frozen=True, kw_only=True)
class Stages:
    """A whole measurement; rows in the order of `bench.zero.shardings`, fewer where it was ended early. `provenance`:
    of software and machine, as plain data."""

    schema_version: int
    study: StagesStudy
    inputs: Inputs
    provenance: dict[str, Any]
    rows: tuple[Row, ...]

    __pydantic_config__: ClassVar = _STRICT

    def row(self, name: str) -> Row | None:
        return next((row for row in self.rows if row.name == name), None)


def save(found: Stages, path: Path) -> None:
    """Writes the file whole. Raises UserError."""
    text = json.dumps(asdict(found), allow_nan=False, indent=1, sort_keys=True)
    write_together({path: (text + "\n").encode()})


def find(path: Path, results: Path) -> Path:
    """A file or folder as it is given, or the folder under the results that is called so. Raises UserError where a mere
    name is neither."""
    if path.exists() or len(path.parts) > 1:
        return path
    names = [file.parent.name for file in (results / FOLDER).glob(f"*/{FILE_NAME}")]
    if path.name not in names:
        raise UserError(f"There is no measurement '{path}' in {results / FOLDER}{did_you_mean(path.name, names)}")
    return results / FOLDER / path.name


def load(path: Path) -> Stages:
    """The file, or that of a folder. Raises UserError where it is missing or not one of ours."""
    from pydantic import TypeAdapter, ValidationError

    path = path / FILE_NAME if path.is_dir() else path
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(
            f"Cannot read {path} ({error.strerror}): give a folder that `sweepmark stages` wrote."
        ) from None
    if len(data) > MAX_BYTES:
        raise UserError(f"{path} is larger than {MAX_BYTES // 2**20} MiB: give a file that `sweepmark stages` wrote.")
    try:
        found = TypeAdapter(Stages).validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(f"{path}: {where}: {first['msg']}: measure again with this version.") from None
    if found.schema_version != SCHEMA_VERSION:
        raise UserError(f"{path} has schema_version {found.schema_version}, not {SCHEMA_VERSION}: measure again.")
    return found
