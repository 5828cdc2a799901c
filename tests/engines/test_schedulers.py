"""HyperBand's brackets and PBT's generations always end, under Ray Tune's own controller too, where Ray's own
schedulers wait for ever."""

from __future__ import annotations

from random import Random

import pytest
from ray.tune.schedulers import HyperBandScheduler, PopulationBasedTraining, TrialScheduler

from bench.curve_model import CurveModel
from bench.events import TrialEnded, TrialReconfigured
from bench.schedulers import HyperBand, Population
from bench.strategy import OBJECTIVE, TIME_ATTRIBUTE, Strategy
from tests.engines.oracle import ray_decides
from tests.engines.simulated import CLOCKWORK, MODEL, copied_by, halved_by, simulated, virtual_study

TIES = (CLOCKWORK, 0.0)
"""Every epoch of every trial takes as long: many a trial is being saved as its bracket ends."""
DEATHS = (MODEL, 0.2)
"""One epoch in five ends with its process dead."""


def status(strategy: Strategy, seed: int, model: CurveModel, failure_rate: float, *, quick: bool) -> str:
    rng = Random(seed)
    of = virtual_study(
        strategy, nodes=rng.randint(1, 3), slots=rng.randint(1, 3), samples=rng.randint(1, 30),
        epochs=rng.randint(1, 9), seed=seed, failure_rate=failure_rate,
    )  # fmt: skip
    _, state = simulated(of, strategy, model=model, quick=quick)
    assert state.status == "interrupted" or all(trial.ended for trial in state.trials)
    return state.status


@pytest.mark.parametrize(
    ("strategy", "model", "failure_rate"),
    [(halved_by(HyperBand), *TIES), (halved_by(HyperBand), *DEATHS), (copied_by(Population), *DEATHS)],
    ids=["halved-ties", "halved-deaths", "copied-deaths"],
)
def test_a_search_ends(strategy: Strategy, model: CurveModel, failure_rate: float) -> None:
    """A hundred searches of many shapes, in virtual time and by Ray's controller."""
    for seed in range(100):
        assert status(strategy, seed, model, failure_rate, quick=True) == "finished", seed
        with ray_decides():
            assert status(strategy, seed, model, failure_rate, quick=False) == "finished", seed


@pytest.mark.parametrize(
    ("strategy", "model", "failure_rate", "stalled"),
    [
        (halved_by(HyperBandScheduler), *TIES, 75),
        (halved_by(HyperBandScheduler), *DEATHS, 35),
        (copied_by(PopulationBasedTraining), *DEATHS, 58),
    ],
    ids=["halved-ties", "halved-deaths", "copied-deaths"],
)
def test_rays_own_waits_for_ever(strategy: Strategy, model: CurveModel, failure_rate: float, stalled: int) -> None:
    """The counts stand in docs/strategies.md. At none, `bench.schedulers` has nothing left to do."""
    with ray_decides():
        found = [status(strategy, seed, model, failure_rate, quick=False) for seed in range(100)]
    assert (found.count("interrupted"), found.count("finished")) == (stalled, 100 - stalled)


@pytest.mark.parametrize(
    ("mended", "stock"),
    [
        (halved_by(HyperBand), halved_by(HyperBandScheduler)),
        (copied_by(Population), copied_by(PopulationBasedTraining)),
    ],
    ids=["halved", "copied"],
)
def test_without_ties_and_failures_both_decide_alike(mended: Strategy, stock: Strategy) -> None:
    """What is mended changes no decision where Ray's own scheduler comes to an end."""
    same = 0
    for seed in range(40):
        of = virtual_study(mended, slots=1 + seed % 4, samples=4 + seed % 20, epochs=1 + seed % 9, seed=seed)
        told, state = simulated(of, stock)
        if state.status == "finished":
            assert simulated(of, mended)[0] == told
            same += 1
    assert same > 30


def test_a_population_goes_on_without_its_dead() -> None:
    """Those that are left copy from each other, and are trained to the end."""
    strategy = copied_by(Population)
    lost = taken_over = 0
    for seed in range(10):
        of = virtual_study(strategy, slots=2, samples=8, epochs=6, seed=seed, failure_rate=0.3)
        events, state = simulated(of, strategy)
        dead = [t.trial for t in state.trials if t.state == "failed"]
        assert {t.epochs for t in state.trials if t.trial not in dead} <= {6}
        first = next((e.at_s for e in events if isinstance(e, TrialEnded) and e.state == "failed"), None)
        lost += len(dead)
        taken_over += first is not None and any(isinstance(e, TrialReconfigured) and e.at_s > first for e in events)
    assert lost > 5
    assert taken_over > 3


class Waiting:
    """As much of a paused trial as schedulers look at."""

    is_saving = False

    def __init__(self, number: int) -> None:
        self.trial_id = str(number)
        self.status = "PAUSED"


class Controller:
    """Notes which trials it is told to stop."""

    def __init__(self, samples: int) -> None:
        self.stopped: list[Waiting] = []
        self.trials = [Waiting(number) for number in range(samples)]
        self.scheduler = HyperBand(time_attr=TIME_ATTRIBUTE, metric=OBJECTIVE, mode="min", max_t=9)
        for trial in self.trials:
            self.scheduler.on_trial_add(self, trial)

    def stop_trial(self, trial: Waiting) -> None:
        self.stopped.append(trial)
        trial.status = "TERMINATED"
        self.scheduler.on_trial_remove(self, trial)

    def report(self, trial: Waiting, epochs: int, loss: float) -> str:
        decision: str = self.scheduler.on_trial_result(self, trial, {TIME_ATTRIBUTE: epochs, OBJECTIVE: loss})
        return decision


def test_a_trial_that_is_still_saving_ends_with_its_bracket() -> None:
    """Its checkpoint may take longer than that of the trial that ended the bracket."""
    controller = Controller(3)
    waiting, saving, last = controller.trials
    saving.status, saving.is_saving = "RUNNING", True
    assert controller.report(waiting, 9, 1.0) == "PAUSE"
    assert controller.report(saving, 9, 2.0) == "PAUSE"
    last.status = "RUNNING"
    assert controller.report(last, 9, 3.0) == TrialScheduler.STOP
    assert controller.stopped == [waiting, saving]


def test_a_trial_told_to_stop_is_not_told_otherwise_by_a_later_halving() -> None:
    """Trials that another process took up may be past two milestones at once; the one that reports is the worst."""
    controller = Controller(17)
    *others, last = controller.trials[8:]  # nine trials, for one epoch at first
    for rank, trial in enumerate(others):
        assert controller.report(trial, 9, float(rank)) == "PAUSE"
    last.status = "RUNNING"
    assert controller.report(last, 9, 99.0) == TrialScheduler.STOP
    assert set(controller.stopped) == set(others)
