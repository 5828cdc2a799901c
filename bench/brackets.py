"""Brackets, rungs and generations that a strategy will run, as Ray Tune's own scheduler lays them out.

Nothing is computed again here: a scheduler is built as a run builds it, given stand-in trials, and asked. Its private
members are read for that; `tests/test_brackets.py` fails where another version of Ray names them otherwise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bench.strategy import GridPlan, TunePlan
from bench.tables import Cell, Column, Table

DRAWS = 1000
"""Stand-in trials from which the shares of several ASHA brackets are counted."""


@dataclass(frozen=True, slots=True)
class Rung:
    """`trials` train until they have `epochs` epochs. `then`: what the scheduler does with them at that point."""

    epochs: int
    trials: float
    then: str


@dataclass(frozen=True, slots=True)
class Bracket:
    """Rungs of rising epochs. `count`: so many brackets are alike; a rung's trials are those of one."""

    rungs: tuple[Rung, ...]
    count: int = 1

    def reaching(self, epochs: int) -> float:
        """Trials of all such brackets that train `epochs` epochs or more."""
        return self.count * next((rung.trials for rung in self.rungs if rung.epochs >= epochs), 0.0)


@dataclass(frozen=True, slots=True)
class Layout:
    """What the scheduler will do with the trials of a study. `epochs`: of a trial at full fidelity. `exact`: the counts
    follow from the settings alone, if no trial fails; otherwise they are what the settings aim at."""

    brackets: tuple[Bracket, ...]
    epochs: int
    exact: bool
    notes: tuple[str, ...] = ()

    @property
    def rung_epochs(self) -> tuple[int, ...]:
        """Every number of epochs at which something is decided or ends."""
        return tuple(sorted({rung.epochs for bracket in self.brackets for rung in bracket.rungs}))

    def reaching(self, epochs: int) -> float:
        """Trials that train `epochs` epochs or more."""
        return sum(bracket.reaching(epochs) for bracket in self.brackets)

    def table(self) -> Table:
        """One row for each rung of each kind of bracket."""
        rows: list[tuple[Cell, ...]] = [
            (letter, bracket.count, number, rung.epochs, rung.trials, rung.then)
            for letter, bracket in zip(_letters(), self.brackets, strict=False)
            for number, rung in enumerate(bracket.rungs, 1)
        ]
        notes = list(self.notes)
        if not self.exact:
            notes.append("Decided as results come in: the trials are those that the settings aim at.")
        return Table(
            name="rungs",
            title="Brackets and rungs",
            columns=(
                Column(key="bracket", header="bracket", align="left"),
                Column(key="brackets", header="such brackets"),
                Column(key="rung", header="rung"),
                Column(key="epochs", header="epochs"),
                Column(key="trials", header="trials, in each", spec="g" if self.exact else ".3g"),
                Column(key="then", header="then", align="left"),
            ),
            rows=tuple(rows),
            notes=tuple(notes),
            identity=1,
        )


def layout(plan: GridPlan | TunePlan, *, samples: int, epochs: int) -> Layout:
    """The brackets for `samples` trials of `epochs` epochs at most. Uses the plan up: its scheduler is given stand-ins,
    so no run can be made from it any more."""
    if isinstance(plan, GridPlan):
        return _straight(len(plan.configs), epochs)
    from ray.tune.schedulers import (
        AsyncHyperBandScheduler,
        FIFOScheduler,
        HyperBandScheduler,
        PopulationBasedTraining,
    )

    scheduler = plan.scheduler
    match scheduler:
        case AsyncHyperBandScheduler():
            return _asynchronous(scheduler, samples, epochs)
        case HyperBandScheduler():
            return _halving(scheduler, samples, epochs)
        case PopulationBasedTraining():
            return _generations(scheduler, samples, epochs)
        case _ if type(scheduler) is FIFOScheduler:
            return _straight(samples, epochs)
    note = f"{type(scheduler).__name__} lays out no brackets beforehand: these are the trials if it stops none."
    return Layout(_straight(samples, epochs).brackets, epochs, False, (note,))


def _straight(trials: int, epochs: int) -> Layout:
    return Layout((Bracket((Rung(epochs, trials, "all end"),)),), epochs, True)


class _StandIn:
    """Stands for a trial: schedulers want an id, an identity and a status."""

    status = "PENDING"

    def __init__(self, number: int) -> None:
        self.trial_id = str(number)

    def is_finished(self) -> bool:
        return False


def _halving(scheduler: Any, samples: int, epochs: int) -> Layout:
    """HyperBand and HyperBandForBOHB: trials fill the brackets in order, then each is halved to its end."""
    for number in range(samples):
        scheduler.on_trial_add(None, _StandIn(number))
    found = [_play(bracket, scheduler) for band in scheduler._hyperbands for bracket in band if bracket is not None]
    brackets = tuple(Bracket(rungs, count) for rungs, count in Counter(found).items())
    ends = sorted({b.rungs[-1].epochs for b in brackets if b.rungs[-1].epochs < epochs})
    notes = [
        f"A bracket that ends at {end} of {epochs} epochs never gets to full fidelity: its trials cannot win."
        for end in ends
    ]
    return Layout(brackets, epochs, True, tuple(notes))


def _play(bracket: Any, scheduler: Any) -> tuple[Rung, ...]:
    rungs: list[Rung] = []
    while True:
        trials = bracket.current_trials()
        epochs = int(bracket._cumul_r)
        for rank, trial in enumerate(trials):
            bracket.update_trial_stats(trial, {scheduler._time_attr: epochs, scheduler._metric: float(rank)})
        if not bracket._halves:
            return (*rungs, Rung(epochs, len(trials), "all end"))
        good, bad = bracket.successive_halving(scheduler._metric, scheduler._metric_op)
        for trial in bad:
            bracket.cleanup_trial(trial)
        rungs.append(Rung(epochs, len(trials), f"keeps {len(good)} of {len(trials)}"))


def _asynchronous(scheduler: Any, samples: int, epochs: int) -> Layout:
    """ASHA: at each rung one in `reduction_factor` of the trials that got there goes on."""
    brackets = []
    for bracket, share in zip(scheduler._brackets, _shares(scheduler), strict=True):
        trials = samples * share
        rungs: list[Rung] = []
        for milestone, _ in reversed(bracket._rungs):
            if milestone < epochs:
                rungs.append(Rung(int(-(-milestone // 1)), trials, f"1 in {bracket.rf:g} goes on"))
                trials /= bracket.rf
        brackets.append(Bracket((*rungs, Rung(epochs, trials, "all end"))))
    return Layout(tuple(brackets), epochs, False)


def _shares(scheduler: Any) -> list[float]:
    """The share of trials that each bracket gets; Ray draws the bracket from numpy's global generator."""
    from bench.engines.ray_adjust import seeded_decisions

    if len(scheduler._brackets) == 1:
        return [1.0]
    stand_ins = [_StandIn(number) for number in range(DRAWS)]
    with seeded_decisions(0):
        for stand_in in stand_ins:
            scheduler.on_trial_add(None, stand_in)
    drawn = Counter(id(scheduler._trial_info[stand_in.trial_id]) for stand_in in stand_ins)
    return [drawn[id(bracket)] / DRAWS for bracket in scheduler._brackets]


def _generations(scheduler: Any, samples: int, epochs: int) -> Layout:
    """PBT: all trials to the end; after each interval the worst quantile copies from the best."""
    from types import SimpleNamespace

    for number in range(samples):
        scheduler._trial_state[_StandIn(number)] = SimpleNamespace(last_score=float(number))
    worst, _ = scheduler._quantiles()
    interval = int(scheduler._perturbation_interval)
    rungs = [Rung(end, samples, f"{len(worst)} of {samples} copy") for end in range(interval, epochs, interval)]
    note = "Each rung is a generation: its trials wait for the slowest, the worst copy from the best, and all go on."
    return Layout((Bracket((*rungs, Rung(epochs, samples, "all end"))),), epochs, True, (note,))


def _letters() -> Iterator[str]:
    """A, B, ... Z, AA, AB, ..."""
    from itertools import count, product
    from string import ascii_uppercase

    for length in count(1):
        yield from map("".join, product(ascii_uppercase, repeat=length))
