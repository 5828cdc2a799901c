"""How runs, devices and numbers are called in reports."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import PurePath

from bench.errors import UserError
from bench.profile import load_profile
from bench.record import Record
from bench.study import Study

ENGINE_WORDS = {"ray": "Ray", "virtual": "Ray", "serial": "Serial", "array": "Job array"}


@dataclass(frozen=True, kw_only=True)
class Device:
    """What is counted: GPUs on a GPU profile, devices elsewhere. Device-minutes of a CPU are not GPU-minutes."""

    one: str

    @property
    def many(self) -> str:
        return f"{self.one}s"

    @property
    def minutes(self) -> str:
        """In a table's header."""
        return f"{self.one}-min"

    @property
    def minutes_said(self) -> str:
        """In a sentence."""
        return f"{self.one}-minutes"

    @property
    def hours(self) -> str:
        return f"{self.one}-hours"


GPU = Device(one="GPU")
ANY = Device(one="device")


def device_of(record: Record) -> Device:
    return GPU if kind_of_device(str(record.study.get("profile"))) == "gpu" else ANY


def device_of_all(records: Iterable[Record]) -> Device:
    """GPU where all are on GPU profiles, else the word that fits all."""
    return GPU if all(device_of(r) is GPU for r in records) else ANY


@cache
def kind_of_device(profile: str) -> str:
    """`cpu`, `gpu`, or nothing for a profile of somebody else's: do not claim a GPU."""
    try:
        return "cpu" if load_profile(profile).device == "cpu" else "gpu"
    except UserError:
        return ""


def run_type(study: Study) -> str:
    """The guide's "Run Type": `Manual best`, `Ray best (BOHB)`; simulated runs say so."""
    if study.strategy == "manual":
        name = "Manual best"
    else:
        name = f"{ENGINE_WORDS[study.engine]} best ({study.strategy.upper()})"
    return f"{name}, simulated" if study.engine == "virtual" else name


def data_name(study: Study) -> str:
    """What the user called the data set, else its file's name, else that it is the workload's own."""
    if study.dataset_name:
        return study.dataset_name
    return PurePath(study.dataset).name if study.dataset else "the workload's own"


def count(number: int, what: str) -> str:
    """`1 epoch`, `2 epochs`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def significant(value: float) -> str:
    """Three significant digits, large numbers in full: 0.0133, 1.08, 424, 1283."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:#.3g}".rstrip(".")


def listed(items: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`; `a, 1; b, 2` where items hold commas themselves."""
    if any(", " in item for item in items):
        return "; ".join(items)
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1] if items else "none"


def some(labels: list[str]) -> str:
    """All of a few labels, or the first three and how many more there are."""
    return listed(labels if len(labels) <= 4 else [*labels[:3], f"{len(labels) - 3} others"])
