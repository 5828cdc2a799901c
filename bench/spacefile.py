"""Search spaces as data: files that add hyperparameters to a workload's own space, or change its ranges."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import hyperparameters
from bench.errors import UserError, unknown
from bench.resources import PACKAGE
from bench.space import Choice, Dimension, LogUniform, SearchSpace, check_space_name
from bench.tomlfile import load_toml

if TYPE_CHECKING:
    from bench.profile import Profile
    from bench.workload import Recipe

SPACES = PACKAGE / "spaces"
MAX_BYTES = 64 * 1024
MAX_GRID = 10_000
NEEDED = ("learning_rate", "batch_size")
TIMES = "times"


@dataclass(frozen=True, kw_only=True)
class SpaceFile:
    """A search space to put upon a workload's own.

    `space`: a table a hyperparameter, as `SearchSpace.from_dict` reads it; one that the workload's space has too takes
    its place. Instead of a range, `times` multiplies that of the workload: one number both bounds and the grid, two the
    lower and the upper bound alone. `alone`: of the workload's space nothing stays but what `times` refers to.
    """

    name: str
    summary: str
    space: dict[str, dict[str, Any]]
    alone: bool = False

    def __post_init__(self) -> None:
        check_space_name(self.name)
        for name, spec in self.space.items():
            hyperparameters.find(name)
            if TIMES not in spec:
                _check(SearchSpace.from_dict({name: spec})[name])
            elif set(spec) != {TIMES}:
                raise ValueError(f"{name} has 'times' and other keys: give it alone")
            else:
                _factors(name, spec[TIMES])
        for name in ("lora_alpha", "lora_dropout"):
            if name in self.space and "lora_rank" not in self.space:
                raise ValueError(f"{name} means nothing without lora_rank: add that")

    def onto(self, base: SearchSpace) -> SearchSpace:
        """The space with the workload's own, `base`, under it. Raises ValueError where they do not go together."""
        own = {d.name: d for d in base.dimensions}
        changed = {
            name: _times(own, name, spec[TIMES]) if TIMES in spec else SearchSpace.from_dict({name: spec})[name]
            for name, spec in self.space.items()
        }
        made = SearchSpace(tuple(map(_with_grid, (changed if self.alone else own | changed).values())))
        for name in NEEDED:
            if name not in made.names:
                raise ValueError(f"{name} is missing: add it, or leave out 'alone'")
        check_space(made)
        if _points(made) > MAX_GRID:
            raise ValueError(
                f"its grid has {_points(made)} points, more than {MAX_GRID}: give the added hyperparameters a 'grid' "
                "of one value"
            )
        return made


def space_names() -> list[str]:
    return sorted(path.stem for path in SPACES.glob("*.toml"))


def load_space(name: str) -> SpaceFile:
    """The space of that name, or the one in the file of that path (ending in `.toml`), which may be anybody's. Raises
    UserError in one sentence."""
    if not name.endswith(".toml"):
        if name not in space_names():
            raise unknown("search space", name, space_names())
        return load_toml(SPACES / f"{name}.toml", SpaceFile)
    path = Path(name)
    if not path.is_file():
        raise UserError(f"There is no search space file {path}: check the path, or see `sweepmark spaces`.")
    if path.stat().st_size > MAX_BYTES:
        raise UserError(f"{path} is larger than the {MAX_BYTES} bytes allowed: it is no search space.")
    try:
        return load_toml(path, SpaceFile)
    except (RecursionError, TypeError, OverflowError) as error:
        raise UserError(f"{path} is malformed ({type(error).__name__}): see docs/spaces.md for the format.") from None


def applied(name: str, base: SearchSpace) -> SearchSpace:
    """The named space put upon a workload's own. Raises UserError."""
    try:
        return load_space(name).onto(base)
    except ValueError as error:
        raise UserError(f"Search space {name}: {error}.") from None


def overridden(base: SearchSpace, *, file: str | None = None, **bounds: Any) -> SearchSpace:
    """A workload's space with a named one upon it and then the workshop's overrides (see `SearchSpace.override`).
    Raises UserError."""
    return (base if file is None else applied(file, base)).override(**bounds)


def space_options(space: SearchSpace, base: SearchSpace) -> list[str]:
    """The words on a command line that make `space` of a workload's own. A space of the user's own has the file's name
    left to fill in."""
    for name in (None, *space_names()):
        with suppress(UserError):
            made = overridden(base, file=name)
            pairs = zip(space.dimensions, made.dimensions, strict=False)
            changed = [d for d, own in pairs if d != own and not _left_out(d, own)]
            if made.names == space.names and all(_override(d) for d in changed):
                words = [] if name is None else ["--space", name]
                return [*words, *(word for d in changed for word in _override(d))]
    return ["--space", "FILE.toml"]


def _left_out(dimension: Dimension, own: Dimension) -> bool:
    """Whether it is what `trainable` leaves of precisions."""
    if dimension.name != "precision" or not isinstance(dimension, Choice) or not isinstance(own, Choice):
        return False
    return set(dimension.values) <= set(own.values)


def _override(dimension: Dimension) -> list[str]:
    """The options that give a workload's dimension other bounds or choices; none where there are none for it."""
    if dimension.name == "learning_rate" and isinstance(dimension, LogUniform):
        return ["--lr-lower", str(dimension.lower), "--lr-upper", str(dimension.upper)]
    option = {"batch_size": "--bs-choices", "weight_decay": "--wd-choices"}.get(dimension.name)
    if option is None or not isinstance(dimension, Choice) or dimension.tried:
        return []
    return [option, " ".join(map(str, dimension.values))]


def trainable(
    space: SearchSpace, profile: Profile, recipe: Recipe, *, deepspeed: bool
) -> tuple[SearchSpace, str | None]:
    """The space without the precisions that the hardware does not train in, and the words for what was left out (None:
    nothing). `deepspeed`: whether trials have DeepSpeed whatever their configuration says. Raises UserError where
    something in the space would have no effect or cannot be trained."""
    names = space.names
    if "max_grad_norm" in names and not recipe.applies_clipping:
        raise UserError(f"Recipe {recipe.name} does not clip gradients: search a space without max_grad_norm.")
    staged = deepspeed or "zero_stage" in names
    for name in ("zero_stage", "optimizer"):
        if name in names and (deepspeed if name == "zero_stage" else staged):
            other = "--deepspeed" if deepspeed else "zero_stage"
            raise UserError(f"{name} cannot be searched together with {other}: leave one of them out.")
    if "precision" not in names:
        return space, None
    chosen = space["precision"]
    assert isinstance(chosen, Choice)
    kept = tuple(v for v in chosen.values if str(v) in profile.precisions)
    if not kept:
        raise UserError(
            f"Profile {profile.name} trains in {', '.join(profile.precisions)}: give one of them as precision."
        )
    if kept == chosen.values:
        return space, None
    lost = ", ".join(str(v) for v in chosen.values if v not in kept)
    changed = replace(chosen, values=kept, tried=tuple(v for v in chosen.tried if v in kept))
    dimensions = tuple(changed if d is chosen else d for d in space.dimensions)
    return SearchSpace(dimensions), f"Precision {lost}, which profile {profile.name} does not train in, is"


def check_space(space: SearchSpace) -> None:
    """Raises ValueError where a space holds something that nothing here can tune, or values that it cannot have."""
    for dimension in space.dimensions:
        _check(dimension)


def _check(dimension: Dimension) -> None:
    """Raises ValueError where a dimension reaches beyond what its hyperparameter may be."""
    known = hyperparameters.find(dimension.name)
    if isinstance(dimension, Choice):
        known.check(dimension.values)
        return
    if known.kind != "real":
        raise ValueError(f"{known.name} is a {known.kind}: give its values as 'choice'")
    known.check((dimension.lower, dimension.upper))


def _factors(name: str, times: Any) -> tuple[float, ...]:
    factors = tuple(times) if isinstance(times, (list, tuple)) else (times,)
    good = all(isinstance(f, (int, float)) and not isinstance(f, bool) and 0 < f < math.inf for f in factors)
    if len(factors) > 2 or not factors or not good:
        raise ValueError(f"'times' of {name} is {times!r}; give one number above 0, or one for each bound")
    return factors


def _times(own: Mapping[str, Dimension], name: str, times: Any) -> Dimension:
    base = own.get(name)
    if not isinstance(base, LogUniform):
        raise ValueError(f"'times' of {name} needs a range of the workload's: give the range itself")
    factors = _factors(name, times)
    if len(factors) == 2:
        return LogUniform(name, _tidy(base.lower * factors[0]), _tidy(base.upper * factors[1]), base.grid)
    lower, upper, *grid = (_tidy(value * factors[0]) for value in (base.lower, base.upper, *base.grid))
    return LogUniform(name, lower, upper, tuple(grid))


def _with_grid(dimension: Dimension) -> Dimension:
    """A range without a grid has its middle tried."""
    if isinstance(dimension, Choice) or dimension.grid:
        return dimension
    low, high = dimension.lower, dimension.upper
    middle = math.sqrt(low * high) if isinstance(dimension, LogUniform) else (low + high) / 2
    return replace(dimension, grid=(float(f"{middle:.4g}"),))


def _tidy(value: float) -> float:
    """Without the last digits, which are the multiplication's own."""
    return float(f"{value:.12g}")


def _points(space: SearchSpace) -> int:
    return math.prod(len(d.grid) for d in space.dimensions)
