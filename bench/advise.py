"""Advice: which strategy with which settings, chosen by simulation on some curves and seeds, told from others."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from bench.advise_candidates import Candidate
from bench.curve_model import CurveModel
from bench.curves import CurveSet, load_curve_set, write_metadata, write_table
from bench.errors import UserError
from bench.report.wording import listed, significant
from bench.seeds import child_seed
from bench.simulate_many import Outcome
from bench.simulate_scores import MANUAL, RANDOM
from bench.simulate_targets import target_loss
from bench.statistics import expected_running_cost
from bench.study import Study
from bench.trials import cost_to_target, incumbent_at

if TYPE_CHECKING:
    from bench.profile import Profile

REDUCTION = 3
"""One candidate in so many goes on to the next rung, which has so many times the seeds."""
RUNGS = 3
HELD_OUT_SHARE = 3
"""One recorded seed in so many is held out, one at least."""
OTHERS = 3
"""Candidates of other strategies that are shown beside the advice."""

Simulate = Callable[[Sequence[Study], str], Sequence[Outcome]]
"""Outcomes of studies, in their order, on the curve set of a name or folder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ground:
    """Curves that are simulated on. `curves`: the name or folder that they are read from. `said`: what they are."""

    curve_set: CurveSet
    curves: str
    said: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Goal:
    """What is wanted: the lowest loss within `budget_device_min` allocated, or the least ERT to `target_loss`; with
    neither, to the loss that the manual grid's winner has in re-runs (theta_1)."""

    budget_device_min: float | None = None
    target_loss: float | None = None

    def __post_init__(self) -> None:
        if self.budget_device_min is not None and self.target_loss is not None:
            raise UserError("A budget and a target cannot both be had: give one of --budget and --target.")

    def value(self, outcomes: Sequence[Outcome], target: float) -> float:
        """The objective, to be minimised: the median loss within the budget in nats, or ERT in device-minutes."""
        if self.budget_device_min is not None:
            return median(losses_within(outcomes, self.budget_device_min))
        return expected_cost(outcomes, target)

    def rank(self, outcomes: Sequence[Outcome], target: float) -> tuple[float, float, float]:
        """What candidates are ordered by: the objective, where it is infinite the median loss, and then the median
        cost of the whole search."""
        value = self.value(outcomes, target)
        loss = median(o.best_loss for o in outcomes) if math.isinf(value) else 0.0
        return value, loss, median(o.allocated_device_min for o in outcomes)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rung:
    """So many candidates were tried under so many seeds, counted from the first."""

    candidates: int
    seeds: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """A candidate that reached the last rung, with its outcomes there."""

    candidate: Candidate
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """What is told of one way to search, from seeds that had no part in the choice."""

    role: str
    candidate: Candidate
    study: Study
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Advice:
    """`choice`: what is advised. `choosing`, `reporting`: the curves of both parts. `choosing_seeds`,
    `reporting_seeds`: disjoint. `choosing_target`: theta_1 or the target, on the curves of the choice. `grid_target`:
    theta_1 on those of the report. `rows`: manual, random and the advice first. `again`: the advice and manual under
    the report's seeds on the curves of the choice (None: they are the report's)."""

    goal: Goal
    profile: Profile
    choosing: Ground
    reporting: Ground
    choosing_seeds: range
    reporting_seeds: range
    rungs: tuple[Rung, ...]
    choice: Choice
    choosing_target: float
    grid_target: float
    rows: tuple[Row, ...]
    again: tuple[Outcome, ...] | None

    @property
    def target(self) -> float:
        """The loss that costs are told for, on the report's curves."""
        return self.grid_target if self.goal.target_loss is None else self.goal.target_loss

    def row(self, role: str) -> Row:
        """The first row of a role."""
        return next(row for row in self.rows if row.role == role)


REFERENCE, ADVISED, AS_IT_COMES, OTHER = "reference", "advised", "defaults", "other"


def expected_cost(outcomes: Sequence[Outcome], target: float) -> float:
    """ERT in allocated device-minutes, a run's budget being what it had spent when it ended."""
    return expected_running_cost(costs_to(outcomes, target), [o.allocated_device_min for o in outcomes])


def costs_to(outcomes: Sequence[Outcome], target: float) -> list[float]:
    """Allocated device-minutes to a loss, seed by seed; infinite where it was not reached."""
    return [cost_to_target(o.trace, target, "allocated") for o in outcomes]


def losses_within(outcomes: Sequence[Outcome], budget_device_min: float) -> list[float]:
    """The incumbents' losses when so much is allocated, seed by seed; infinite where there is none yet."""
    found = [incumbent_at(o.trace, budget_device_min, "allocated") for o in outcomes]
    return [math.inf if step is None else step.eval_loss for step in found]


def seed_ranges(seed: int, choosing: int, reporting: int) -> tuple[range, range]:
    """Seeds to choose by and, none of them shared, seeds to report."""
    first, second = (child_seed(seed, f"advise: {part}") for part in ("choosing", "reporting"))
    chosen = range(first, first + choosing)
    if second < chosen.stop and first < second + reporting:
        second = chosen.stop
    return chosen, range(second, second + reporting)


def grounds(
    curves: str, *, folder: Path, hold_out: bool | None = None, report_curves: str | None = None
) -> tuple[Ground, Ground]:
    """The curves to choose on and to report on; those of a part of a set's seeds are written to `folder`.

    `hold_out`: whether some recorded seeds are kept from the choice (None: where there are several and no
    `report_curves`, a set that is reported on instead). Raises UserError where that cannot be.
    """
    whole = _whole(curves)
    own = whole.curve_set
    if report_curves is not None:
        if hold_out:
            raise UserError("With other curves all is held out: give one of --hold-out and --report-curves.")
        other = _whole(report_curves)
        if other.curve_set.workload != own.workload or other.curve_set.table_sha256 == own.table_sha256:
            raise UserError(
                f"Curve set {other.curve_set.name} of workload {other.curve_set.workload} cannot check advice from "
                f"{own.name}: give --report-curves another set of workload {own.workload}."
            )
        return whole, other
    if hold_out and len(own.seeds) < 2:
        raise UserError(
            f"Curve set {own.name} holds one seed, so none can be held out: leave --hold-out out, or record more seeds."
        )
    if hold_out is False or len(own.seeds) < 2:
        return whole, whole
    held = max(1, len(own.seeds) // HELD_OUT_SHARE)
    return _part(own, own.seeds[:-held], folder / "choosing"), _part(own, own.seeds[-held:], folder / "reporting")


def _whole(curves: str) -> Ground:
    curve_set = load_curve_set(curves)
    return Ground(curve_set=curve_set, curves=curves, said=f"all of {curve_set.name}")


def _part(curve_set: CurveSet, seeds: tuple[int, ...], folder: Path) -> Ground:
    """The curves of these seeds. One seed shows no noise: it gets that of the whole set."""
    noise = curve_set.noise_log_loss
    if noise is None and len(seeds) == 1:
        noise = CurveModel(curve_set).noise_log_loss
    kept = tuple(c for c in curve_set.curves if c.seed in seeds)
    part = replace(curve_set, seeds=seeds, curves=kept, noise_log_loss=noise)
    write_metadata(folder, part)
    write_table(folder, part)
    which = f"seed{'s' if len(seeds) > 1 else ''} {listed([str(s) for s in seeds])} of {curve_set.name}"
    return Ground(curve_set=part, curves=str(folder), said=f"recorded {which}")


def rung_seeds(seeds: int) -> list[int]:
    """Seeds of each rung, the last of which has all."""
    return sorted({math.ceil(seeds / REDUCTION**k) for k in range(RUNGS)})


def runs_at_most(tried: Sequence[Candidate], seeds: int, report_seeds: int) -> int:
    """How many runs `advise` simulates, or a few less."""
    strategies = len({c.strategy for c in tried})
    runs, number, done = seeds, len(tried), 0
    for upto in rung_seeds(seeds):
        runs += number * (upto - done)
        number, done = min(number, math.ceil(number / REDUCTION) + strategies - 1), upto
    return runs + report_seeds * (4 + OTHERS + 2)


def advise(
    tried: Sequence[Candidate],
    goal: Goal,
    profile: Profile,
    choosing: Ground,
    reporting: Ground,
    simulate: Simulate,
    *,
    epochs: int | None = None,
    seeds: int = 40,
    report_seeds: int = 200,
    seed: int = 0,
) -> Advice:
    """Choose the best of the candidates by successive halving over seeds, then simulate it afresh beside the manual
    grid, random search, its strategy's defaults and the best of other strategies.

    Raises UserError where no candidate reaches the target, or ends a trial within the budget.
    """
    chosen_by, told_by = seed_ranges(seed, seeds, report_seeds)
    manual = Candidate(strategy=MANUAL)

    def run(who: Sequence[Candidate], ground: Ground, under: range) -> list[tuple[Outcome, ...]]:
        studies = [candidate.study(ground.curve_set, profile, epochs=epochs) for candidate in who]
        flat = simulate([replace(one, seed=number) for one in studies for number in under], ground.curves)
        return [tuple(flat[i : i + len(under)]) for i in range(0, len(flat), len(under))]

    grid = manual.study(choosing.curve_set, profile, epochs=epochs)
    target = goal.target_loss
    if target is None:
        target = target_loss(run([manual], choosing, chosen_by)[0], CurveModel(choosing.curve_set), epochs=grid.epochs)
    ranked, rungs = _halve(tried, goal, target, chosen_by, lambda who, under: run(who, choosing, under))
    best = ranked[0]
    _check_reached(goal, target, ranked)

    roles = [(REFERENCE, manual), (REFERENCE, Candidate(strategy=RANDOM)), (ADVISED, best.candidate)]
    roles.append((AS_IT_COMES, Candidate(strategy=best.candidate.strategy)))
    roles += [(OTHER, choice.candidate) for choice in _best_of_others(ranked)[:OTHERS]]
    studies = {c: c.study(reporting.curve_set, profile, epochs=grid.epochs) for _, c in roles}
    rows: list[Row] = []
    told = run(list(studies), reporting, told_by)
    outcomes = dict(zip(studies, told, strict=True))
    for role, candidate in roles:
        if role != AS_IT_COMES or studies[candidate] not in [row.study for row in rows]:
            rows.append(Row(role=role, candidate=candidate, study=studies[candidate], outcomes=outcomes[candidate]))
    theta = target_loss(rows[0].outcomes, CurveModel(reporting.curve_set), epochs=grid.epochs)
    return Advice(
        goal=goal,
        profile=profile,
        choosing=choosing,
        reporting=reporting,
        choosing_seeds=chosen_by,
        reporting_seeds=told_by,
        rungs=tuple(rungs),
        choice=best,
        choosing_target=target,
        grid_target=theta,
        rows=tuple(rows),
        again=None if choosing == reporting else run([best.candidate], choosing, told_by)[0],
    )


def _halve(
    tried: Sequence[Candidate],
    goal: Goal,
    target: float,
    seeds: range,
    run: Callable[[Sequence[Candidate], range], list[tuple[Outcome, ...]]],
) -> tuple[list[Choice], list[Rung]]:
    """Those that reached the last rung, best first. All are compared under the same seeds; a rung keeps one in
    `REDUCTION` and the best of each strategy."""
    alive = {candidate: Choice(candidate=candidate, outcomes=()) for candidate in tried}
    ranked: list[Choice] = []
    rungs: list[Rung] = []
    done = 0
    for upto in rung_seeds(len(seeds)):
        if ranked:
            kept = ranked[: math.ceil(len(ranked) / REDUCTION)]
            kept += [c for c in _best_of_each(ranked) if c not in kept]
            alive = {choice.candidate: choice for choice in kept}
        more = run(list(alive), seeds[done:upto])
        ranked = sorted(
            (replace(old, outcomes=old.outcomes + new) for old, new in zip(alive.values(), more, strict=True)),
            key=lambda choice: goal.rank(choice.outcomes, target),
        )
        rungs.append(Rung(candidates=len(ranked), seeds=upto))
        done = upto
    return ranked, rungs


def _best_of_each(ranked: Sequence[Choice]) -> list[Choice]:
    """The best of each strategy, in their order."""
    best: dict[str, Choice] = {}
    for choice in ranked:
        best.setdefault(choice.candidate.strategy, choice)
    return list(best.values())


def _best_of_others(ranked: Sequence[Choice]) -> list[Choice]:
    return _best_of_each(ranked)[1:]


def _check_reached(goal: Goal, target: float, ranked: Sequence[Choice]) -> None:
    best = ranked[0]
    if math.isfinite(goal.value(best.outcomes, target)):
        return
    runs = [o for choice in ranked for o in choice.outcomes]
    if goal.budget_device_min is not None:
        first = min((o.trace[0].allocated_device_min or math.inf for o in runs if o.trace), default=math.inf)
        raise UserError(
            f"With a budget of {goal.budget_device_min:g} device-minutes no candidate ends a trial in half of its "
            f"searches: give a --budget above {significant(first)}, which the quickest needs."
        )
    lowest = min(o.best_loss for o in runs)
    raise UserError(
        f"No candidate reaches a loss of {target:g} under any of {len(best.outcomes)} seeds: give a higher --target; "
        f"the lowest loss was {lowest:.4f}."
    )
