"""Every strategy, for real: Ray, worker processes, training."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from bench.events import EpochFinished, GrantClosed, GrantOpened, RunFinished, TrialEnded, TrialReconfigured
from bench.journal import read_journal
from bench.record import RECORD_NAME, encode_record, load_record, record_run
from bench.strategy import strategy_names
from tests.e2e.driver import QUICK, configs, events, journal_path, losses, sweepmark

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("strategy", [name for name in strategy_names() if name != "manual"])
def test_a_search_ends_with_a_winner_and_a_record(strategy: str, tmp_path: Path) -> None:
    done = sweepmark("run", "--strategy", strategy, "--no-baseline", *QUICK, "--results", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    run = events(tmp_path)
    assert isinstance(run[-1], RunFinished)
    assert set(configs(run)) == {"0001", "0002", "0003", "0004"}
    assert {e.trial for e in run if isinstance(e, TrialEnded)} == set(configs(run)), "no trial is lost"
    trained = losses(run)
    assert 4 <= len(trained) <= 8
    assert any(epoch == 2 for _, epoch in trained)
    assert Counter(type(e) for e in run)[GrantOpened] == Counter(type(e) for e in run)[GrantClosed] == 1
    folder = journal_path(tmp_path).parent
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
