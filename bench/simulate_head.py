"""What stands above every simulated number: from which curves, how wrong their model is, and how the simulation
compared to real runs."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from bench.curves import CurveSet, Kind, ModelError
from bench.errors import UserError
from bench.report.wording import count, listed
from bench.resources import resource_dir
from bench.study import Study

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """Simulated against real runs of one strategy, medians over the runs.

    `runs`: real ones. `replayed`: those of which a replay made the same decisions throughout. `rank_correlation`:
    Spearman's, of the trials' last losses (None: no run has two different ones). `same_configs`, `same_last_epochs`:
    share of trials that have them. `cost_error_median`, `busy_error_median`: absolute relative error of what the search
    allocated and kept busy. `loss_error_median`: absolute, of the best loss at full fidelity, in nats (None: no run has
    one). `approximate`: trials take over weights, which recorded curves cannot replay.
    """

    runs: int
    replayed: int
    rank_correlation: float | None
    same_configs: float
    same_last_epochs: float
    cost_error_median: float
    busy_error_median: float
    loss_error_median: float | None
    approximate: bool

    __pydantic_config__: ClassVar = {"extra": "forbid"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Validation:
    """How the simulation on a curve set compared to real runs, by strategy. `table_sha256`: of the curves then."""

    table_sha256: str | None = None
    strategies: Mapping[str, Agreement] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """What simulated numbers rest on; see `CurveSet`."""

    curves: str
    kind: Kind
    summary: str
    profile: str
    table_sha256: str | None
    error: ModelError | None
    limits: tuple[str, ...]

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    @classmethod
    def of(cls, curve_set: CurveSet) -> Origin:
        return cls(
            curves=curve_set.name,
            kind=curve_set.kind,
            summary=curve_set.summary,
            profile=curve_set.profile,
            table_sha256=curve_set.table_sha256,
            error=curve_set.error,
            limits=curve_set.limits,
        )

    @classmethod
    def read(cls, plain: Any) -> Origin:
        """From plain data, as in a record's provenance. Raises ValueError where it is malformed."""
        from pydantic import TypeAdapter

        return TypeAdapter(cls).validate_python(plain)


def load_validation(curves: str, folder: Path | None = None) -> Validation:
    """What `sweepmark validate-simulation` wrote of a curve set; without strategies where it has written nothing.
    `folder`: of the files (None: this installation's). Raises UserError where the file is malformed."""
    from pydantic import TypeAdapter, ValidationError

    path = (folder or resource_dir("results/validation")) / f"{curves}.json"
    if not path.is_file():
        return Validation()
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["schema_version"] != SCHEMA_VERSION or data["curves"] != curves:
            raise ValueError(f"it is not of schema {SCHEMA_VERSION} or not of the curve set {curves}")
        known = {name: data[name] for name in ("table_sha256", "strategies")}
        return TypeAdapter(Validation).validate_python(known)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}: make it again.") from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path} holds no validation ({error}): make it again.") from None


def head(
    curve_set: CurveSet,
    studies: Mapping[str, Study],
    seeds: Sequence[int],
    validation: Validation,
    approximate: Sequence[str],
    unit: str,
) -> tuple[str, ...]:
    """The lines above a simulated comparison. `studies`: one of each strategy. `approximate`: those of which recorded
    curves cannot replay a trial. `unit`: what costs are counted in, as `GPU`."""
    origin = Origin.of(curve_set)
    return (
        *rests_on(origin, {s.profile for s in studies.values()}),
        _conditions(studies, seeds, unit),
        *cluster(studies.values()),
        *trusted(origin, list(studies), {s.profile for s in studies.values()}, approximate, validation),
    )


def facts(curve_set: CurveSet, studies: Mapping[str, Study], seeds: Sequence[int]) -> dict[str, Any]:
    """The same for machines."""
    any_study = next(iter(studies.values()))
    origin = asdict(Origin.of(curve_set))
    return {
        "simulated": origin,
        "profile": any_study.profile,
        "slots": max(s.slots for s in studies.values()),
        "samples": {name: s.samples for name, s in studies.items()},
        "epochs": any_study.epochs,
        "seeds": {"first": seeds[0], "count": len(seeds)},
    }


def rests_on(origin: Origin, profiles: Collection[str]) -> tuple[str, ...]:
    """From which curves, how wrong the model between their points is, and their limits. `profiles`: simulated ones."""
    others = sorted(set(profiles) - {origin.profile})
    return (
        f"Simulated, from the {origin.kind} curves {origin.curves}: {origin.summary.rstrip('.')}.",
        _model_error(origin.error),
        *(f"Limit: {limit}" for limit in origin.limits),
        *(
            f"Limit: the seconds of an epoch are those of profile {origin.profile}; on {name} they are an assumption."
            for name in others
        ),
    )


def trusted(
    origin: Origin,
    strategies: Sequence[str],
    profiles: Collection[str],
    approximate: Sequence[str],
    validation: Validation,
) -> tuple[str, ...]:
    """What is approximate, and how the simulation compared to real runs."""
    others = sorted(set(profiles) - {origin.profile})
    return (
        *_approximate(approximate),
        f"Not validated against real runs on profile {listed(others)}."
        if others
        else _validated(origin, strategies, validation),
    )


def _model_error(error: ModelError | None) -> str:
    if error is None:
        return "How far the model between the curves' points is from real training is not known."
    return (
        f"The model between their points, each of {error.points} points left out in turn: loss wrong by "
        f"{error.loss_median:.4f} in the median ({error.loss_q90:.4f} at the 90 % quantile), rank correlation "
        f"{error.loss_rank_correlation:.2f}, seconds wrong by {error.seconds_median_relative:.1%} in the median."
    )


def _conditions(studies: Mapping[str, Study], seeds: Sequence[int], unit: str) -> str:
    any_study = next(iter(studies.values()))
    slots = max(s.slots for s in studies.values())
    samples = max(s.samples for s in studies.values())
    span = f"seeds {seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else f"seed {seeds[0]}"
    core = " (a device is one CPU core: these are no GPU-minutes)" if unit == "device" else ""
    return (
        f"Profile {any_study.profile}: {count(slots, 'slot')}, the manual grid one trial after the other; "
        f"{span}; at most {count(samples, 'trial')} of {count(any_study.epochs, 'epoch')}; costs are {unit}-minutes "
        f"allocated{core}."
    )


def cluster(studies: Iterable[Study]) -> list[str]:
    """How the simulated cluster differs from one undisturbed node, where it does; the same for all of them."""
    found = next((s.simulation for s in studies), None)
    if found is None:
        return []
    said = []
    if found.nodes > 1:
        said.append(f"{found.nodes} nodes of {count(found.node_devices, 'device')}")
    if found.speed != 1:
        said.append(f"epochs {found.speed:g} times as fast as recorded")
    if found.failure_rate:
        said.append(f"{found.failure_rate:.2%} of epochs end with a dead process")
    if found.node_losses:
        said += [
            f"node {loss.node} is lost at {loss.at_s:g} s "
            + ("for good" if loss.away_s is None else f"for {loss.away_s:g} s")
            for loss in found.node_losses
        ]
    if found.time_budget_s is not None:
        said.append(f"searches end after {found.time_budget_s:g} s")
    if found.queue_wait_s:
        said.append(f"{found.queue_wait_s:g} s in the queue before, which is not charged")
    return [f"The simulated cluster: {'; '.join(said)}."] if said else []


def _approximate(strategies: Sequence[str]) -> list[str]:
    if not strategies:
        return []
    return [
        f"Approximate: {listed(list(strategies))}. Recorded curves cannot replay a trial that goes on with another's "
        "weights: the trial is taken to go on from the donor's loss, which then changes by its own curve's ratios."
    ]


def _validated(origin: Origin, strategies: Sequence[str], validation: Validation) -> str:
    known = {name: found for name in strategies if (found := validation.strategies.get(name)) is not None}
    others = [name for name in strategies if name not in known]
    if not known:
        return f"Not validated against real runs on {origin.curves}."
    said = [f"Against real runs, medians: {'; '.join(f'{name} {_agreement(of)}' for name, of in known.items())}."]
    if others:
        said.append(f"Not validated against real runs: {listed(others)}.")
    if validation.table_sha256 != origin.table_sha256:
        said.append(
            f"That was with another table of {origin.curves} than these numbers rest on: compare again with "
            "`sweepmark validate-simulation`."
        )
    return " ".join(said)


def _agreement(of: Agreement) -> str:
    rank = "none" if of.rank_correlation is None else f"{of.rank_correlation:.2f}"
    loss = "" if of.loss_error_median is None else f", best loss by {of.loss_error_median:.3f}"
    return (
        f"({count(of.runs, 'run')}, {of.replayed} replayed with the same decisions): rank correlation {rank}, cost "
        f"wrong by {of.cost_error_median:.1%}{loss}"
    )
