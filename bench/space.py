"""The search space: one object that serves every strategy, the manual grid and the reports."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bench.errors import UserError

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace

Config = Mapping[str, float | int]
"""One configuration: hyperparameter name to value."""


def plain(config: Mapping[str, Any]) -> dict[str, float | int]:
    """A configuration with Python numbers instead of numpy's."""
    return {name: value.item() if hasattr(value, "item") else value for name, value in config.items()}


@dataclass(frozen=True)
class LogUniform:
    """A positive real drawn uniformly in its logarithm from [lower, upper].

    `grid` holds the points that a manual grid tries, in its order.
    """

    name: str
    lower: float
    upper: float
    grid: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not (math.isfinite(self.lower) and math.isfinite(self.upper) and 0 < self.lower < self.upper):
            raise ValueError(
                f"the range of {self.name} is [{self.lower:g}, {self.upper:g}]; it must satisfy 0 < lower < upper: "
                "give a smaller lower or a larger upper bound"
            )
        outside = [g for g in self.grid if not self.contains(g)]
        if outside:
            raise ValueError(
                f"the grid of {self.name} holds {outside[0]:g}, outside its range [{self.lower:g}, {self.upper:g}]: "
                "widen the range or change the grid"
            )

    def contains(self, value: float) -> bool:
        return self.lower <= value <= self.upper

    def is_edge(self, value: float) -> bool:
        """Within 2 % of the range's logarithmic width from either end."""
        position = math.log(value / self.lower) / math.log(self.upper / self.lower)
        return position <= 0.02 or position >= 0.98

    def bounded(self, lower: float | None, upper: float | None) -> LogUniform:
        """The same hyperparameter on other bounds; the grid becomes geometric middle, upper, lower (the
        order of the workshop's 1e-5, 2e-4, 5e-6)."""
        low = self.lower if lower is None else lower
        high = self.upper if upper is None else upper
        if (low, high) == (self.lower, self.upper):
            return self
        middle = math.sqrt(low * high) if 0 < low < high else low
        return LogUniform(self.name, low, high, (middle, high, low))


@dataclass(frozen=True)
class Choice:
    """One of a few numbers, all equally likely; a manual grid tries all, in order."""

    name: str
    values: tuple[float | int, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError(f"{self.name} has no values to choose from: give one at least")
        if len(set(self.values)) != len(self.values):
            raise ValueError(f"the values of {self.name} repeat ({list(self.values)}): give each once")

    @property
    def grid(self) -> tuple[float | int, ...]:
        return self.values

    def contains(self, value: float) -> bool:
        return value in self.values

    def is_edge(self, value: float) -> bool:
        """Always false: a list of choices has no edge beyond which more of the same lies."""
        del value
        return False


Dimension = LogUniform | Choice


@dataclass(frozen=True)
class SearchSpace:
    """The hyperparameters of a study, in the order in which a manual grid nests its loops."""

    dimensions: tuple[Dimension, ...]

    def __getitem__(self, name: str) -> Dimension:
        for dimension in self.dimensions:
            if dimension.name == name:
                return dimension
        raise KeyError(name)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(d.name for d in self.dimensions)

    def override(
        self,
        *,
        lr_lower: float | None = None,
        lr_upper: float | None = None,
        bs_choices: tuple[int, ...] | None = None,
        wd_choices: tuple[float, ...] | None = None,
    ) -> SearchSpace:
        """The space with the workshop's overrides applied. Raises UserError on an empty or inverted range."""
        changed: list[Dimension] = []
        try:
            for dimension in self.dimensions:
                if isinstance(dimension, LogUniform) and dimension.name == "learning_rate":
                    dimension = dimension.bounded(lr_lower, lr_upper)
                elif isinstance(dimension, Choice) and dimension.name == "batch_size" and bs_choices is not None:
                    if any(b < 1 for b in bs_choices):
                        raise ValueError(f"batch_size choices {list(bs_choices)} must be 1 or more: drop the others")
                    dimension = replace(dimension, values=bs_choices)
                elif isinstance(dimension, Choice) and dimension.name == "weight_decay" and wd_choices is not None:
                    if any(not (math.isfinite(w) and w >= 0) for w in wd_choices):
                        raise ValueError(f"weight_decay choices {list(wd_choices)} must be 0 or more: drop the others")
                    dimension = replace(dimension, values=wd_choices)
                changed.append(dimension)
        except ValueError as error:
            raise UserError(f"Search space: {error}.") from None
        return SearchSpace(tuple(changed))

    def grid(self) -> list[dict[str, float | int]]:
        """The manual grid, the first hyperparameter in the outermost loop."""
        axes = [d.grid for d in self.dimensions]
        return [dict(zip(self.names, point, strict=True)) for point in itertools.product(*axes)]

    def edges(self, config: Config) -> list[str]:
        """The hyperparameters whose value lies on an edge of the space."""
        return [d.name for d in self.dimensions if d.name in config and d.is_edge(float(config[d.name]))]

    def tune(self) -> dict[str, Any]:
        """The space in Ray Tune's own domains."""
        from ray import tune

        return {
            d.name: tune.loguniform(d.lower, d.upper) if isinstance(d, LogUniform) else tune.choice(list(d.values))
            for d in self.dimensions
        }

    def configspace(self, seed: int) -> ConfigurationSpace:
        """The space in ConfigSpace's terms, as hpbandster wants it."""
        from ConfigSpace import CategoricalHyperparameter, ConfigurationSpace, UniformFloatHyperparameter

        space = ConfigurationSpace(seed=seed)
        for d in self.dimensions:
            if isinstance(d, LogUniform):
                space.add(UniformFloatHyperparameter(d.name, lower=d.lower, upper=d.upper, log=True))
            else:
                space.add(CategoricalHyperparameter(d.name, choices=list(d.values)))
        return space

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """The space as plain data, for records."""
        return {
            d.name: {"log_uniform": [d.lower, d.upper], "grid": list(d.grid)}
            if isinstance(d, LogUniform)
            else {"choice": list(d.values)}
            for d in self.dimensions
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Mapping[str, Any]]) -> SearchSpace:
        """The inverse of `to_dict`. Raises ValueError on a malformed dimension."""
        dimensions: list[Dimension] = []
        for name, spec in data.items():
            if set(spec) == {"choice"}:
                dimensions.append(Choice(name, tuple(spec["choice"])))
            elif "log_uniform" in spec and set(spec) <= {"log_uniform", "grid"}:
                lower, upper = spec["log_uniform"]
                dimensions.append(LogUniform(name, float(lower), float(upper), tuple(spec.get("grid", ()))))
            else:
                raise ValueError(
                    f"the hyperparameter {name} has the keys {sorted(spec)}; expected 'choice', or 'log_uniform' "
                    "and 'grid'"
                )
        return cls(tuple(dimensions))
