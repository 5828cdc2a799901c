"""Hardware profiles: what a device is, how a node is shaped, and what a trial costs there beside training.

A profile is one TOML file in `hardware_profiles/`; new hardware needs no change here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from bench.errors import unknown
from bench.resources import resource_dir
from bench.tomlfile import load_toml
from bench.training import Device, Precision

MEMORY_TOLERANCE = 0.06
"""Drivers report up to so much less or more than a board's nominal memory (a V100 of 16 GiB: 16,160 MiB; an H100 of
80 GiB: 81,559 MiB)."""

REFUSE_UNKNOWN = {"extra": "forbid"}
"""For the tables that pydantic alone looks into: those in a list, and those that may be absent."""


@dataclass(frozen=True, kw_only=True)
class Price:
    """What a device-hour was offered for. `as_of`: the date of the offer (None: the source gives none)."""

    usd_per_device_hour: float
    source: str
    as_of: str | None = None

    __pydantic_config__: ClassVar = REFUSE_UNKNOWN


@dataclass(frozen=True, kw_only=True)
class MemoryVariant:
    """One memory size of a board. `bandwidth_gb_s`: GB/s (10^9 bytes) from the vendor's data sheet."""

    name: str
    memory_mib: int
    bandwidth_gb_s: float
    price: Price | None = None

    __pydantic_config__: ClassVar = REFUSE_UNKNOWN


@dataclass(frozen=True, kw_only=True)
class PeakTflops:
    """The vendor's dense peak in 10^12 operations a second (sparse figures are twice as high). None: not in hardware.
    `fp16` and `bf16` are the tensor cores' figures."""

    fp32: float
    tf32: float | None = None
    fp16: float
    bf16: float | None = None

    __pydantic_config__: ClassVar = REFUSE_UNKNOWN


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """The facts of a GPU. `name_patterns`: regular expressions, one of which is found in NVML's name of the device.
    `compute_capability`: as "8.0". `nvlink_gb_s`: both directions together."""

    name: str
    name_patterns: tuple[str, ...]
    compute_capability: str
    sms: int
    tdp_w: int
    nvlink_gb_s: float
    peak_tflops: PeakTflops
    variants: tuple[MemoryVariant, ...]

    __pydantic_config__: ClassVar = REFUSE_UNKNOWN

    def __post_init__(self) -> None:
        if not self.name_patterns or not self.variants:
            raise ValueError("'name_patterns' and 'variants' need one entry or more")
        if not re.fullmatch(r"\d+\.\d+", self.compute_capability):
            raise ValueError(f"'compute_capability' is {self.compute_capability!r}; write it as \"8.0\"")
        for pattern in self.name_patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"'name_patterns': {pattern!r} is no regular expression ({error})") from None

    @property
    def capability(self) -> tuple[int, int]:
        major, minor = self.compute_capability.split(".")
        return int(major), int(minor)

    def is_named(self, name: str) -> bool:
        """Whether NVML's name `name` is one of this GPU's."""
        return any(re.search(pattern, name) for pattern in self.name_patterns)

    def variant(self, memory_mib: float) -> MemoryVariant | None:
        """The variant whose memory is nearest to what the driver reports; None where none is near."""
        nearest = min(self.variants, key=lambda v: abs(v.memory_mib - memory_mib))
        return nearest if abs(nearest.memory_mib - memory_mib) <= MEMORY_TOLERANCE * nearest.memory_mib else None


@dataclass(frozen=True, kw_only=True)
class Node:
    """The shape of one node. `system_cpus`: kept free for the engine itself (a raylet and its object store)."""

    devices: int
    cpus: int
    system_cpus: int


@dataclass(frozen=True, kw_only=True)
class Overheads:
    """Seconds that a trial costs beside training, as declared constants: a simulation charges these, and never the
    simulating machine's time. A measured run ignores them.

    `engine_startup_s`: once a run. `worker_startup_s`: once a worker process, before its first trial, on top of
    `trial_startup_s`, which every trial pays. `evaluation_s`: each epoch, where the epoch's time does not hold it.
    `checkpoint_s`: each saved epoch. `restore_s`: each resumption. `scheduler_latency_s`: each decision.
    `queue_wait_s`: before devices are granted; reported, never charged.
    """

    engine_startup_s: float
    worker_startup_s: float
    trial_startup_s: float
    evaluation_s: float
    checkpoint_s: float
    restore_s: float
    scheduler_latency_s: float
    queue_wait_s: float

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; seconds are 0 or more")


@dataclass(frozen=True, kw_only=True)
class Slurm:
    """What jobs ask SLURM for, beside devices and CPUs. `constraint`: the feature of such nodes. `gres`: the type in
    requests for GPUs (None: a bare count). `memory_mib_per_device`: main memory. A site file may say otherwise."""

    constraint: str | None = None
    gres: str | None = None
    memory_mib_per_device: int

    def __post_init__(self) -> None:
        if self.memory_mib_per_device < 1:
            raise ValueError(f"'memory_mib_per_device' is {self.memory_mib_per_device}; it must be 1 or more")


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A kind of hardware. `device`: torch's word for it. `precision`: of training. `devices_per_trial`: held by one
    trial. `cpus_per_device`: CPU cores that go with each device. `gpu`: its facts (None on a CPU profile).
    `core_peak_tflops`: 10^12 operations a second that no CPU core of today exceeds (None on a GPU profile)."""

    name: str
    summary: str
    device: Device
    precision: Precision
    devices_per_trial: int
    cpus_per_device: int
    node: Node
    slurm: Slurm
    overheads: Overheads
    gpu: Gpu | None = None
    core_peak_tflops: float | None = None

    def __post_init__(self) -> None:
        if (self.device == "cuda") != (self.gpu is not None):
            raise ValueError("a 'cuda' profile needs a [gpu] table, and a 'cpu' profile must have none")
        if (self.core_peak_tflops is None) != (self.gpu is not None):
            raise ValueError("'core_peak_tflops' belongs to a 'cpu' profile, and to no other")
        if self.precision == "bf16" and self.gpu is not None and self.gpu.capability < (8, 0):
            raise ValueError("'precision' is bf16, which needs compute capability 8.0; write \"fp16\"")
        if self.precision == "fp16" and self.device == "cpu":
            raise ValueError("'precision' is fp16, which a CPU does not train in; write \"fp32\"")
        if self.slurm.gres is not None and self.gpu is None:
            raise ValueError("'slurm.gres' is a type of GPU, which a 'cpu' profile has none of")
        if not 1 <= self.devices_per_trial <= self.node.devices or self.cpus_per_device < 1:
            raise ValueError("'devices_per_trial' must fit on a node, and 'cpus_per_device' be 1 or more")
        if self.node.devices * self.cpus_per_device + self.node.system_cpus > self.node.cpus:
            raise ValueError(f"a node of {self.node.cpus} CPUs is too small for its devices and 'system_cpus'")
        if not self.peak_tflops:
            raise ValueError(f"the peak of the device in {self.precision} is missing or 0")

    @property
    def image(self) -> str:
        """The container image that its runs use: the name of a definition in `containers/`."""
        if self.gpu is None:
            return "cpu"
        return "a100" if self.gpu.capability >= (8, 0) else "v100"

    @property
    def peak_tflops(self) -> float:
        """The most that one device can do in its precision, in 10^12 operations a second: a physical limit, which no
        training reaches (0: unknown)."""
        return self.peak_tflops_in(self.precision)

    def peak_tflops_in(self, precision: Precision) -> float:
        """The same in another precision."""
        if self.gpu is None:
            return self.cpus_per_device * (self.core_peak_tflops or 0.0)
        peak: float | None = getattr(self.gpu.peak_tflops, precision)
        return peak or 0.0

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """What it can train in, whatever it does by itself."""
        if self.gpu is None:
            return ("fp32", "bf16")
        return ("fp32", "bf16", "fp16") if self.gpu.capability >= (8, 0) else ("fp32", "fp16")

    @property
    def unit(self) -> Literal["GPU", "device"]:
        """What costs are counted in: device-minutes of a CPU profile are not GPU-minutes."""
        return "device" if self.gpu is None else "GPU"


def profiles_dir() -> Path:
    return resource_dir("hardware_profiles")


def profile_names() -> list[str]:
    return sorted(path.stem for path in profiles_dir().glob("*.toml"))


def load_profile(name: str) -> Profile:
    """The profile of that name. Raises UserError with the nearest names, or with what is wrong in its file."""
    if name not in profile_names():
        raise unknown("hardware profile", name, profile_names())
    return load_toml(profiles_dir() / f"{name}.toml", Profile)


def load_profiles() -> list[Profile]:
    """All profiles, by name."""
    return [load_profile(name) for name in profile_names()]
