"""One journal out of those of trials that were trained apart."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from bench.cluster.gather import gather, merged, unfinished
from bench.errors import UserError
from bench.events import (
    EpochFinished,
    Event,
    GrantClosed,
    GrantOpened,
    Heartbeat,
    RunInterrupted,
    RunResumed,
    RunStarted,
    SearchFinished,
    TrialCreated,
    TrialStarted,
    WorkLost,
)
from bench.journal import JOURNAL_NAME, encode, read_journal
from bench.run import trial_folder
from bench.trials import fold
from tests.builders import study
from tests.cluster.watched import write_trial

ARRAY = study("random", samples=3, engine="array")


def trial_events(folder: Path, number: int) -> list[Event]:
    return read_journal(trial_folder(folder, number) / JOURNAL_NAME)


def put(folder: Path, number: int, events: list[Event]) -> None:
    text = "".join(f"{encode(event)}\n" for event in events)
    (trial_folder(folder, number) / JOURNAL_NAME).write_text(text, encoding="utf-8")


@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3))))
def test_the_order_in_which_tasks_end_does_not_matter(tmp_path: Path, order: tuple[int, ...]) -> None:
    for number in order:
        write_trial(tmp_path, ARRAY, number)
    gather(tmp_path, ARRAY)
    events = read_journal(tmp_path / JOURNAL_NAME)
    state = fold(events)
    assert [trial.trial for trial in state.trials] == ["0001", "0002", "0003"]
    assert [trial.last_loss for trial in state.trials] == [1.1, 1.2, 1.3]
    assert state.winner is not None
    assert state.winner.trial == "0001"
    assert isinstance(events[-1], SearchFinished)
    assert state.status == "running", "its final job goes on with it"
    costs = state.ledger.costs("search")
    one = fold(trial_events(tmp_path, 1)).ledger.costs("search")
    assert costs.complete
    assert costs.allocated_device_min == pytest.approx(3 * (one.allocated_device_min or 0.0))
    assert costs.busy_device_min == pytest.approx(3 * one.busy_device_min)
    assert len({event.grant for event in events if isinstance(event, GrantOpened)}) == 3


def test_nothing_is_gathered_before_all_have_ended(tmp_path: Path) -> None:
    assert merged(tmp_path) == []
    assert unfinished(tmp_path, ARRAY) == [1, 2, 3]
    write_trial(tmp_path, ARRAY, 3)
    write_trial(tmp_path, ARRAY, 1, done=False)
    assert unfinished(tmp_path, ARRAY) == [1, 2]
    with pytest.raises(UserError, match=r"2 of 3 trials have no result yet \(1, 2\): sweepmark resume"):
        gather(tmp_path, ARRAY)
    assert not (tmp_path / JOURNAL_NAME).exists()
    state = fold(merged(tmp_path))
    assert {trial.trial: trial.epochs for trial in state.trials} == {"0001": 1, "0003": 2}
    assert not state.ledger.costs("search").complete


def test_what_was_gathered_stays_as_it_is(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        write_trial(tmp_path, ARRAY, number)
    gather(tmp_path, ARRAY)
    before = (tmp_path / JOURNAL_NAME).read_bytes()
    put(tmp_path, 2, trial_events(tmp_path, 2)[:-1])
    gather(tmp_path, ARRAY)
    assert (tmp_path / JOURNAL_NAME).read_bytes() == before


def test_a_killed_task_is_charged_until_its_last_sign_of_life(tmp_path: Path) -> None:
    for number in (1, 2):
        write_trial(tmp_path, ARRAY, number)
    write_trial(tmp_path, ARRAY, 3, done=False)
    killed = trial_events(tmp_path, 3)
    (grant,) = [event for event in killed if isinstance(event, GrantOpened)]
    last_s = killed[-1].at_s
    assert isinstance(killed[-1], Heartbeat)
    done = [*killed]
    done.append(WorkLost(at_s=last_s, trial="0003", busy_s=1.0, devices=1, reason="killed"))
    done.append(RunResumed(at_s=last_s + 60, provenance={}))
    done.append(GrantOpened(at_s=last_s + 62, grant="search-2", devices=1, purpose="search", held_since_s=last_s + 55))
    done.append(TrialStarted(at_s=last_s + 62, trial="0003", epoch=1, devices=1))
    (epoch,) = [event for event in killed if isinstance(event, EpochFinished)]
    whole = trial_events(tmp_path, 2)
    later = [event for event in whole if isinstance(event, EpochFinished)][1]
    rest = whole[whole.index(later) :]
    for event in rest:
        fields = {**event.__dict__, "at_s": last_s + 80}
        if "trial" in fields:
            fields["trial"] = "0003"
        if isinstance(event, GrantClosed):
            fields["grant"] = "search-2"
        done.append(type(event)(**fields))
    put(tmp_path, 3, done)
    events = merged(tmp_path)
    closed = [e for e in events if isinstance(e, GrantClosed) and e.grant == f"0003-{grant.grant}"]
    assert [event.closed_s for event in closed] == [last_s]
    state = fold(events)
    alone = fold(done).ledger.costs("search")
    others = [fold(trial_events(tmp_path, number)).ledger.costs("search") for number in (1, 2)]
    assert state.ledger.costs("search").allocated_device_min == pytest.approx(
        sum(cost.allocated_device_min or 0.0 for cost in (alone, *others))
    )
    found = state.get("0003")
    assert found is not None
    assert found.lost_s == 1.0
    assert epoch.trial == "0003"


def test_a_run_of_trials_has_one_beginning_and_no_end(tmp_path: Path) -> None:
    write_trial(tmp_path, ARRAY, 1)
    put(tmp_path, 1, [*trial_events(tmp_path, 1)[:-1], RunInterrupted(at_s=2e9, reason="a signal")])
    write_trial(tmp_path, ARRAY, 2)
    events = merged(tmp_path)
    kinds = [event.kind for event in events]
    assert kinds.count("run_started") == 1
    assert isinstance(events[0], RunStarted)
    assert not {"run_finished", "run_interrupted", "run_resumed", "search_finished"} & set(kinds)
    assert [event.trial for event in events[1:3] if isinstance(event, TrialCreated)] == ["0001", "0002"]
    times = [event.at_s for event in events]
    assert times == sorted(times)
