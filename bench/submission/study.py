"""A stranger's study: its types checked before any of it is used, and nothing in it taken for a path."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar

from bench.errors import UserError
from bench.metrics import DEFAULT
from bench.profile import profile_names
from bench.spacefile import check_space
from bench.study import EngineName, Simulation, Study
from bench.submission.findings import Findings, quoted, short
from bench.tables import clean
from bench.workload import recipe_names, workload_names


@dataclass(frozen=True, kw_only=True)
class _StudyData:
    """The types of a study as plain data."""

    workload: str
    recipe: str
    strategy: str
    settings: dict[str, bool | int | float | str]
    space: dict[str, dict[str, list[int | float | str]]]
    profile: str
    engine: EngineName
    seed: int
    samples: int
    epochs: int
    final_epochs: int
    devices: int
    devices_per_trial: int
    strategy_file: str | None
    model: str | None
    dataset: str | None
    dataset_name: str | None
    deepspeed: str | None
    simulation: Simulation | None = None
    metrics: list[str] = field(default_factory=lambda: list(DEFAULT))
    trials_per_device: int = 1
    space_name: str | None = None

    __pydantic_config__: ClassVar = {"extra": "forbid", "strict": True}


MAX_DIMENSIONS = 100
MAX_POINTS = 1_000
"""Points of a grid, or values to choose from, of one hyperparameter."""
LONGEST_NAME = 100


@cache
def _adapter() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(_StudyData)


def parse_study(data: Mapping[str, Any], where: str, findings: Findings) -> Study | None:
    """The study; None, and a finding, where it is malformed or names what this version does not have."""
    try:
        _adapter().validate_json(json.dumps(data))
        _check_size(data["space"])
        study = Study.from_dict(data)
        check_space(study.space)
        if study.seed < 0:
            raise ValueError(f"seed is {study.seed}; it must be 0 or more")
    except (UserError, ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        findings.add("bad-study", where, f"The study cannot be used ({_first(error)}): give the journal as written.")
        return None
    for kind, name, known in (
        ("workload", study.workload, workload_names()),
        ("recipe", study.recipe, recipe_names()),
        ("hardware profile", study.profile, profile_names()),
    ):
        if name not in known:
            findings.add("unknown-name", where, f"There is no {kind} {quoted(name)} here; known: {', '.join(known)}.")
            return None
    name = study.strategy
    if not name or name != clean(name) or name.startswith((".", "-")) or {"/", "\\"} & set(name):
        findings.add("unsafe-name", where, f"The strategy's name {quoted(name)} could be taken for a path: change it.")
        return None
    if len(name) > LONGEST_NAME:
        findings.add("unsafe-name", where, f"The strategy's name has {len(name)} characters: at most {LONGEST_NAME}.")
        return None
    return study


def _check_size(space: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises ValueError where it would take long to look up a configuration in the space."""
    if len(space) > MAX_DIMENSIONS:
        raise ValueError(f"the space has {len(space)} hyperparameters; {MAX_DIMENSIONS} are allowed")
    points = max((len(values) for dimension in space.values() for values in dimension.values()), default=0)
    if points > MAX_POINTS:
        raise ValueError(f"a hyperparameter has {points} values; {MAX_POINTS} are allowed")


def _first(error: Exception) -> str:
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return f"{type(error).__name__}: {error}"
    detail = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return f"{short('.'.join(map(str, detail['loc'])), 80) or 'it'}: {detail['msg']}"
