"""How runs and devices are called in reports."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from bench.errors import UserError
from bench.profile import load_profile
from bench.record import Record
from bench.study import Study


@dataclass(frozen=True, kw_only=True)
class Device:
    """What is counted: GPUs on a GPU profile, devices elsewhere. Device-minutes of a CPU are not GPU-minutes."""

    one: str

    @property
    def many(self) -> str:
        return f"{self.one}s"

    @property
    def minutes(self) -> str:
        return f"{self.one}-min"

    @property
    def hours(self) -> str:
        return f"{self.one}-hours"


GPU = Device(one="GPU")
ANY = Device(one="device")


def device_of(record: Record) -> Device:
    return _device(str(record.study.get("profile")))


def device_of_all(records: list[Record]) -> Device:
    """GPU where all are on GPU profiles, else the word that fits all."""
    return GPU if all(device_of(r) is GPU for r in records) else ANY


@cache
def _device(profile: str) -> Device:
    try:
        return ANY if load_profile(profile).device == "cpu" else GPU
    except UserError:  # a profile of somebody else's: do not claim a GPU
        return ANY


def run_type(study: Study) -> str:
    """The guide's "Run Type": `Manual best`, `Ray best (BOHB)`; simulated runs say so."""
    if study.strategy == "manual":
        name = "Manual best"
    else:
        name = f"{'Ray' if study.engine in ('ray', 'virtual') else 'Serial'} best ({study.strategy.upper()})"
    return f"{name}, simulated" if study.engine == "virtual" else name


def percent(share: float) -> str:
    return f"{share:.0%}"


def listed(items: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1] if items else "none"
