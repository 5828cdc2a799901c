"""The virtual engine by itself: what it costs, what befalls it, and that it is the same everywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn, TypeVar
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray.tune.schedulers import PopulationBasedTraining

from bench.events import (
    EpochFinished,
    Event,
    GrantClosed,
    GrantOpened,
    Phases,
    RunInterrupted,
    SearchFinished,
    TrialCreated,
    TrialEnded,
    TrialReconfigured,
    TrialStarted,
    WorkLost,
)
from bench.seeds import child_seed
from bench.study import NodeLoss
from tests.engines.simulated import CLOCKWORK, MODEL, copied_by, profile, simulated, virtual_study

ROOT = Path(__file__).parents[2]
STRATEGIES = ("random", "tpe", "asha", "asha-tpe", "hyperband", "bohb", "pbt", "manual")
COSTLY = profile(
    worker_startup_s=100.0, trial_startup_s=10.0, restore_s=7.0, scheduler_latency_s=0.5, engine_startup_s=3.0
)
E = TypeVar("E", bound=Event)


def of_kind(events: Sequence[Event], kind: type[E]) -> list[E]:
    return [event for event in events if isinstance(event, kind)]


def ends(events: Sequence[Event]) -> dict[str, tuple[str, str]]:
    return {e.trial: (e.state, e.detail) for e in of_kind(events, TrialEnded)}


# The same everywhere

DIGEST = """
import hashlib, sys
from bench.journal import encode
from tests.engines.simulated import profile, simulated, virtual_study
digest = hashlib.sha256()
for strategy in sys.argv[1:]:
    of = virtual_study(strategy, nodes=2, slots=2, samples=14, epochs=9, final_epochs=2, failure_rate=0.05)
    for event in simulated(of, on=profile(trial_startup_s=1.0, scheduler_latency_s=0.02))[0]:
        digest.update(encode(event).encode())
print(digest.hexdigest(), "torch" in sys.modules)
"""


def _beyond_baseline() -> str:
    """What this machine's CPU has that numpy would use where it finds it."""
    core: Any = import_module("numpy._core._multiarray_umath")
    return " ".join(name for name in core.__cpu_dispatch__ if core.__cpu_features__[name])


@pytest.mark.slow
def test_one_seed_writes_the_same_bytes_in_any_process_and_loads_no_torch() -> None:
    environments = ({"PYTHONHASHSEED": "1"}, {"PYTHONHASHSEED": "2", "NPY_DISABLE_CPU_FEATURES": _beyond_baseline()})
    told = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", DIGEST, *STRATEGIES],
            cwd=ROOT, env=os.environ | environment, check=True, capture_output=True, text=True,
        ).stdout
        for environment in environments
    }  # fmt: skip
    assert len(told) == 1
    assert told.pop().split()[1] == "False"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_clock_is_read_and_nothing_is_started(strategy: str) -> None:
    import datetime
    import threading
    import time

    of = virtual_study(strategy, slots=2, samples=8, epochs=4, failure_rate=0.05)
    expected = simulated(of)  # everything is imported now

    class NoDatetime(datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> NoReturn:
            raise AssertionError("the clock was read")

        utcnow = today = now

    never = mock.Mock(side_effect=AssertionError("the clock was read, or something was started"))
    clocks = (
        "time",
        "monotonic",
        "perf_counter",
        "process_time",
        "sleep",
        "time_ns",
        "monotonic_ns",
        "perf_counter_ns",
    )
    with (
        mock.patch.multiple(time, **dict.fromkeys(clocks, never)),
        mock.patch.multiple(os, fork=never, posix_spawn=never, system=never),
        mock.patch.object(subprocess, "Popen", never),
        mock.patch.object(threading.Thread, "start", never),
        _datetime_replaced(datetime.datetime, NoDatetime),
    ):
        found = simulated(of)
    assert found[0] == expected[0]


class _datetime_replaced:  # noqa: N801
    """Puts another class in the place of `datetime` wherever it was imported by name, but in Optuna, which notes when
    its trials began and does nothing with it."""

    def __init__(self, before: type, after: type) -> None:
        self._before, self._after = before, after
        self._modules = [
            module
            for name, module in list(sys.modules.items())
            if module.__dict__.get("datetime") is before and not name.startswith("optuna.")
        ]

    def __enter__(self) -> None:
        for module in self._modules:
            vars(module)["datetime"] = self._after

    def __exit__(self, *reason: object) -> None:
        for module in self._modules:
            vars(module)["datetime"] = self._before


# What it costs


def test_two_trials_by_hand() -> None:
    of = virtual_study("random", samples=2, epochs=2, queue_wait_s=50.0)
    events, state = simulated(of, on=COSTLY, model=CLOCKWORK)
    assert [(e.at_s, e.trial) for e in of_kind(events, TrialStarted)] == [(53.0, "0001"), (184.0, "0002")]
    epoch = Phases(train_s=8.0, eval_s=1.0, checkpoint_s=1.0)
    assert [(e.at_s, e.trial, e.phases) for e in of_kind(events, EpochFinished)] == [
        (173.5, "0001", replace(epoch, startup_s=110.0)),  # a new process, its imports, and the trial's own start
        (184.0, "0001", epoch),  # 0.5 s for the decision before
        (204.5, "0002", replace(epoch, startup_s=10.0)),  # in the same process
        (215.0, "0002", epoch),
    ]
    assert [(e.at_s, e.devices) for e in of_kind(events, GrantOpened)] == [(50.0, 1)]
    assert [e.at_s for e in of_kind(events, GrantClosed)] == [215.0]
    costs = state.ledger.costs("search")
    assert [costs.allocated_device_min, costs.busy_device_min] == pytest.approx([165 / 60, 160 / 60])


def test_a_final_retrain_is_a_grant_of_its_own() -> None:
    of = virtual_study("random", slots=2, samples=2, epochs=1, final_epochs=2, queue_wait_s=50.0)
    events, state = simulated(of, on=COSTLY, model=CLOCKWORK)
    assert [(e.at_s, e.purpose, e.devices) for e in of_kind(events, GrantOpened)] == [
        (50.0, "search", 2),
        (223.5, "final", 1),
    ]
    assert of_kind(events, SearchFinished)[0].at_s == 173.5
    assert events[-1].at_s == 223.5 + 110.0 + 2 * 10.5
    assert state.ledger.costs("final").allocated_device_min == pytest.approx(131 / 60)


def test_a_faster_device_trains_and_evaluates_faster_and_saves_as_before() -> None:
    events, _ = simulated(virtual_study("random", samples=1, epochs=1, speed=2.0), model=CLOCKWORK)
    assert of_kind(events, EpochFinished)[0].phases == Phases(train_s=4.0, eval_s=0.5, checkpoint_s=1.0)


@pytest.mark.parametrize("strategy", ["hyperband", "bohb", "pbt"])
def test_a_resumed_trial_pays_for_its_start_and_for_its_weights(strategy: str) -> None:
    events, _ = simulated(virtual_study(strategy, slots=2, samples=6, epochs=9), on=COSTLY)
    resumed = 0
    started: dict[str, TrialStarted] = {}
    for event in events:
        if isinstance(event, TrialStarted):
            started[event.trial] = event
        elif isinstance(event, EpochFinished):
            start = started.pop(event.trial, None)
            resumed += start is not None and start.epoch > 0
            assert event.phases.restore_s == (7.0 if start and start.epoch else 0.0)
            assert event.phases.startup_s in ((10.0, 110.0) if start else (0.0,))
    assert resumed


# Where trials run


def test_trials_get_places_in_their_order_as_devices_and_cores_allow() -> None:
    """A node of 4 devices and 9 cores holds two trials of 1 device and 4 cores."""
    shape = {"nodes": 2, "node_devices": 4, "node_cpus": 9, "trial_cpus": 4}
    events, _ = simulated(virtual_study("random", samples=7, epochs=1, **shape))
    assert [e.trial for e in of_kind(events, TrialStarted)] == [e.trial for e in of_kind(events, TrialCreated)]
    places: list[str] = []
    running = 0
    for event in events:
        running += isinstance(event, TrialStarted) - isinstance(event, TrialEnded)
        assert running <= 4
        if isinstance(event, EpochFinished):
            places.append(event.worker)
    assert set(places) == {"slot 0", "slot 1", "slot 2", "slot 3"}


def test_a_trial_of_several_devices() -> None:
    of = virtual_study("random", nodes=2, slots=4, samples=6, epochs=1, devices_per_trial=2)
    events, state = simulated(of, model=CLOCKWORK)
    assert [e.at_s for e in of_kind(events, EpochFinished)] == [10.0] * 4 + [20.0] * 2
    costs = state.ledger.costs("search")
    assert [costs.allocated_device_min, costs.busy_device_min] == pytest.approx([160 / 60, 120 / 60])


# What befalls it


@pytest.mark.parametrize("strategy", ["random", "manual", "asha", "bohb"])
def test_a_trial_whose_process_died_goes_on_twice_and_then_failed(strategy: str) -> None:
    of = virtual_study(strategy, slots=1, samples=12, epochs=3, failure_rate=0.4)
    events, state = simulated(of, on=COSTLY)
    lost = Counter(e.trial for e in of_kind(events, WorkLost))
    starts = Counter(e.trial for e in of_kind(events, TrialStarted))
    failed = {trial for trial, (how, _) in ends(events).items() if how == "failed"}
    assert failed == {trial for trial, deaths in lost.items() if deaths == 3}
    assert failed
    assert max(lost.values()) == 3
    assert all(ends(events)[trial] == ("failed", "its worker process died, 3 times") for trial in failed)
    if strategy != "bohb":  # which pauses trials and may end them then
        assert all(starts[trial] == min(3, 1 + deaths) for trial, deaths in lost.items())
    trained: Counter[str] = Counter()
    for event in events:
        if isinstance(event, EpochFinished):
            trained[event.trial] = event.epoch
        elif isinstance(event, TrialStarted):
            assert event.epoch == trained[event.trial]  # from its last checkpoint
    busy_s = sum(e.phases.total_s for e in events if isinstance(e, (EpochFinished, TrialEnded)))
    busy_s += sum(e.busy_s for e in of_kind(events, WorkLost))
    assert state.ledger.costs("search").busy_device_min == pytest.approx(busy_s / 60)


@pytest.mark.parametrize("strategy", ["random", "manual"])
def test_what_a_lost_node_was_doing_is_charged_and_done_again(strategy: str) -> None:
    """The first node goes at 15 s, when its trial is 5 s into its second epoch, and is back at 18 s. The grid holds six
    trials, and no other node."""
    serial = strategy == "manual"
    losses = (NodeLoss(node=0, at_s=15.0, away_s=3.0),)
    of = virtual_study(strategy, nodes=1 if serial else 2, samples=2, epochs=2, node_losses=losses)
    events, state = simulated(of, model=CLOCKWORK)
    assert [(e.at_s, e.trial, e.busy_s, e.reason) for e in of_kind(events, WorkLost)] == [
        (15.0, "0001", 5.0, "its node was lost")
    ]
    again = [e for e in of_kind(events, TrialStarted) if e.trial == "0001"]
    assert [(e.at_s, e.epoch) for e in again] == [(0.0, 0), (18.0, 1)]
    grants = [(e.at_s, e.grant) for e in events if isinstance(e, (GrantOpened, GrantClosed))]
    costs = state.ledger.costs("search")
    if serial:
        assert grants == [(0.0, "search-1"), (15.0, "search-1"), (18.0, "search-2"), (128.0, "search-2")]
        assert costs.allocated_device_min == costs.busy_device_min == pytest.approx((15 + 110) / 60)
    else:
        assert grants == [
            (0.0, "search-1"), (0.0, "search-2"), (15.0, "search-1"), (18.0, "search-3"), (28.0, "search-2"),
            (28.0, "search-3"),
        ]  # fmt: skip
        assert costs.allocated_device_min == pytest.approx((15 + 10 + 28) / 60)
        assert costs.busy_device_min == pytest.approx((15 + 10 + 20) / 60)


def test_a_node_that_is_away_cannot_be_lost_again() -> None:
    losses = (NodeLoss(node=0, at_s=15.0, away_s=100.0), NodeLoss(node=0, at_s=20.0, away_s=1.0))
    events, state = simulated(virtual_study("random", samples=3, epochs=1, node_losses=losses), model=CLOCKWORK)
    assert [e.at_s for e in of_kind(events, EpochFinished)] == [10.0, 125.0, 135.0]
    assert state.ledger.costs("search").allocated_device_min == pytest.approx((15 + 20) / 60)


def test_a_trial_of_a_lost_node_goes_on_elsewhere_from_its_checkpoint() -> None:
    of = virtual_study("random", nodes=2, samples=2, epochs=2, node_losses=(NodeLoss(node=0, at_s=15.0),))
    events, state = simulated(of, model=CLOCKWORK)
    assert [(e.at_s, e.trial, e.epoch, e.worker) for e in of_kind(events, EpochFinished)] == [
        (10.0, "0001", 1, "slot 0"),
        (10.0, "0002", 1, "slot 1"),
        (20.0, "0002", 2, "slot 1"),
        (30.0, "0001", 2, "slot 1"),
    ]
    assert state.ledger.costs("search").allocated_device_min == pytest.approx((15 + 30) / 60)


@pytest.mark.parametrize("strategy", ["random", "manual", "bohb"])
def test_without_any_node_the_search_stalls_and_names_its_trials(strategy: str) -> None:
    of = virtual_study(strategy, samples=2, epochs=2, node_losses=(NodeLoss(node=0, at_s=15.0),))
    events, state = simulated(of, model=CLOCKWORK)
    assert state.status == "interrupted"
    last = events[-1]
    assert isinstance(last, RunInterrupted)
    assert "The search has stalled at 15 s" in last.reason
    assert "0001" in last.reason


@pytest.mark.parametrize("strategy", ["random", "asha", "pbt", "manual"])
def test_a_spent_time_budget_ends_the_search_and_charges_what_was_lost(strategy: str) -> None:
    of = virtual_study(strategy, slots=2, samples=6, epochs=9, time_budget_s=15.0, queue_wait_s=50.0)
    events, state = simulated(of, model=CLOCKWORK)
    assert state.status == "finished"
    assert of_kind(events, SearchFinished)[0].at_s == 65.0
    serial = strategy == "manual"
    lost = of_kind(events, WorkLost)
    assert [(e.busy_s, e.reason) for e in lost] == [(5.0, "the time budget was spent")] * (1 if serial else 2)
    assert set(ends(events).values()) == {("stopped", "the time budget was spent")}
    assert all(trial.ended for trial in state.trials)
    costs = state.ledger.costs("search")
    assert costs.busy_device_min == costs.allocated_device_min == pytest.approx((15 if serial else 30) / 60)


def test_a_search_that_waits_for_ever_is_told_as_stalled() -> None:
    """Where a trial died too often, Ray's own synchronous PBT waits for it."""
    strategy = copied_by(PopulationBasedTraining)
    for seed in range(60):
        of = virtual_study(strategy, slots=2, samples=8, epochs=6, seed=seed, failure_rate=0.2)
        events, state = simulated(of, strategy)
        if state.status == "interrupted":
            break
    last = events[-1]
    assert isinstance(last, RunInterrupted)
    waiting = {trial.trial for trial in state.trials if not trial.ended}
    assert f"{len(waiting)} trials wait for the scheduler to let one go on" in last.reason
    named = {told.split()[0] for told in last.reason.partition(" (")[2].split(", ")}
    assert named <= waiting
    assert len(named) == min(6, len(waiting))
    assert not of_kind(events, SearchFinished)


# A trial that takes over another


def test_a_trial_goes_on_from_its_donors_loss_as_its_new_curve_does() -> None:
    of = virtual_study("pbt", slots=3, samples=8, epochs=6)
    events, _ = simulated(of)
    seed = child_seed(of.seed, "curves")
    losses: dict[tuple[str, int], float] = {}
    taken: dict[str, TrialReconfigured] = {}
    checked = 0
    for event in events:
        if isinstance(event, TrialReconfigured):
            taken[event.trial] = event
        elif isinstance(event, EpochFinished) and event.eval_loss is not None:
            losses[event.trial, event.epoch] = event.eval_loss
            change = taken.pop(event.trial, None)
            if change is not None:
                curve = MODEL.draw(change.config, seed=seed, trial=event.trial).losses
                then, now = curve[change.donor_epoch - 1], curve[change.donor_epoch]
                if then is not None and now is not None:
                    donor_loss = losses[change.donor, change.donor_epoch]
                    assert event.eval_loss == pytest.approx(donor_loss * now / then, abs=2e-6)
                    assert (event.epoch, event.config) == (change.donor_epoch + 1, change.config)
                    checked += 1
    assert checked > 5


def test_a_failed_trial_that_is_resumed_has_ended_all_the_same() -> None:
    """HyperBand pauses and resumes a trial whose loss was not finite; it ends as that, once."""
    found = 0
    for seed in range(20):
        events, state = simulated(virtual_study("hyperband", slots=2, samples=5, epochs=9, seed=seed))
        ended = [e.trial for e in of_kind(events, TrialEnded)]
        assert len(set(ended)) == len(ended)
        assert all(trial.ended for trial in state.trials if trial.trial in ended)
        found += "nan" in {trial.state for trial in state.trials}
    assert found


# Whatever is asked of it


@st.composite
def anything(draw: st.DrawFn) -> dict[str, Any]:
    nodes = draw(st.integers(1, 3))
    losses = st.builds(
        NodeLoss,
        node=st.integers(0, nodes - 1),
        at_s=st.floats(0, 200),
        away_s=st.one_of(st.none(), st.floats(0.1, 100)),
    )
    return {
        "strategy": draw(st.sampled_from(STRATEGIES)),
        "nodes": nodes,
        "slots": draw(st.integers(1, 3)),
        "seed": draw(st.integers(0, 1000)),
        "samples": draw(st.integers(1, 16)),
        "epochs": draw(st.integers(1, 8)),
        "final_epochs": draw(st.sampled_from((0, 2))),
        "failure_rate": draw(st.sampled_from((0.0, 0.05, 0.3))),
        "node_losses": tuple(draw(st.lists(losses, max_size=4))),
        "time_budget_s": draw(st.one_of(st.none(), st.floats(1, 500))),
        "queue_wait_s": draw(st.sampled_from((0.0, 60.0))),
    }


@given(asked=anything())
@settings(max_examples=300, deadline=None)
def test_the_ledger_adds_up(asked: dict[str, Any]) -> None:
    of = virtual_study(asked.pop("strategy"), **asked)
    events, state = simulated(of, on=COSTLY)
    assert all(before.at_s <= after.at_s for before, after in pairwise(events))
    for purpose in ("search", "final"):
        costs = state.ledger.costs(purpose)
        allocated = costs.allocated_device_min or 0.0
        assert costs.busy_device_min <= allocated * (1 + 1e-9) + 1e-9
    searched = [trial for trial in state.trials if trial.purpose == "search"]
    assert all(trial.epochs <= of.epochs for trial in searched)
    assert of.strategy == "manual" or len(searched) <= of.samples
    assert all(
        len([e for e in trial.curve if e.epoch == trial.epochs]) <= 1 or of.strategy == "pbt" for trial in searched
    )
    if state.status == "finished":
        assert all(trial.ended for trial in state.trials)
        _grants_are_closed(events)
    else:
        assert isinstance(events[-1], RunInterrupted)
        assert "stalled" in events[-1].reason


def _grants_are_closed(events: Sequence[Event]) -> None:
    opened = [e.grant for e in of_kind(events, GrantOpened)]
    assert len(set(opened)) == len(opened)
    assert sorted(opened) == sorted(e.grant for e in of_kind(events, GrantClosed))
