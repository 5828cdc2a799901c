"""A search in which nothing happens any more ends, says which trials wait, and can be gone on with."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.experiment import Trial

from bench import run
from bench.engines import raytune
from bench.engines.session import SearchStalled, Session
from bench.events import RunInterrupted
from bench.journal import JOURNAL_NAME, read_journal
from bench.profile import load_profile
from bench.strategy import load_strategy
from tests.builders import study

FACTS = {"model_sha256": "m", "tokenizer_sha256": "t", "data_sha256": "d", "splits": {}, "parameters": 1}


def tune_trial(name: str, status: str) -> Trial:
    """One of Tune's own, in some state."""
    trial = Trial("stub", stub=True, trial_name_creator=lambda _: name)
    trial.status = status
    return trial


def test_the_callback_ends_a_search_in_which_all_trials_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.engines import ray_journal

    session: Any = SimpleNamespace()
    callback = ray_journal.JournalCallback(
        session, gate=None, model_based=None, waiting=lambda: False, discard=lambda trial: None
    )
    waiting = tune_trial("0002", "PAUSED")
    callback.on_step_end(1, [tune_trial("0001", "TERMINATED"), waiting])
    monkeypatch.setattr(ray_journal, "STALL_S", -1.0)
    with pytest.raises(SearchStalled, match=r"\(0002 is paused\)$") as caught:
        callback.on_step_end(2, [tune_trial("0001", "TERMINATED"), waiting])
    assert callback.ended_by is caught.value


def test_a_search_that_waits_for_devices_has_not_stalled() -> None:
    from bench.engines import ray_journal

    session: Any = SimpleNamespace()
    callback = ray_journal.JournalCallback(
        session, gate=None, model_based=None, waiting=lambda: True, discard=lambda trial: None
    )
    callback._progress_s -= 10 * ray_journal.STALL_S
    callback.on_step_end(1, [tune_trial("0002", "PENDING")])
    assert callback.ended_by is None


def test_a_trial_that_starts_in_the_step_that_suggested_it_is_announced_first() -> None:
    from bench.engines import ray_journal

    told: list[str] = []
    state = SimpleNamespace(get=lambda name: None)
    session: Any = SimpleNamespace(
        state=state,
        emit=lambda event: told.append(f"{event.kind} {event.trial}"),
        trial=lambda name: SimpleNamespace(ended=False),
        start_trial=lambda name, epoch: told.append(f"started {name}"),
        clock=SimpleNamespace(now_s=lambda: 0.0),
    )
    callback = ray_journal.JournalCallback(
        session, gate=None, model_based=None, waiting=lambda: False, discard=lambda trial: None
    )

    class Suggested(SimpleNamespace):
        def __str__(self) -> str:
            return str(self.name)

    trials: list[Any] = [Suggested(name=n, config={}, trial_id=n, checkpoint=None) for n in ("0001", "0002")]
    callback.on_trial_start(1, trials, trials[1])
    assert told == ["trial_created 0001", "trial_created 0002", "started 0002"]


def test_a_stalled_run_is_interrupted_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stall(session: Session, plan: object, past: object) -> None:
        session.open_grant(1, "search")
        raise SearchStalled("The search has stalled: 0002 is paused")

    monkeypatch.setattr(raytune, "search", stall)
    monkeypatch.setattr("bench.engines.process.prepare_in_process", lambda task: FACTS)
    of = study("random", workload="tiny-squad", profile="cpu")
    with pytest.raises(run.Interrupted, match="0002 is paused") as caught:
        run.run_study(of, load_strategy("random"), load_profile("cpu"), results=tmp_path, provenance={})
    assert caught.value.stalled
    last = read_journal(tmp_path / "runs" / of.run_id() / JOURNAL_NAME)[-1]
    assert isinstance(last, RunInterrupted)
