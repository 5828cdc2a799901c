"""What advice chooses among: strategies with settings, numbers of trials and of devices, as data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from bench.curves import CurveSet
from bench.errors import UserError
from bench.report.wording import count
from bench.simulate import virtual_study
from bench.strategy import Strategy, load_strategy, strategy_names
from bench.study import Study
from bench.workload import load_workload

if TYPE_CHECKING:
    from bench.profile import Profile

SAMPLES = (12, 24, 48)
"""Trials of a search at most; a strategy that is not in `OWN_SAMPLES` gets these."""
OWN_SAMPLES: Mapping[str, tuple[int, ...]] = {"random": (4, 8, 12, 24, 48), "pbt": (4, 8, 12, 24)}
"""PBT's is its population."""
GRIDS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "asha": {"grace_period": ("1", "2"), "reduction_factor": ("2", "3", "4", "8"), "brackets": ("1", "2")},
    "asha-tpe": {
        "reduction_factor": ("2", "4", "8"),
        "n_startup_trials": ("2", "5", "10"),
        "multivariate": ("false", "true"),
    },
    "bohb": {"reduction_factor": ("2", "3", "4"), "random_fraction": ("0.1", "0.3333333333333333")},
    "hyperband": {"reduction_factor": ("2", "3", "4")},
    "pbt": {"perturbation_interval": ("1", "2"), "quantile_fraction": ("0.25", "0.5")},
    "tpe": {"n_startup_trials": ("2", "5", "10"), "multivariate": ("false", "true")},
}
"""Values of settings by strategy; all combinations are tried. Other settings, and other strategies, keep defaults."""
COUNTED_IN_EPOCHS = ("grace_period", "perturbation_interval")
"""Settings that do nothing, or are refused, where they are as long as a trial."""
DEFAULT_SAMPLES = 12
"""As in the workshop's grid, and as `sweepmark run` has it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A strategy, by its name or file, as it could be run. `settings`: those that are not at their defaults, by name,
    as they are typed. `devices`: that it holds (None: all of the profile's node; a serial one those of a trial)."""

    strategy: str
    settings: tuple[tuple[str, str], ...] = ()
    samples: int = DEFAULT_SAMPLES
    devices: int | None = None

    @property
    def label(self) -> str:
        """As `asha, 48 trials on 1 device, reduction_factor 4`; with nothing set, the strategy's name."""
        if self == Candidate(strategy=self.strategy):
            return self.strategy
        devices = f" on {count(self.devices, 'device')}" if self.devices else ""
        settings = "".join(f", {name} {value}" for name, value in self.settings)
        return f"{self.strategy}, {count(self.samples, 'trial')}{devices}{settings}"

    def study(self, curve_set: CurveSet, profile: Profile, *, epochs: int | None) -> Study:
        """The study that runs it, under seed 0. Raises UserError where it cannot be."""
        return virtual_study(
            load_strategy(self.strategy),
            curve_set,
            profile,
            settings=dict(self.settings),
            samples=self.samples,
            epochs=epochs,
            devices=self.devices,
        )


def candidates(names: Sequence[str] | None, example: Study) -> list[Candidate]:
    """All that are tried, in a fixed order. `names`: of the strategies (None: every installed one that the workload
    allows, that is not serial, and whose trials recorded curves can replay). `example`: any study of them on all
    devices. Raises UserError."""
    workload = load_workload(example.workload)
    strategies = {name: load_strategy(name) for name in names or strategy_names()}
    if names is None:
        strategies = {
            name: s
            for name, s in strategies.items()
            if not s.serial and not s.copies and (workload.checkpoints or not s.pauses)
        }
    for strategy in strategies.values():
        strategy.check(workload)
        if strategy.serial:
            raise UserError(f"{strategy.name} is what advice is measured against: leave it out of --strategy.")
    return [
        Candidate(strategy=name, settings=settings, samples=samples, devices=devices)
        for name, s in strategies.items()
        for settings in _settings(s, example.epochs)
        for samples in OWN_SAMPLES.get(s.name, SAMPLES)
        for devices in _concurrencies(example)
    ]


def _concurrencies(example: Study) -> list[int]:
    """Devices to hold: a trial's, those of all trials that fit at once, and between them their geometric mean."""
    trials = {1, round(math.sqrt(example.slots)), example.slots}
    return [n * example.devices_per_trial for n in sorted(trials)]


def _settings(strategy: Strategy, epochs: int) -> list[tuple[tuple[str, str], ...]]:
    """Combinations of the strategy's grid, without what is at its default."""
    grid = GRIDS.get(strategy.name, {})
    axes = [
        [(name, text) for text in texts if name not in COUNTED_IN_EPOCHS or int(text) < max(epochs, 2)]
        for name, texts in grid.items()
    ]
    return [
        tuple((n, text) for n, text in point if strategy.resolve({n: text})[n] != strategy.settings[n].default)
        for point in product(*axes)
    ]
