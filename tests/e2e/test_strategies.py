"""Every strategy, for real: Ray, worker processes, training; and one of them killed on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from bench.events import (
    EpochFinished,
    GrantClosed,
    GrantOpened,
    RunFinished,
    RunResumed,
    TrialEnded,
    TrialReconfigured,
    WorkLost,
)
from bench.journal import read_journal
from bench.record import RECORD_NAME, encode_record, load_record, record_run
from bench.strategy import strategy_names
from tests.e2e.driver import QUICK, configs, epochs_done, events, journal_path, losses, start, sweepmark, wait_for

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The results of a search by a strategy, which is made once."""

    @cache
    def search(strategy: str) -> Path:
        results = tmp_path_factory.mktemp(strategy)
        done = sweepmark("run", "--strategy", strategy, "--no-baseline", *QUICK, "--results", results)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        return results

    return search


@pytest.mark.parametrize("strategy", [name for name in strategy_names() if name != "manual"])
def test_a_search_ends_with_a_winner_and_a_record(strategy: str, searched: Callable[[str], Path]) -> None:
    results = searched(strategy)
    run = events(results)
    assert isinstance(run[-1], RunFinished)
    assert set(configs(run)) == {"0001", "0002", "0003", "0004"}
    assert {e.trial for e in run if isinstance(e, TrialEnded)} == set(configs(run)), "no trial is lost"
    trained = losses(run)
    assert 4 <= len(trained) <= 8
    assert any(epoch == 2 for _, epoch in trained)
    assert Counter(type(e) for e in run)[GrantOpened] == Counter(type(e) for e in run)[GrantClosed] == 1
    folder = journal_path(results).parent
    record = load_record(folder / RECORD_NAME)
    assert record.status == "finished"
    assert record.winner is not None
    assert record.winner.eval_loss == min(loss for (_, epoch), loss in trained.items() if epoch == 2 and loss)
    assert record.costs.search.allocated_device_min is not None
    assert 0 < record.costs.search.busy_device_min <= record.costs.search.allocated_device_min
    assert encode_record(record_run(folder)) == (folder / RECORD_NAME).read_bytes(), "the journal makes the record"
    assert not (folder / "checkpoints").exists()
    if strategy == "pbt":
        assert any(isinstance(e, TrialReconfigured) for e in run)


def test_a_killed_search_ends_exactly_as_one_that_was_not(searched: Callable[[str], Path], tmp_path: Path) -> None:
    """PBT is the hardest to resume: every exploit is drawn at random and copies another trial's state; synchronous, its
    decisions do not depend on timing."""
    uninterrupted = events(searched("pbt"))
    args = ("run", "--strategy", "pbt", "--no-baseline", *QUICK, "--results", tmp_path)
    process = start(*args)
    wait_for(tmp_path, epochs_done(5))
    process.kill()
    process.communicate()
    before = events(tmp_path)
    done = sweepmark(*args)
    assert done.returncode == 0, done.stderr
    after = events(tmp_path)
    assert after[: len(before)] == before, "the journal is only ever appended to"
    assert sum(isinstance(e, RunResumed) for e in after) == 1
    assert any(isinstance(e, WorkLost) for e in after), "what was under way is charged"
    assert configs(after) == configs(uninterrupted)
    assert losses(after) == losses(uninterrupted)
    assert "earlier run" in done.stderr


def test_the_baseline_is_announced_run_first_and_compared_with(tmp_path: Path) -> None:
    small = ("--bs-choices", "8", "--wd-choices", "0.0", "--epochs", "1", "--final-epochs", "2", "--samples", "3")
    done = sweepmark("run", "--strategy", "random", *small, "--results", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    assert "running it first, 3 trials" in done.stderr
    assert '"costs"' in done.stdout
    folders = sorted(path.name for path in (tmp_path / "runs").glob("*-*"))
    assert [name.split("-")[0] for name in folders] == ["manual", "random"]
    manual = read_journal(tmp_path / "runs" / folders[0] / "events.jsonl")
    workers = [e.worker for e in manual if isinstance(e, EpochFinished) and e.trial != "final"]
    assert len(workers) == 3
    record = load_record(tmp_path / "runs" / folders[1] / RECORD_NAME)
    assert record.final is not None
    assert record.final.test_loss is not None
    assert record.costs.final.busy_device_min > 0

    again = sweepmark("run", "--strategy", "random", *small, "--results", tmp_path, "--json")
    assert again.stdout == done.stdout, "a complete run is reported, not run again"
    assert "epoch" not in again.stderr
