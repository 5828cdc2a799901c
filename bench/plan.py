"""What a study will need, before a device is held: what fits, brackets and rungs, costs, and a schedule.

All comes from the study's own objects: Ray's scheduler lays out the rungs, runs in virtual time under several seeds
give the costs, and the schedule is that of the seed whose cost is the median.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

from bench.brackets import Layout, layout
from bench.capacity import Capacity, Demand
from bench.events import Event
from bench.gantt import Schedule, print_schedule, schedule
from bench.profile import Node, Profile
from bench.report.model import Report
from bench.report.wording import count
from bench.run import plan_study
from bench.shapes import Arrangement, Assumptions, compare_shapes, shapes_table
from bench.simulate import simulate_run
from bench.simulate_head import facts, head, load_validation
from bench.simulate_many import Outcome
from bench.strategy import Strategy, load_strategy
from bench.study import Study
from bench.tables import Cell, Column, Missing, Table
from bench.trials import RunState

if TYPE_CHECKING:
    from rich.console import Console

    from bench.curve_model import CurveModel

SHARE = 0.95
"""Share of the simulated seeds that an interval holds, and that must stay within a budget for trials to fit."""

MOST_SAMPLES = 1024
"""Trials up to which a budget is tried."""

TOLERANCE = 0.05
"""To within this share the number of trials is found that fits a budget."""

Simulate = Callable[[Sequence[Study]], Sequence[Outcome]]
"""The outcomes of studies, in their order."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`schedule`: of the seed whose cost is the median. `arrangements`: shapes of work, where they were asked for."""

    report: Report
    schedule: Schedule
    arrangements: tuple[Arrangement, ...] = ()

    @property
    def shapes(self) -> tuple[Schedule, ...]:
        """The schedules of the shapes of work."""
        return tuple(arrangement.schedule() for arrangement in self.arrangements)

    def to_terminal(self, console: Console) -> None:
        """Print the report, then the schedule, then those of the shapes on one time axis."""
        self.report.to_terminal(console)
        console.print()
        print_schedule(self.schedule, console)
        shapes = self.shapes
        until_s = max((shape.end_s for shape in shapes), default=0.0)
        for shape in shapes:
            console.print()
            print_schedule(shape, console, until_s=until_s)

    def to_json(self) -> str:
        """The report with the schedules' bars. Ends with a newline."""
        data = self.report.to_dict() | {
            "schedule": self.schedule.to_dict(),
            "shapes": [shape.to_dict() for shape in self.shapes],
        }
        return json.dumps(data, allow_nan=False, ensure_ascii=False, indent=2) + "\n"


def make_plan(
    studies: Sequence[Study],
    profile: Profile,
    model: CurveModel,
    simulate: Simulate,
    *,
    budget_device_min: float | None = None,
    assumed: Assumptions | None = None,
) -> Plan:
    """The plan of one study under several seeds. `budget_device_min`: what may be allocated (None: no matter).
    `assumed`: compares shapes of work under these assumptions (None: not at all). Raises UserError where a study cannot
    be simulated."""
    study = studies[0]
    strategy = load_strategy(study.strategy_file or study.strategy)
    outcomes = simulate(studies)
    middle = _median_seed(outcomes)
    state, events = _watched(studies[middle], strategy, profile, model)
    rungs = layout(plan_study(study, strategy), samples=study.samples, epochs=study.epochs)
    arrangements = () if assumed is None else compare_shapes(evaluation_seconds(study, profile, model), assumed)
    tables = [
        capacity_of(study, profile).table(),
        rungs.table(),
        _reached_table(rungs, state),
        _costs_table(outcomes, profile.unit),
    ]
    if budget_device_min is not None:
        tables.append(_budget_table(studies, strategy, outcomes, budget_device_min, simulate, profile.unit))
    if assumed is not None:
        tables.append(shapes_table(arrangements, assumed, profile.unit))
    report = Report(
        title=f"Plan of {strategy.name} on profile {profile.name}, from {count(len(studies), 'simulated seed')}",
        tables=tuple(tables),
        warnings=tuple(_warnings(outcomes, study, strategy)),
        comparison=(),
        csv_table="expected",
        head=head(
            model.curve_set,
            {strategy.name: study},
            [s.seed for s in studies],
            load_validation(model.curve_set.name),
            [strategy.name] if strategy.copies else [],
            profile.unit,
        ),
        facts=facts(model.curve_set, {strategy.name: study}, [s.seed for s in studies]),
    )
    title = f"Schedule of seed {studies[middle].seed}, whose cost is the median"
    return Plan(report=report, schedule=schedule(events, title), arrangements=arrangements)


def capacity_of(study: Study, profile: Profile) -> Capacity:
    """The guide's symbols for a study's simulated cluster: one worker a device where the CPUs can be shared so."""
    simulation = study.simulation
    if simulation is None:
        raise ValueError(f"the study of {study.strategy} says nothing of a simulation; give it one")
    workers = study.devices_per_trial if simulation.trial_cpus % study.devices_per_trial == 0 else 1
    system = profile.node.system_cpus
    return Capacity(
        node=Node(devices=simulation.node_devices, cpus=simulation.node_cpus + system, system_cpus=system),
        nodes=simulation.nodes,
        demand=Demand(
            workers=workers,
            worker_cpus=simulation.trial_cpus // workers,
            worker_devices=study.devices_per_trial // workers,
        ),
        trials=study.samples,
    )


def evaluation_seconds(study: Study, profile: Profile, model: CurveModel) -> list[float]:
    """Seconds of work, start-up left out, of each trial that random search would train to the last epoch."""
    assert study.simulation is not None
    quiet = replace(study.simulation, failure_rate=0.0, node_losses=(), time_budget_s=None)
    control = replace(study, strategy="random", strategy_file=None, settings={}, final_epochs=0, simulation=quiet)
    state = simulate_run(control, load_strategy("random"), profile, model)
    return [sum(trial.busy_s[phase] for phase in ("train", "eval", "checkpoint")) for trial in state.trials]


@dataclass(frozen=True, slots=True)
class Fitting:
    """`most` trials stay within a budget (0: not even one does), `too_many` do not (None: none was found)."""

    most: int
    too_many: int | None


def samples_that_fit(
    studies: Sequence[Study], outcomes: Sequence[Outcome], budget_device_min: float, simulate: Simulate
) -> Fitting:
    """With how many trials, up to `MOST_SAMPLES`, 95 % of the seeds allocate no more than the budget, to within 5 %.
    `outcomes`: of the studies as they are. Costs are taken to rise with the number of trials, about in proportion."""
    samples, found = studies[0].samples, outcomes
    limit = max(MOST_SAMPLES, samples)
    most, too_many, failed = 0, limit + 1, False
    while True:
        usual = median(o.allocated_device_min for o in found)
        proportional = int(samples * budget_device_min / usual) if usual else limit
        if fits(found, budget_device_min):
            most, failed_twice, failed = max(most, samples), False, False
        else:
            too_many, failed_twice, failed = min(too_many, samples), failed, True
        if too_many - most <= max(1, most * TOLERANCE):
            return Fitting(most, too_many if too_many <= limit else None)
        least = most + max(1, int(most * TOLERANCE))
        halved = failed_twice or proportional >= too_many  # waves of trials: cost is not in proportion here
        samples = (most + too_many) // 2 if halved else max(proportional, least)
        found = simulate([replace(study, samples=samples) for study in studies])


def fits(outcomes: Sequence[Outcome], budget_device_min: float) -> bool:
    """Whether 95 % of the runs or more allocated no more than the budget."""
    return _within(outcomes, budget_device_min) >= SHARE * len(outcomes)


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """The median, and the ends of the interval that holds the middle 95 % of the values; both ends are values."""
    ordered = sorted(values)
    last = len(ordered) - 1
    tail = (1 - SHARE) / 2
    return median(ordered), ordered[math.floor(tail * last)], ordered[math.ceil((1 - tail) * last)]


def _median_seed(outcomes: Sequence[Outcome]) -> int:
    """The index of the run whose cost is the (lower) median."""
    by_cost = sorted(range(len(outcomes)), key=lambda i: (outcomes[i].allocated_device_min, i))
    return by_cost[(len(by_cost) - 1) // 2]


def _watched(study: Study, strategy: Strategy, profile: Profile, model: CurveModel) -> tuple[RunState, list[Event]]:
    events: list[Event] = []
    state = simulate_run(study, strategy, profile, model, observers=(lambda event, _: events.append(event),))
    return state, events


def _reached_table(rungs: Layout, state: RunState) -> Table:
    trained = [trial.epochs for trial in state.trials if trial.purpose == "search"]
    rows: list[tuple[Cell, ...]] = [
        (epochs, rungs.reaching(epochs), sum(t >= epochs for t in trained)) for epochs in rungs.rung_epochs
    ]
    return Table(
        name="reached",
        title="Trials that train so many epochs",
        columns=(
            Column(key="epochs", header="epochs"),
            Column(key="by_settings", header="by the settings", spec=".3g"),
            Column(key="median_seed", header="in the median seed"),
        ),
        rows=tuple(rows),
    )


def _costs_table(outcomes: Sequence[Outcome], unit: str) -> Table:
    quantities: list[tuple[str, str, str, list[float]]] = [
        ("allocated", "allocated", f"{unit}-min", [o.allocated_device_min for o in outcomes]),
        ("busy", "busy", f"{unit}-min", [o.busy_device_min for o in outcomes]),
        ("wall", "wall time, queue left out", "min", [o.wall_s / 60 for o in outcomes]),
        ("loss", "loss of the winner", "nats", [o.best_loss for o in outcomes]),
        ("stopped", "trials stopped early", "", [float(o.stopped) for o in outcomes]),
    ]
    if any(o.suggestions for o in outcomes):
        of = max(o.suggestions for o in outcomes)
        quantities.append(
            ("model_based", f"suggestions by the model, of {of}", "", [float(o.model_based) for o in outcomes])
        )
    return Table(
        name="expected",
        title="What to expect",
        columns=(
            Column(key="key", header="key", align="left", data_only=True),
            Column(key="quantity", header="quantity", align="left"),
            Column(key="unit", header="unit", align="left"),
            Column(key="median", header="median", spec=".5g"),
            Column(key="low", header="from", spec=".5g"),
            Column(key="high", header="to", spec=".5g"),
        ),
        rows=tuple((key, what, of, *map(_finite, spread(values))) for key, what, of, values in quantities),
        notes=(
            f"From, to: the middle 95 % of {count(len(outcomes), 'simulated seed')}; a seed's own value, so what one "
            "run may cost, not how well the median is known.",
        ),
    )


def _finite(value: float) -> Cell:
    return value if math.isfinite(value) else Missing("no winner")


def _within(outcomes: Sequence[Outcome], budget_device_min: float) -> int:
    return sum(o.allocated_device_min <= budget_device_min for o in outcomes)


def _budget_table(
    studies: Sequence[Study],
    strategy: Strategy,
    outcomes: Sequence[Outcome],
    budget_device_min: float,
    simulate: Simulate,
    unit: str,
) -> Table:
    """Whether a budget suffices, and for how many trials it would."""
    fitting = None if strategy.serial else samples_that_fit(studies, outcomes, budget_device_min, simulate)
    seeds = count(len(outcomes), "seed")
    notes = []
    if fitting is not None and not fitting.most:
        notes.append(
            f"Not even one trial fits in 95 % of the seeds: {count(studies[0].devices, 'device')} are billed until the "
            "last trial ends. Give a larger budget, or fewer --devices or --epochs."
        )
    elif fitting is not None:
        beyond = f", {fitting.too_many} do not" if fitting.too_many else ""
        notes.append(f"{count(fitting.most, 'trial')} fit in 95 % of the seeds (--samples {fitting.most}){beyond}.")
    return Table(
        name="budget",
        title=f"The budget {'suffices' if fits(outcomes, budget_device_min) else 'does not suffice'}",
        columns=(
            Column(key="budget_device_min", header="budget", unit=f"{unit}-min", spec=".5g"),
            Column(key="samples", header="trials planned"),
            Column(key="within", header=f"within it, of {seeds}"),
            Column(key="samples_that_fit", header="trials that fit"),
            Column(key="samples_too_many", header="that do not"),
        ),
        rows=(
            (
                budget_device_min,
                studies[0].samples,
                _within(outcomes, budget_device_min),
                None if fitting is None else fitting.most,
                None if fitting is None else fitting.too_many,
            ),
        ),
        notes=tuple(notes),
    )


def _warnings(outcomes: Sequence[Outcome], study: Study, strategy: Strategy) -> list[str]:
    found = []
    stalled = [o for o in outcomes if o.stalled]
    if stalled:
        found.append(f"{len(stalled)} of {count(len(outcomes), 'seed')} did not end: {stalled[0].stalled}")
    if strategy.serial:
        found.append(f"{strategy.name} runs one trial after the other, however many would fit.")
    if any(o.suggestions for o in outcomes) and not median(o.model_based for o in outcomes):
        found.append(
            f"With {count(study.samples, 'trial')} no suggestion comes from the model: {study.strategy} is then its "
            "scheduler over random search."
        )
    losers = sum(math.isinf(o.best_loss) for o in outcomes)
    if losers:
        found.append(f"In {losers} of {count(len(outcomes), 'seed')} no trial got to full fidelity: no winner.")
    return found
