"""The search space: one object that serves every strategy, the manual grid and the reports."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bench.errors import UserError
from bench.hyperparameters import Value

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace

Config = Mapping[str, Value]
"""One configuration: hyperparameter name to value, which is a number or a word."""

EDGE = 0.02
"""Of a range's width, the part at either end that counts as its edge."""

NAME = re.compile(r"[^\W_][\w .+-]{0,59}")
"""What a space may be called."""

SHOWN_VALUE = 80
"""Characters of a wrong value that a message repeats."""


def check_space_name(name: object) -> None:
    """Raises ValueError where a space cannot be called so."""
    if not isinstance(name, str) or not NAME.fullmatch(name) or name != name.strip():
        raise ValueError(
            f"a search space cannot have the name {_said(name)}: give one of up to 60 letters, digits, blanks, '-', "
            "'_', '.' and '+', the first a letter or digit"
        )


def plain(config: Mapping[str, Any]) -> dict[str, Value]:
    """A configuration with Python's values instead of numpy's."""
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
                + (
                    "give a lower bound of more than 0"
                    if self.lower <= 0
                    else "give a smaller lower or a larger upper bound"
                )
            )
        outside = [g for g in self.grid if not self.contains(g)]
        if outside:
            raise ValueError(
                f"the grid of {self.name} holds {outside[0]:g}, outside its range [{self.lower:g}, {self.upper:g}]: "
                "widen the range or change the grid"
            )

    def contains(self, value: Value) -> bool:
        return not isinstance(value, str) and self.lower <= value <= self.upper

    def is_edge(self, value: Value) -> bool:
        """Within 2 % of the range's logarithmic width from either end."""
        position = math.log(float(value) / self.lower) / math.log(self.upper / self.lower)
        return position <= EDGE or position >= 1 - EDGE

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
class Uniform:
    """A real drawn uniformly from [lower, upper]. `grid` holds the points that a manual grid tries, in its order."""

    name: str
    lower: float
    upper: float
    grid: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not (math.isfinite(self.lower) and math.isfinite(self.upper) and self.lower < self.upper):
            raise ValueError(
                f"the range of {self.name} is [{self.lower:g}, {self.upper:g}]; it must satisfy lower < upper: "
                "give a smaller lower or a larger upper bound"
            )
        outside = [g for g in self.grid if not self.contains(g)]
        if outside:
            raise ValueError(
                f"the grid of {self.name} holds {outside[0]:g}, outside its range [{self.lower:g}, {self.upper:g}]: "
                "widen the range or change the grid"
            )

    def contains(self, value: Value) -> bool:
        return not isinstance(value, str) and self.lower <= value <= self.upper

    def is_edge(self, value: Value) -> bool:
        """Within 2 % of the range's width from either end; 0 is no edge, since nothing lies beyond it."""
        position = (float(value) - self.lower) / (self.upper - self.lower)
        return (position <= EDGE and self.lower != 0) or position >= 1 - EDGE


@dataclass(frozen=True)
class Choice:
    """One of a few numbers or words, all equally likely. A manual grid tries all, in order, or those in `tried`."""

    name: str
    values: tuple[Value, ...]
    tried: tuple[Value, ...] = ()

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError(f"{self.name} has no values to choose from: give one at least")
        if len(set(self.values)) != len(self.values):
            raise ValueError(f"the values of {self.name} repeat ({list(self.values)}): give each once")
        outside = [g for g in self.tried if g not in self.values]
        if outside or len(set(self.tried)) != len(self.tried):
            raise ValueError(
                f"the grid of {self.name} is {list(self.tried)}; it must hold some of {list(self.values)}, each once"
            )

    @property
    def grid(self) -> tuple[Value, ...]:
        return self.tried or self.values

    def contains(self, value: Value) -> bool:
        return value in self.values

    def is_edge(self, value: Value) -> bool:
        """Always false: a list of choices has no edge beyond which more of the same lies."""
        del value
        return False


Dimension = LogUniform | Uniform | Choice


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
        bounds = None if lr_lower is None and lr_upper is None else (lr_lower, lr_upper)
        given = {"learning_rate": bounds, "batch_size": bs_choices, "weight_decay": wd_choices}
        try:
            for dimension in self.dimensions:
                wanted = LogUniform if dimension.name == "learning_rate" else Choice
                if given.get(dimension.name) is not None and not isinstance(dimension, wanted):
                    raise ValueError(
                        f"{dimension.name} is given here in another way than as "
                        f"{'a logarithmic range' if wanted is LogUniform else 'choices'}: change it in the space's file"
                    )
                if isinstance(dimension, LogUniform) and dimension.name == "learning_rate":
                    dimension = dimension.bounded(lr_lower, lr_upper)
                elif isinstance(dimension, Choice) and dimension.name == "batch_size" and bs_choices is not None:
                    if any(b < 1 for b in bs_choices):
                        raise ValueError(f"batch_size choices {list(bs_choices)} must be 1 or more: drop the others")
                    dimension = replace(dimension, values=bs_choices, tried=())
                elif isinstance(dimension, Choice) and dimension.name == "weight_decay" and wd_choices is not None:
                    if any(not (math.isfinite(w) and w >= 0) for w in wd_choices):
                        raise ValueError(f"weight_decay choices {list(wd_choices)} must be 0 or more: drop the others")
                    dimension = replace(dimension, values=wd_choices, tried=())
                changed.append(dimension)
        except ValueError as error:
            raise UserError(f"Search space: {error}.") from None
        return SearchSpace(tuple(changed))

    def grid(self) -> list[dict[str, Value]]:
        """The manual grid, the first hyperparameter in the outermost loop."""
        axes = [d.grid for d in self.dimensions]
        return [dict(zip(self.names, point, strict=True)) for point in itertools.product(*axes)]

    def edges(self, config: Config) -> list[str]:
        """The hyperparameters whose value lies on an edge of the space."""
        return [d.name for d in self.dimensions if d.name in config and d.is_edge(config[d.name])]

    def tune(self) -> dict[str, Any]:
        """The space in Ray Tune's own domains."""
        from ray import tune

        domains: dict[str, Any] = {}
        for d in self.dimensions:
            match d:
                case LogUniform():
                    domains[d.name] = tune.loguniform(d.lower, d.upper)
                case Uniform():
                    domains[d.name] = tune.uniform(d.lower, d.upper)
                case Choice():
                    domains[d.name] = tune.choice(list(d.values))
        return domains

    def configspace(self, seed: int) -> ConfigurationSpace:
        """The space in ConfigSpace's terms, as hpbandster wants it."""
        from ConfigSpace import CategoricalHyperparameter, ConfigurationSpace, UniformFloatHyperparameter

        space = ConfigurationSpace(seed=seed)
        for d in self.dimensions:
            if isinstance(d, Choice):
                space.add(CategoricalHyperparameter(d.name, choices=list(d.values)))
            else:
                logarithmic = isinstance(d, LogUniform)
                space.add(UniformFloatHyperparameter(d.name, lower=d.lower, upper=d.upper, log=logarithmic))
        return space

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """The space as plain data, for records."""
        return {d.name: _to_dict(d) for d in self.dimensions}

    @classmethod
    def from_dict(cls, data: Mapping[str, Mapping[str, Any]]) -> SearchSpace:
        """The inverse of `to_dict`. Raises ValueError on a malformed dimension."""
        return cls(tuple(_from_dict(name, spec) for name, spec in data.items()))


def _to_dict(d: Dimension) -> dict[str, Any]:
    match d:
        case LogUniform():
            return {"log_uniform": [d.lower, d.upper], "grid": list(d.grid)}
        case Uniform():
            return {"uniform": [d.lower, d.upper], "grid": list(d.grid)}
        case Choice():
            return {"choice": list(d.values)} | ({"grid": list(d.tried)} if d.tried else {})


def _from_dict(name: str, spec: Mapping[str, Any]) -> Dimension:
    kinds = {"choice", "log_uniform", "uniform"} & set(spec)
    if len(kinds) != 1 or not set(spec) <= kinds | {"grid"}:
        raise ValueError(
            f"the hyperparameter {name} has the keys {sorted(spec)}; expected one of 'choice', 'log_uniform' and "
            "'uniform', and 'grid'"
        )
    grid = _list(name, "grid", spec.get("grid", ()))
    if "choice" in kinds:
        return Choice(name, _list(name, "choice", spec["choice"]), grid)
    if not all(isinstance(point, (int, float)) for point in grid):
        raise ValueError(f"the grid of {name} is {list(grid)}; it must hold numbers")
    kind = LogUniform if "log_uniform" in kinds else Uniform
    lower, upper = _bounds(name, (key := kinds.pop()), spec[key])
    return kind(name, lower, upper, grid)


def _list(name: str, key: str, value: Any) -> tuple[Any, ...]:
    """Raises ValueError where it is none: a word is not taken for its letters."""
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"'{key}' of {name} is {_said(value)}; give a list, such as [{_said(value)}]")
    return tuple(value)


def _bounds(name: str, key: str, value: Any) -> tuple[float, float]:
    """Raises ValueError where they are no bounds."""
    numbers = value if isinstance(value, (list, tuple)) else ()
    if len(numbers) != 2 or not all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in numbers):
        raise ValueError(f"'{key}' of {name} is {_said(value)}; give a list of two numbers, lower and upper")
    return float(numbers[0]), float(numbers[1])


def _said(value: object) -> str:
    said = repr(value)
    return said if len(said) <= SHOWN_VALUE else f"{said[:SHOWN_VALUE]}…"
