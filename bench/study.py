"""A study: everything that fixes what a run does. Two runs of the same study make the same decisions."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import PurePath
from typing import Any, Literal

from bench.metrics import DEFAULT, check_metrics, study_metrics
from bench.space import SearchSpace, check_space_name

EngineName = Literal["ray", "serial", "array", "virtual"]
"""`array`: each trial a job of its own, on a cluster."""

ENGINES: tuple[EngineName, ...] = ("ray", "serial", "virtual")
"""Those of one machine."""

MOST_ON_A_DEVICE = 16

LEFT_OUT = ("simulation", "metrics", "trials_per_device", "space_name")
"""Fields of a study that are in its plain data only where they are not the default."""


@dataclass(frozen=True, kw_only=True)
class NodeLoss:
    """A node that goes at `at_s` seconds after the start and is back, empty, `away_s` later (None: never)."""

    node: int
    at_s: float
    away_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """The cluster that a virtual run is imagined on, and what befalls it.

    `curves`, `curves_sha256`: the curve set's name, and the digest of its table. `node_devices`, `node_cpus`: what
    trials may use of each of the `nodes`. `trial_cpus`: CPU cores of a trial. `speed`: epochs are so many times as fast
    as recorded. `failure_rate`: chance that an epoch ends with its process dead. `time_budget_s`: the search ends so
    long after its devices were granted (None: when it is done). `queue_wait_s`: before they are.
    """

    curves: str
    curves_sha256: str
    nodes: int = 1
    node_devices: int
    node_cpus: int
    trial_cpus: int
    speed: float = 1.0
    failure_rate: float = 0.0
    node_losses: tuple[NodeLoss, ...] = ()
    time_budget_s: float | None = None
    queue_wait_s: float = 0.0

    def __post_init__(self) -> None:
        for name in ("nodes", "node_devices", "node_cpus", "trial_cpus"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 1 or more")
        if not 0 < self.speed < math.inf:
            raise ValueError(f"speed is {self.speed}; it must be more than 0")
        if not 0 <= self.failure_rate < 1:
            raise ValueError(f"failure_rate is {self.failure_rate}; it must be 0 or more and less than 1")
        if self.time_budget_s is not None and not self.time_budget_s > 0:
            raise ValueError(f"time_budget_s is {self.time_budget_s}; it must be more than 0")
        if not 0 <= self.queue_wait_s < math.inf:
            raise ValueError(f"queue_wait_s is {self.queue_wait_s}; seconds are 0 or more")
        for loss in self.node_losses:
            if not 0 <= loss.node < self.nodes or loss.at_s < 0 or (loss.away_s is not None and loss.away_s <= 0):
                raise ValueError(
                    f"a node loss names node {loss.node} of {self.nodes} at {loss.at_s:g} s; count nodes from 0"
                )

    def slots_per_node(self, devices_per_trial: int) -> int:
        """Trials that fit on a node at once, by devices and by CPU cores."""
        return min(self.node_devices // devices_per_trial, self.node_cpus // self.trial_cpus)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Simulation:
        """The inverse of `dataclasses.asdict`. Raises ValueError or TypeError on a malformed one."""
        return cls(**{**data, "node_losses": tuple(NodeLoss(**loss) for loss in data.get("node_losses", ()))})


@dataclass(frozen=True, kw_only=True)
class Study:
    """What is run. Paths are as given; what they hold is hashed in the record's provenance.

    `settings`: the strategy's, resolved. `samples`: trials that the strategy may start. `epochs`: of a trial at full
    fidelity. `devices`: held by an automated strategy; a serial one holds `devices_per_trial`. `seed`: parent of all.
    `strategy_file`: where a strategy of the user's own lies. `deepspeed`: a DeepSpeed configuration file. `simulation`:
    of a study in virtual time, and of no other. `metrics`: what is optimised, of which the winner is best by the first.
    `trials_per_device`: so many share a device in the search; the final retrain has its own. `space_name`: of the space
    that `space` was made with (None: the workload's own).
    """

    workload: str
    recipe: str
    strategy: str
    settings: Mapping[str, Any]
    space: SearchSpace
    profile: str
    engine: EngineName
    seed: int
    samples: int
    epochs: int
    final_epochs: int
    devices: int
    devices_per_trial: int
    strategy_file: str | None = None
    model: str | None = None
    dataset: str | None = None
    dataset_name: str | None = None
    deepspeed: str | None = None
    simulation: Simulation | None = None
    metrics: tuple[str, ...] = DEFAULT
    trials_per_device: int = 1
    space_name: str | None = None

    def __post_init__(self) -> None:
        for name in ("samples", "epochs", "devices", "devices_per_trial", "trials_per_device"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 1 or more")
        if self.final_epochs < 0:
            raise ValueError(f"final_epochs is {self.final_epochs}; it must be 0 (no final retrain) or more")
        if self.devices % self.devices_per_trial:
            raise ValueError(
                f"{self.devices} devices cannot be shared out to trials of {self.devices_per_trial}: give a multiple"
            )

        check_metrics(self.metrics)
        if self.space_name is not None:
            check_space_name(self.space_name)
        if self.trials_per_device > 1 and (self.engine != "ray" or self.devices_per_trial > 1):
            raise ValueError(
                f"{self.trials_per_device} trials cannot share a device: that is for Ray, and trials of one device"
            )
        if self.trials_per_device > MOST_ON_A_DEVICE:
            raise ValueError(f"{self.trials_per_device} trials on a device; {MOST_ON_A_DEVICE} are allowed")

        if (self.simulation is None) == (self.engine == "virtual"):
            raise ValueError("a study on the virtual engine, and no other, has a simulation")
        if self.simulation is not None:
            if self.devices != self.simulation.nodes * self.simulation.node_devices:
                raise ValueError(f"{self.devices} devices are not those of all nodes together")
            if not self.slots:
                raise ValueError(
                    f"a trial of {self.devices_per_trial} devices and {self.simulation.trial_cpus} CPUs does not fit "
                    f"on a node of {self.simulation.node_devices} and {self.simulation.node_cpus}"
                )

    @property
    def slots(self) -> int:
        """Trials that can run at once."""
        if self.simulation is not None:
            return self.simulation.nodes * self.simulation.slots_per_node(self.devices_per_trial)
        return self.devices // self.devices_per_trial * self.trials_per_device

    @property
    def devices_of_a_trial(self) -> int | float:
        """What a trial of the search holds: whole devices, or its share of one."""
        return self.devices_per_trial if self.trials_per_device == 1 else 1 / self.trials_per_device

    @property
    def particulars(self) -> tuple[str, ...]:
        """What most studies do not have, in words: `space lora`, `2 trials a device`, `DeepSpeed zero2`."""
        found = {
            "simulated": self.simulation,
            f"space {self.space_name}": self.space_name,
            f"by {' and '.join(self.metrics)}": self.metrics != DEFAULT,
            f"{self.trials_per_device} trials a device": self.trials_per_device > 1,
            f"DeepSpeed {self.deepspeed_name}": self.deepspeed,
        }
        return tuple(words for words, has in found.items() if has)

    @property
    def deepspeed_name(self) -> str | None:
        """Of its DeepSpeed configuration, without a path."""
        return PurePath(self.deepspeed).name if self.deepspeed else None

    @property
    def own_stages(self) -> bool:
        """Whether each trial's configuration names its ZeRO stage."""
        return "zero_stage" in self.space.names

    def to_dict(self) -> dict[str, Any]:
        """The study as plain data, for records. What only some studies have is not in those of others."""
        data = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in LEFT_OUT}
        data |= {"space": self.space.to_dict(), "settings": dict(self.settings)}
        if self.simulation is not None:
            data["simulation"] = asdict(self.simulation)
        if self.metrics != DEFAULT:
            data["metrics"] = list(self.metrics)
        if self.trials_per_device != 1:
            data["trials_per_device"] = self.trials_per_device
        if self.space_name is not None:
            data["space_name"] = self.space_name
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Study:
        """The inverse of `to_dict`. Raises ValueError or TypeError on a malformed study."""
        simulation = data.get("simulation")
        return cls(
            **{
                **data,
                "space": SearchSpace.from_dict(data["space"]),
                "simulation": None if simulation is None else Simulation.from_dict(simulation),
                "metrics": study_metrics(data),
            }
        )

    def run_id(self) -> str:
        """A name for this study's run: readable, and different for any other study."""
        canonical = json.dumps(self.to_dict(), sort_keys=True)
        digest = hashlib.sha256(canonical.encode()).hexdigest()[:8]
        return f"{self.strategy}-{self.workload}-{self.recipe}-{self.profile}-s{self.seed}-{digest}"

    def comparison_key(self) -> tuple[Any, ...]:
        """What two runs must share for a cost ratio between them to mean anything."""
        return (
            self.workload, self.recipe, self.profile, self.epochs, self.final_epochs, self.devices_per_trial,
            self.model, self.dataset_name or self.dataset, self.deepspeed, self.simulation,
            None if self.metrics == DEFAULT else " and ".join(self.metrics),
        )  # fmt: skip
