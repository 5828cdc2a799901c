"""The fold from events to trials, incumbents and states."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from bench.events import (
    FINAL_TRIAL,
    Event,
    GrantOpened,
    Heartbeat,
    Note,
    RunFinished,
    RunInterrupted,
    RunResumed,
    TrialCreated,
    TrialEnded,
    TrialPaused,
    TrialReconfigured,
    TrialStarted,
    TrialSummarised,
    WorkLost,
)
from bench.trials import RunState, cost_to_target, fold, incumbent_at
from tests.builders import Run, epoch, journal, started, study


def state_of(*events: Event, **changes: Any) -> RunState:
    return fold([started(study(**changes)), *events])


def created(trial: str = "t", lr: float = 1e-5) -> TrialCreated:
    return TrialCreated(at_s=0, trial=trial, config={"learning_rate": lr})


def test_a_run_becomes_rows_in_the_order_of_creation() -> None:
    state = fold(journal([Run(losses=[5.0, 4.0]), Run(losses=[3.0], state="stopped", lr=2e-5), Run(losses=[6.0, 3.5])]))
    assert [(t.number, t.trial, t.state, t.epochs, t.last_loss, t.best_loss) for t in state.trials] == [
        (1, "t0", "completed", 2, 4.0, 4.0),
        (2, "t1", "stopped", 1, 3.0, None),
        (3, "t2", "completed", 2, 3.5, 3.5),
        (0, FINAL_TRIAL, "completed", 1, 2.0, None),
    ]
    first = state.trials[0]
    assert first.runtime_s == 23.0
    assert first.busy_s["startup"] == 3.0
    assert first.busy_device_min == pytest.approx(23 / 60)
    assert [(p.epoch, p.eval_loss, p.at_s) for p in first.curve] == [(1, 5.0, 14.0), (2, 4.0, 24.0)]
    assert state.status == "finished"
    assert state.search_finished


def test_a_lower_fidelity_never_wins() -> None:
    state = fold(journal([Run(losses=[5.0, 4.0]), Run(losses=[1.0], state="stopped")]))
    assert state.winner is not None
    assert state.winner.trial == "t0"
    assert [s.eval_loss for s in state.trace] == [4.0]


def test_the_trace_is_a_step_function_of_cost() -> None:
    # Trial 1 ends at 24 s, trial 2 (no better) at 48 s, trial 3 at 72 s; each is busy for 23 s of its 24.
    state = fold(journal([Run(losses=[5.0, 4.0]), Run(losses=[5.0, 4.0]), Run(losses=[6.0, 3.5])]))
    assert [s.trial for s in state.trace] == ["t0", "t2"]
    assert [s.allocated_device_min for s in state.trace] == pytest.approx([24 / 60, 72 / 60])
    assert [s.busy_device_min for s in state.trace] == pytest.approx([23 / 60, 69 / 60])
    assert incumbent_at(state.trace, 0.39, "allocated") is None
    assert incumbent_at(state.trace, 1.19, "allocated") == state.trace[0]
    assert incumbent_at(state.trace, 1.15, "busy") == state.trace[1]
    assert cost_to_target(state.trace, 4.0, "allocated") == pytest.approx(0.4)
    assert cost_to_target(state.trace, 3.9, "busy") == pytest.approx(1.15)
    assert cost_to_target(state.trace, 3.4, "allocated") == math.inf


def test_without_grants_the_allocated_clock_never_reaches_a_target() -> None:
    state = state_of(
        created(), TrialSummarised(at_s=0, trial="t", eval_loss=3.0, runtime_s=60, devices=2, epochs=2), epochs=2
    )
    assert cost_to_target(state.trace, 3.0, "allocated") == math.inf
    assert cost_to_target(state.trace, 3.0, "busy") == 2.0


def test_a_loss_that_is_not_finite_is_a_state() -> None:
    state = fold(journal([Run(losses=[5.0, None], state="nan")]))
    trial = state.trials[0]
    assert (trial.state, trial.last_loss, trial.best_loss) == ("nan", None, None)
    assert state.winner is None


def test_states_of_a_trial_that_has_not_ended() -> None:
    state = RunState()
    seen: list[str] = []
    for event in (
        started(),
        created(),
        TrialStarted(at_s=1, trial="t", epoch=0, devices=1),
        epoch("t", 1, 3.0, 11),
        TrialPaused(at_s=11, trial="t", epoch=1),
        TrialStarted(at_s=12, trial="t", epoch=1, devices=1),
        WorkLost(at_s=14, trial="t", busy_s=2, devices=1, reason="killed"),
        TrialStarted(at_s=15, trial="t", epoch=1, devices=1),
        RunResumed(at_s=20, provenance={}),
        TrialStarted(at_s=21, trial="t", epoch=1, devices=1),
        TrialEnded(at_s=22, trial="t", state="stopped"),
    ):
        state.apply(event)
        if trial := state.get("t"):
            seen.append(trial.state)
            assert trial.ended == (trial.state == "stopped")
    assert seen == [
        "waiting", "running", "running", "paused", "running", "lost", "running", "lost", "running", "stopped",
    ]  # fmt: skip
    trial = state.trials[0]
    assert (trial.lost_s, trial.runtime_s) == (2.0, 12.0)
    assert state.get("t9") is None


def test_pbt_keeps_its_history_and_the_configuration_that_won() -> None:
    state = state_of(
        created("a", 1e-5),
        created("b", 2e-5),
        TrialStarted(at_s=0, trial="a", epoch=0, devices=1),
        epoch("a", 1, 4.0, 10),
        TrialReconfigured(at_s=10, trial="a", donor="b", donor_epoch=1, config={"learning_rate": 3e-5}),
        epoch("a", 2, 3.0, 20),
        TrialReconfigured(at_s=20, trial="a", donor="b", donor_epoch=2, config={"learning_rate": 9e-5}),
        epochs=2,
    )
    trial = state.trials[0]
    assert trial.config == {"learning_rate": 9e-5}
    assert trial.best_config == {"learning_rate": 3e-5}
    assert [(c.epoch, c.donor, c.previous["learning_rate"]) for c in trial.history] == [(1, "b", 1e-5), (2, "b", 3e-5)]


def test_a_trial_that_dies_before_its_next_epoch_has_taken_over_once() -> None:
    taken = TrialReconfigured(at_s=10, trial="a", donor="b", donor_epoch=1, config={"learning_rate": 3e-5})
    again: list[Event] = [
        TrialStarted(at_s=10, trial="a", epoch=1, devices=1),
        WorkLost(at_s=12, trial="a", busy_s=2.0, devices=1, reason="its worker process died"),
        replace(taken, at_s=13),
        TrialStarted(at_s=13, trial="a", epoch=1, devices=1),
    ]
    begun = (created("a", 1e-5), created("b", 2e-5), TrialStarted(at_s=0, trial="a", epoch=0, devices=1))
    trial = state_of(*begun, epoch("a", 1, 4.0, 10), taken, *again, epoch("a", 2, 3.0, 20), epochs=2).trials[0]
    assert [(c.at_s, c.previous["learning_rate"]) for c in trial.history] == [(10, 1e-5)]
    assert trial.config == {"learning_rate": 3e-5}


def test_summarised_trials() -> None:
    state = state_of(
        *[created(t) for t in "abc"],
        TrialSummarised(at_s=0, trial="a", eval_loss=9.0, runtime_s=60, devices=2),
        TrialSummarised(at_s=0, trial="b", eval_loss=8.0, runtime_s=60, devices=2, epochs=1),
        TrialSummarised(at_s=0, trial="c", eval_loss=9.5, runtime_s=60, devices=2, epochs=2),
        epochs=2,
    )
    assert [(t.state, t.epochs, t.busy_device_min, t.devices) for t in state.trials] == [
        ("summarised", 0, 2.0, 2),
        ("stopped", 1, 2.0, 2),
        ("completed", 2, 2.0, 2),
    ]
    assert state.winner is not None
    assert state.winner.trial == "c"


def test_statuses_and_notes_of_a_run() -> None:
    note = Note(at_s=0, level="warning", message="cold")
    state = state_of(note, Heartbeat(at_s=1), RunInterrupted(at_s=2, reason="Ctrl-C"))
    assert (state.status, state.interrupted, state.notes, state.ended_s) == ("interrupted", "Ctrl-C", [note], 2)
    state.apply(RunResumed(at_s=3, provenance={}))
    assert (state.status, state.interrupted, len(state.resumed)) == ("running", None, 1)
    state.apply(RunFinished(at_s=4))
    assert state.status == "finished"


def test_a_final_retrain_that_was_not_created_has_the_winners_configuration() -> None:
    events = journal([Run(losses=[5.0, 4.0])])
    kept = [e for e in events if not (isinstance(e, TrialCreated) and e.trial == FINAL_TRIAL)]
    assert fold(kept).trials[-1].config == Run(losses=[]).config


def test_live_and_afterwards_agree() -> None:
    events = journal([Run(losses=[5.0, 4.0]), Run(losses=[6.0, 3.5])])
    live = RunState()
    for event in events:
        live.apply(event)
        _ = live.trials, live.winner
    assert live.trials == fold(events).trials
    assert live.trace == fold(events).trace


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([Heartbeat(at_s=0)], "event 1 .heartbeat.: a journal begins with run_started"),
        ([started(), started()], "holds it once"),
        ([started(), created(), created()], "created twice"),
        ([started(), TrialPaused(at_s=0, trial="t", epoch=1)], "never created"),
        ([started(), GrantOpened(at_s=-1, grant="g", devices=1, purpose="search")], "goes back"),
    ],
)
def test_contradictions_name_the_event(events: list[Event], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fold(events)
