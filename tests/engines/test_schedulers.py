"""HyperBand's brackets always end, under Ray Tune's own controller too, where Ray's own scheduler waits for ever."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from ray.tune.schedulers import HyperBandScheduler, TrialScheduler
from ray.tune.search import BasicVariantGenerator

from bench.curve_model import CurveModel
from bench.schedulers import HyperBand
from bench.strategy import OBJECTIVE, TIME_ATTRIBUTE, Request, Strategy, TunePlan
from tests.engines.oracle import ray_decides
from tests.engines.simulated import CLOCKWORK, MODEL, simulated, tune_strategy, virtual_study

TIES = (CLOCKWORK, 0.0)
"""Every epoch of every trial takes as long: many a trial is being saved as its bracket ends."""
DEATHS = (MODEL, 0.2)
"""One epoch in five ends with its process dead."""


def halved_by(scheduler: type[HyperBandScheduler]) -> Strategy:
    def build(request: Request) -> TunePlan:
        budget: dict[str, Any] = {"time_attr": TIME_ATTRIBUTE, "metric": OBJECTIVE, "mode": "min"}
        return TunePlan(
            BasicVariantGenerator(random_state=request.seed),
            scheduler(**budget, max_t=request.epochs, stop_last_trials=True),
            request.space.tune(),
            stops_at_epochs=False,
        )

    return tune_strategy("halved", build)


def status(strategy: Strategy, seed: int, model: CurveModel, failure_rate: float, *, quick: bool) -> str:
    rng = Random(seed)
    of = virtual_study(
        strategy, nodes=rng.randint(1, 3), slots=rng.randint(1, 3), samples=rng.randint(1, 30),
        epochs=rng.randint(1, 9), seed=seed, failure_rate=failure_rate,
    )  # fmt: skip
    _, state = simulated(of, strategy, model=model, quick=quick)
    unended = [t.trial for t in state.trials if not t.ended]
    assert bool(unended) == (state.status == "interrupted")
    return state.status


@pytest.mark.parametrize(("model", "failure_rate"), [TIES, DEATHS], ids=["ties", "deaths"])
def test_a_search_by_hyperband_ends(model: CurveModel, failure_rate: float) -> None:
    """A hundred searches of many shapes, in virtual time and by Ray's controller."""
    strategy = halved_by(HyperBand)
    for seed in range(100):
        assert status(strategy, seed, model, failure_rate, quick=True) == "finished", seed
        with ray_decides():
            assert status(strategy, seed, model, failure_rate, quick=False) == "finished", seed


@pytest.mark.parametrize(("model", "failure_rate"), [TIES, DEATHS], ids=["ties", "deaths"])
def test_rays_own_hyperband_waits_for_ever(model: CurveModel, failure_rate: float) -> None:
    """Once this fails, Ray's scheduler ends by itself, and `bench.schedulers` has nothing left to do."""
    strategy = halved_by(HyperBandScheduler)
    with ray_decides():
        found = {status(strategy, seed, model, failure_rate, quick=False) for seed in range(20)}
    assert found == {"finished", "interrupted"}


def test_without_ties_and_failures_both_decide_alike() -> None:
    """What is mended changes no decision where Ray's own scheduler comes to an end."""
    same = 0
    for seed in range(40):
        of = virtual_study(
            halved_by(HyperBand), slots=1 + seed % 4, samples=4 + seed % 20, epochs=1 + seed % 9, seed=seed
        )
        mended, _ = simulated(of, halved_by(HyperBand))
        stock, state = simulated(of, halved_by(HyperBandScheduler))
        if state.status == "finished":
            assert mended == stock
            same += 1
    assert same > 30


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
