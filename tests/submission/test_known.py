"""What runs of others are held against is what this repository's own runs say."""

from __future__ import annotations

import csv
from dataclasses import replace

import pytest

from bench import journal
from bench.errors import UserError
from bench.profile import load_profile, load_profiles
from bench.workload import Known, KnownLoss, load_workload, workload_names
from tests.submission.forgeries import EPOCH
from tests.submission.planted import OWN_DATA, RECORDS, RESULTS, SUBMISSIONS, events_of, of_kind


def losses_within(epochs: int) -> list[float]:
    """Of all runs in git on the workload's own data."""
    folders = [OWN_DATA, *(path for path in SUBMISSIONS.glob("*") if path.is_dir())]
    return [
        event["eval_loss"]
        for folder in folders
        for run in folder.iterdir()
        if run.is_dir()
        for event in of_kind(events_of(run), EPOCH)
        if event["epoch"] <= epochs and event["eval_loss"] is not None
    ]


def losses_of_curves(epochs: int) -> list[float]:
    with (RESULTS / "curves" / "tiny-squad" / "curves.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [float(row["eval_loss"]) for row in rows if row["eval_loss"] and int(row["epoch"]) <= epochs]


@pytest.mark.parametrize("epochs", [5, 15])
def test_the_known_best_is_the_best_in_git(epochs: int) -> None:
    """A new best run belongs into the workload's file, or the next one like it is refused."""
    known = load_workload("tiny-squad").known_under("qa")
    assert known is not None
    best = known.best_within(epochs)
    assert best is not None
    lowest = min(losses_within(epochs) + losses_of_curves(epochs))
    assert best.eval_loss <= lowest < best.eval_loss + 1e-4


def test_known_losses_fall_with_epochs_and_end_with_them() -> None:
    known = load_workload("tiny-squad").known_under("qa")
    assert known is not None
    assert [known.best_within(n) for n in (1, 5, 6, 15, 16)] == [*known.best[:1] * 2, *known.best[1:] * 2, None]
    assert known.best[0].eval_loss > known.best[1].eval_loss
    assert load_workload("tiny-squad").known_under("workshop") is None


def test_known_values_are_well_formed() -> None:
    loss = KnownLoss(epochs=5, eval_loss=1.0, source="")
    with pytest.raises(ValueError, match="ascending order"):
        Known(recipe="qa", best=(loss, loss))
    workload = load_workload("tiny-squad")
    with pytest.raises(ValueError, match="a recipe twice"):
        replace(workload, known=workload.known * 2)
    assert all(load_workload(name).known for name in workload_names())


def test_every_profile_has_a_physical_limit() -> None:
    assert all(profile.peak_tflops > 0 for profile in load_profiles())
    assert load_profile("cpu").peak_tflops == pytest.approx(0.32)
    h200 = load_profile("h200")
    assert h200.gpu is not None
    assert h200.peak_tflops == h200.gpu.peak_tflops.bf16
    for profile, peak in (("cpu", None), ("h200", 0.3)):
        with pytest.raises(ValueError, match="core_peak_tflops"):
            replace(load_profile(profile), core_peak_tflops=peak)
    with pytest.raises(ValueError, match="missing or 0"):
        replace(load_profile("cpu"), core_peak_tflops=0.0)


def test_a_journal_beyond_the_limit_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "MAX_JOURNAL_BYTES", 1000)
    run = next(RECORDS.glob("random-*"))
    with pytest.raises(UserError, match="larger than the 1000 bytes"):
        journal.read_journal(run / journal.JOURNAL_NAME)
