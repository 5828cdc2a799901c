"""What a strategy is, and how one is found: a file in `strategies/`, a path, or an entry point."""

from __future__ import annotations

import importlib.util
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UserError, did_you_mean, unknown
from bench.hyperparameters import Value
from bench.metrics import TRIAL_COST
from bench.resources import resource_dir
from bench.space import SearchSpace
from bench.workload import Workload

if TYPE_CHECKING:
    from ray.tune.schedulers import TrialScheduler
    from ray.tune.search import SearchAlgorithm, Searcher

OBJECTIVE = "objective"
"""What schedulers and searchers minimise: the study's metric (eval_loss, if not another is asked for; what is to be
large with its sign changed), or `FAILURE_OBJECTIVE` where that is not a finite number."""


def objective_names(number: int) -> list[str]:
    """What so many objectives are called: `OBJECTIVE` is the first."""
    return [OBJECTIVE, *(f"{OBJECTIVE}_{n}" for n in range(2, number + 1))]


FAILURE_OBJECTIVE = 1e6
"""Stands for the loss of a trial that has none: larger than any cross-entropy, so that it ranks last, and finite, since
the models of TPE and BOHB and the percentiles of ASHA are not defined on NaN."""

TIME_ATTRIBUTE = "training_iteration"
"""Ray Tune's count of results. One result is one epoch."""

ENTRY_POINTS = "sweepmark.strategies"


@dataclass(frozen=True)
class Setting:
    """A strategy's setting: its default value, which also fixes its type, and what it means."""

    default: float | int | bool
    meaning: str


@dataclass(frozen=True)
class Request:
    """What a strategy is asked to plan: at most `samples` trials of at most `epochs` epochs in `space`, `slots` at
    once. `seed`: for every random choice of the search. `settings`: resolved, one value for each declared setting.
    `objectives`: how many are minimised at once (see `objective_names`); 1 but for strategies that take several."""

    space: SearchSpace
    samples: int
    epochs: int
    slots: int
    seed: int
    settings: Mapping[str, Any]
    objectives: int = 1


@dataclass(frozen=True)
class GridPlan:
    """Configurations fixed beforehand, run one after the other in order, each in a process of its own."""

    configs: tuple[Mapping[str, Value], ...]


@dataclass(frozen=True)
class TunePlan:
    """Ray Tune's own objects, ready to be driven by any engine.

    `search_alg`: suggests. `scheduler`: stops, pauses and copies. `param_space`: Tune's domains, empty where the
    searcher holds its own space. `stops_at_epochs`: whether the engine ends trials after the last epoch (HyperBand
    wants to see that result itself). `model_based`: Tune's trial id to whether a model chose its configuration (None:
    the strategy has no model).
    """

    search_alg: SearchAlgorithm | Searcher
    scheduler: TrialScheduler
    param_space: Mapping[str, Any]
    stops_at_epochs: bool = True
    model_based: Mapping[str, bool] | None = None


@dataclass(frozen=True)
class Strategy:
    """A way to search. `build` makes the plan; it alone may import ray. `pauses`, `copies`: whether trials are resumed
    later, or take over another's weights; both need a workload that can be saved. `several`: whether it takes several
    objectives at once. `source`: the file it came from."""

    name: str
    summary: str
    build: Callable[[Request], GridPlan | TunePlan]
    settings: Mapping[str, Setting] = field(default_factory=dict)
    pauses: bool = False
    copies: bool = False
    serial: bool = False
    several: bool = False
    source: Path | None = None

    def resolve(self, overrides: Mapping[str, str]) -> dict[str, float | int | bool]:
        """The defaults with the overrides, given as text, in place. Raises UserError on a bad name or value."""
        values = {name: setting.default for name, setting in self.settings.items()}
        for name, text in overrides.items():
            if name not in values:
                raise UserError(f"Strategy {self.name} has no setting '{name}'{did_you_mean(name, values)}")
            values[name] = _parse(name, text, values[name])
        return values

    def plan(self, request: Request) -> GridPlan | TunePlan:
        """What `build` makes. Raises UserError where it fails, which is the settings' fault or the strategy's own."""
        try:
            plan = self.build(request)
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            raise UserError(
                f"Strategy {self.name} cannot plan this study ({type(error).__name__}: {error}, at "
                f"{Path(place.filename).name}:{place.lineno}): change its settings with --set, or the strategy."
            ) from error
        if not isinstance(plan, (GridPlan, TunePlan)):
            raise UserError(
                f"Strategy {self.name} planned a {type(plan).__name__}: `build` must return a GridPlan or a TunePlan."
            )
        return plan

    def check(self, workload: Workload) -> None:
        """Raises UserError where trials must be resumed or copied and the workload cannot be saved."""
        if (self.pauses or self.copies) and not workload.checkpoints:
            does = "copies" if self.copies else "pauses"
            raise UserError(
                f"Strategy {self.name} {does} trials, and workload {workload.name} cannot save them: use a strategy "
                "that runs each trial through (random, asha, tpe) or a workload with checkpoints."
            )

    def check_metrics(self, metrics: Sequence[str]) -> None:
        """Raises UserError where the strategy cannot search by these metrics."""
        if len(metrics) > 1 and not self.several:
            able = [name for name in _builtin() if load_strategy(name).several]
            raise UserError(
                f"Strategy {self.name} follows one number, and --metric {','.join(metrics)} are {len(metrics)}: name "
                f"one of them, or use a strategy that takes several ({', '.join(sorted(able))})."
            )
        if self.copies and TRIAL_COST in metrics:
            raise UserError(
                f"Strategy {self.name} copies trials from each other, so that none has a cost of its own: give "
                f"another --metric than {TRIAL_COST}."
            )


def _parse(name: str, text: str, default: float | int | bool) -> float | int | bool:
    try:
        if isinstance(default, bool):
            return {"true": True, "false": False, "1": True, "0": False}[text.lower()]
        return type(default)(text)
    except (KeyError, ValueError):
        kind = {bool: "true or false", int: "a whole number", float: "a number"}[type(default)]
        raise UserError(f"Setting {name} is '{text}'; it must be {kind}, such as {default}.") from None


def strategy_names() -> list[str]:
    """The names of all installed strategies: the suite's own, then those of entry points."""
    return sorted(_builtin()) + sorted(e.name for e in _entry_points())


def load_strategy(name: str) -> Strategy:
    """The strategy of that name, or the one in the file of that path (ending in `.py`).

    A strategy is code and runs with your rights: only name files that you trust. Raises UserError.
    """
    if name.endswith(".py"):
        return _from_file(Path(name))
    if name in _builtin():
        return _from_file(_builtin()[name])
    for entry in _entry_points():
        if entry.name == name:
            return _checked(entry.load(), f"entry point {name}", None)
    raise unknown("strategy", name, strategy_names())


def _builtin() -> dict[str, Path]:
    folder = resource_dir("strategies")
    return {path.stem.replace("_", "-"): path for path in folder.glob("*.py") if not path.stem.startswith("_")}


def _entry_points() -> list[Any]:
    from importlib.metadata import entry_points

    return list(entry_points(group=ENTRY_POINTS))


def _from_file(path: Path) -> Strategy:
    spec = importlib.util.spec_from_file_location(f"sweepmark_strategy_{path.stem}", path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise UserError(f"There is no strategy file {path}: give the path of a Python file that sets STRATEGY.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UserError(
            f"The strategy file {path} does not load ({type(error).__name__}: {error}): correct it."
        ) from error
    return _checked(getattr(module, "STRATEGY", None), str(path), path)


def _checked(candidate: object, where: str, source: Path | None) -> Strategy:
    from dataclasses import replace

    if not isinstance(candidate, Strategy):
        raise UserError(f"{where} does not set STRATEGY to a bench.strategy.Strategy: see docs/strategies.md.")
    own = _builtin().get(candidate.name)
    if own is not None and (source is None or source.resolve() != own.resolve()):
        raise UserError(f"{where} calls itself '{candidate.name}', as one of the suite's does: give it another name.")
    return replace(candidate, source=source)
