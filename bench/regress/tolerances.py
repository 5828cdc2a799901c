"""What the gate may report: the rate of false alarms, and changes too small to matter; `tolerances.toml`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from bench.regress.metrics import METRICS
from bench.tomlfile import load_toml

NAME = "tolerances.toml"
ANY = "*"


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """Relative changes that are no regression, of measured runs on a workload and a profile ("*": any). 0.02 is 2 %."""

    workload: str = ANY
    profile: str = ANY
    eval_loss: float
    allocated_device_min: float
    busy_device_min: float
    startup_device_min: float
    epochs_trained: float
    trial_losses: float

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    def __post_init__(self) -> None:
        for name in METRICS:
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; a relative change is 0 or more and less than 1")

    def of(self, metric: str) -> float:
        value: float = getattr(self, metric)
        return value


@dataclass(frozen=True, kw_only=True)
class Tolerances:
    """`false_alarm_rate`: the chance that a whole gate reports a regression where nothing changed, at most.
    `tolerance`: the most specific entry counts; of two that name one thing each, the one that names the workload."""

    false_alarm_rate: float
    tolerance: tuple[Tolerance, ...]

    def __post_init__(self) -> None:
        if not 0 < self.false_alarm_rate <= 0.5:
            raise ValueError(f"false_alarm_rate is {self.false_alarm_rate}; it must be more than 0 and at most 0.5")
        names = [(t.workload, t.profile) for t in self.tolerance]
        if (ANY, ANY) not in names:
            raise ValueError('an entry with neither workload nor profile is missing; add one with "*" for both')
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"workload {name[0]} on profile {name[1]} has two entries; leave one")

    def find(self, workload: str, profile: str) -> Tolerance:
        fitting = [t for t in self.tolerance if t.workload in (ANY, workload) and t.profile in (ANY, profile)]
        return max(fitting, key=lambda t: (t.workload != ANY, t.profile != ANY))


def load_tolerances(path: Path) -> Tolerances:
    """Raises UserError that names the file, the key and the remedy."""
    return load_toml(path, Tolerances)
