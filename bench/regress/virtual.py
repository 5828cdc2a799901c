"""The virtual studies of the gate: what `studies.toml` asks for, simulated again with the code as it is now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from bench.events import Event
from bench.progress import OnDone
from bench.regress.metrics import RunMetrics, events_sha256, metrics_of
from bench.study import Study
from bench.tomlfile import load_toml
from bench.trials import RunState

if TYPE_CHECKING:
    from bench.curve_model import CurveModel

NAME = "studies.toml"


@dataclass(frozen=True, kw_only=True)
class StudySet:
    """Strategies under the same conditions, each a study with a reference `<name>-<strategy>.json`. What is left out is
    the curve set's or the profile's own value."""

    name: str
    curves: str
    profile: str
    strategies: tuple[str, ...]
    seeds: tuple[int, ...]
    samples: int = 12
    epochs: int | None = None
    nodes: int = 1
    devices: int | None = None

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    def __post_init__(self) -> None:
        if not self.strategies or not self.seeds:
            raise ValueError(f"the set {self.name} has no strategies or no seeds; give one of each or more")
        if len(set(self.strategies)) < len(self.strategies) or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"the set {self.name} names a strategy or a seed twice; leave one")


@dataclass(frozen=True, kw_only=True)
class Sets:
    study: tuple[StudySet, ...]

    def __post_init__(self) -> None:
        names = [s.name for s in self.study]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two sets are called {name}; rename one")


def load_studies(path: Path) -> dict[str, list[Study]]:
    """The virtual studies by the name of their reference, one for each seed; none where there is no such file. Raises
    UserError."""
    if not path.exists():
        return {}
    found: dict[str, list[Study]] = {}
    for each in load_toml(path, Sets).study:
        for strategy in each.strategies:
            first = _study(each, strategy)
            found[f"{each.name}-{Path(strategy).stem}"] = [replace(first, seed=seed) for seed in each.seeds]
    return found


def _study(each: StudySet, strategy: str) -> Study:
    from bench.curves import curve_set_folder, load_curve_set
    from bench.profile import load_profile
    from bench.simulate import virtual_study
    from bench.strategy import load_strategy

    curve_set_folder(each.curves)  # its error names the nearest
    return virtual_study(
        load_strategy(strategy),
        load_curve_set(each.curves),
        load_profile(each.profile),
        samples=each.samples,
        epochs=each.epochs,
        nodes=each.nodes,
        devices=each.devices,
    )


def simulate(
    studies: dict[str, list[Study]], *, jobs: int | None = None, on_done: OnDone | None = None
) -> dict[str, list[RunMetrics]]:
    """The metrics of all studies. Raises UserError as `simulate_many` does."""
    from bench.simulate_many import simulate_many

    flat = [study for own in studies.values() for study in own]
    # One pool for all curve sets: each worker reads a set once, when a study first names it.
    outcomes = simulate_many(flat, curves="", jobs=jobs, on_done=on_done, one=cast(Any, simulate_metrics))
    runs = iter(cast(Sequence[RunMetrics], outcomes))
    return {name: [next(runs) for _ in own] for name, own in studies.items()}


def deciding_versions() -> dict[str, str]:
    """Versions of the packages that may change a simulated decision."""
    from importlib.metadata import version

    from bench.simulate import DECIDING

    return {name: version(name) for name in DECIDING}


def simulate_metrics(study: Study, curves: str = "") -> RunMetrics:
    """One run in virtual time on the curves that the study names."""
    from bench.profile import load_profile
    from bench.simulate import simulate_run
    from bench.strategy import load_strategy

    del curves
    assert study.simulation is not None
    events: list[Event] = []

    def keep(event: Event, state: RunState) -> None:
        del state
        events.append(event)

    strategy = load_strategy(study.strategy_file or study.strategy)
    model = _model(study.simulation.curves)
    state = simulate_run(study, strategy, load_profile(study.profile), model, observers=(keep,))
    return metrics_of(state, study.seed, events_sha256(events))


_models: dict[str, CurveModel] = {}


def _model(curves: str) -> CurveModel:
    """Read once a process."""
    from bench.curve_model import CurveModel
    from bench.curves import load_curve_set

    if curves not in _models:
        _models[curves] = CurveModel(load_curve_set(curves))
    return _models[curves]
