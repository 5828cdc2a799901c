"""Two trials on one core, for real: they run at once, each is charged a half, and the core is all that is used."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.events import EpochFinished, TrialStarted
from bench.record import record_run
from tests.e2e.driver import events, sweepmark

pytestmark = pytest.mark.slow


def test_trials_that_share_a_device(tmp_path: Path) -> None:
    done = sweepmark(
        "run", "--strategy", "random", "--trials-per-device", "2", "--devices", "1", "--samples", "2", "--epochs", "1",
        "--final-epochs", "0", "--metric", "eval_loss,samples_per_s", "--no-baseline", "--results", tmp_path,
    )  # fmt: skip
    assert "2 trials share a device: their seconds count half." in done.stdout
    (folder,) = (tmp_path / "runs").glob("random-*")
    told = events(tmp_path)
    starts = [e for e in told if isinstance(e, TrialStarted)]
    ends = [e for e in told if isinstance(e, EpochFinished)]
    assert [e.devices for e in starts] == [0.5, 0.5]
    assert max(e.at_s for e in starts) < min(e.at_s for e in ends), "at once"
    costs = record_run(folder).costs.search
    assert costs.busy_device_min == pytest.approx(sum(e.phases.total_s for e in ends) / 2 / 60)
    assert costs.allocated_device_min is not None
    assert costs.busy_device_min < costs.allocated_device_min
