"""Whatever ends a run, no finished epoch is trained again and nothing that was spent is forgotten."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from bench.events import EpochFinished, RunFinished, RunInterrupted, RunResumed, TrialStarted, WorkLost
from bench.record import record_run
from tests.e2e.driver import (
    QUICK,
    epochs_done,
    events,
    journal_path,
    losses,
    start,
    sweepmark,
    wait_for,
)

pytestmark = pytest.mark.slow


def test_a_killed_grid_goes_on_with_the_trial_in_progress(tmp_path: Path) -> None:
    small = ("--bs-choices", "8", "--wd-choices", "0.0", "--epochs", "3", "--final-epochs", "0")
    process = start("run", "--strategy", "manual", *small, "--results", tmp_path)
    wait_for(tmp_path, epochs_done(4))
    process.kill()
    process.communicate()
    name = journal_path(tmp_path).parent.name
    done = sweepmark("resume", name[:12], "--results", tmp_path)
    assert done.returncode == 0, done.stderr
    after = events(tmp_path)
    assert sorted(losses(after)) == [(f"{trial:04d}", epoch) for trial in (1, 2, 3) for epoch in (1, 2, 3)]
    resumed = next(i for i, e in enumerate(after) if isinstance(e, RunResumed))
    first = next(e for e in after[resumed:] if isinstance(e, TrialStarted))
    assert (first.trial, first.epoch >= 1) == ("0002", True), "trained on from its checkpoint"


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_in_order_and_says_how_to_go_on(by: signal.Signals, tmp_path: Path) -> None:
    process = start("run", "--strategy", "bohb", "--no-baseline", "--devices", "1", *QUICK, "--results", tmp_path)
    wait_for(tmp_path, epochs_done(2))
    if by == signal.SIGINT:
        os.killpg(process.pid, by)  # as a terminal does
    else:
        process.send_signal(by)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 128 + by, stderr
    assert "-m bench resume bohb-" in stderr
    assert "Traceback" not in stderr
    assert isinstance(events(tmp_path)[-1], RunInterrupted)
    if by == signal.SIGINT:
        folder = journal_path(tmp_path).parent
        spent = record_run(folder).costs.search.allocated_device_min
        done = sweepmark("resume", folder.name, "--results", tmp_path)
        assert done.returncode == 0, done.stderr
        assert isinstance(events(tmp_path)[-1], RunFinished)
        losses(events(tmp_path))
        total = record_run(folder).costs.search.allocated_device_min
        assert spent is not None
        assert total is not None
        assert total > spent > 0


def test_a_killed_worker_costs_an_epoch_and_no_trial(tmp_path: Path) -> None:
    process = start("run", "--strategy", "random", "--no-baseline", "--epochs", "4", "--samples", "2",
                    "--final-epochs", "0", "--results", tmp_path)  # fmt: skip
    wait_for(tmp_path, epochs_done(2))
    worker = next(e.worker for e in events(tmp_path) if isinstance(e, EpochFinished))
    os.kill(int(worker.removeprefix("pid ")), signal.SIGKILL)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    run = events(tmp_path)
    lost = [e for e in run if isinstance(e, WorkLost)]
    assert len(lost) == 1
    assert sorted(losses(run)) == [(trial, epoch) for trial in ("0001", "0002") for epoch in (1, 2, 3, 4)]
    record = record_run(journal_path(tmp_path).parent)
    assert record.costs.search.by_phase_device_min["lost"] == pytest.approx(lost[0].busy_s / 60)
