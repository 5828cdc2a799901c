"""A study: everything that fixes what a run does. Two runs of the same study make the same decisions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bench.space import SearchSpace

EngineName = Literal["ray", "serial", "virtual"]
ENGINES: tuple[EngineName, ...] = ("ray", "serial")
"""Those that can be asked for; records of virtual time keep their own name."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """What is run. Paths are as given; what they hold is hashed in the record's provenance.

    `settings`: the strategy's, resolved. `samples`: trials that the strategy may start. `epochs`: of a trial at full
    fidelity. `devices`: held by an automated strategy; a serial one holds `devices_per_trial`. `seed`: parent of all.
    `strategy_file`: where a strategy of the user's own lies. `deepspeed`: a DeepSpeed configuration file.
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

    def __post_init__(self) -> None:
        for name in ("samples", "epochs", "devices", "devices_per_trial"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 1 or more")
        if self.final_epochs < 0:
            raise ValueError(f"final_epochs is {self.final_epochs}; it must be 0 (no final retrain) or more")
        if self.devices % self.devices_per_trial:
            raise ValueError(
                f"{self.devices} devices cannot be shared out to trials of {self.devices_per_trial}: give a multiple"
            )

    @property
    def slots(self) -> int:
        """Trials that can run at once."""
        return self.devices // self.devices_per_trial

    def to_dict(self) -> dict[str, Any]:
        """The study as plain data, for records."""
        data = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return data | {"space": self.space.to_dict(), "settings": dict(self.settings)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Study:
        """The inverse of `to_dict`. Raises ValueError or TypeError on a malformed study."""
        return cls(**{**data, "space": SearchSpace.from_dict(data["space"])})

    def run_id(self) -> str:
        """A name for this study's run: readable, and different for any other study."""
        canonical = json.dumps(self.to_dict(), sort_keys=True)
        digest = hashlib.sha256(canonical.encode()).hexdigest()[:8]
        return f"{self.strategy}-{self.workload}-{self.recipe}-{self.profile}-s{self.seed}-{digest}"

    def comparison_key(self) -> tuple[Any, ...]:
        """What two runs must share for a cost ratio between them to mean anything."""
        return (
            self.workload, self.recipe, self.profile, self.epochs, self.final_epochs, self.devices_per_trial,
            self.model, self.dataset_name or self.dataset, self.deepspeed, self.engine == "virtual",
        )  # fmt: skip
