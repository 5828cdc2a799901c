"""Runs of a submission beside each other."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.submission.forgeries import EPOCH, study
from tests.submission.planted import OWN_DATA, RECORDS, Events, copied, forge, found, of_kind

Plant = Callable[[Path], object]


def again(run: Path) -> Path:
    """The run once more, under another folder's name."""
    return Path(shutil.copytree(run, run.with_name(f"{run.name}-2")))


def under_another_seed(run: Path, change: Callable[[Events], None] = lambda events: None) -> None:
    """The same journal for another seed, with the seeds that it gives."""
    from bench.run import SEED_NAMES
    from bench.seeds import child_seed

    def forged(events: Events) -> None:
        study(seed=77)(events)
        events[0]["provenance"]["seeds"] = {name: child_seed(77, name) for name in SEED_NAMES}
        change(events)

    forge(again(run), forged)


def other_times(events: Events) -> None:
    for event in of_kind(events, EPOCH):
        event["phases"]["train_s"] *= 1.0001


def other_losses(events: Events) -> None:
    for event in of_kind(events, EPOCH):
        event["eval_loss"] += 1e-7


DEFECTS: dict[str, tuple[Plant, set[str]]] = {
    "a run twice": (again, {"same-study", "folder-name", "copied-timings"}),
    "a run under two seeds": (under_another_seed, {"copied-losses", "copied-timings"}),
    "a run under two seeds at other times": (lambda run: under_another_seed(run, other_times), {"copied-losses"}),
    "a run under two seeds with other losses": (lambda run: under_another_seed(run, other_losses), {"copied-timings"}),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_runs_that_repeat_each_other_are_found(defect: str, tmp_path: Path) -> None:
    run = copied(tmp_path, "random")
    plant, codes = DEFECTS[defect]
    plant(run)
    assert set(found(run.parent)) == codes


def test_few_seeds_are_provisional_and_five_are_not(tmp_path: Path) -> None:
    run = copied(tmp_path, "random")
    assert found(run.parent, "warning")["provisional"] == 1
    for seed in range(1, 5):

        def change(events: Events, seed: int = seed) -> None:
            events[0]["study"]["seed"] = seed

        forge(again(run), change)
    assert "provisional" not in found(run.parent, "warning")


def test_the_committed_runs_pass() -> None:
    assert not found(RECORDS)
    assert not found(OWN_DATA)
    warnings = found(OWN_DATA, "warning")
    assert set(warnings) == {"no-statement", "record-missing", "no-container", "provisional"}
    assert warnings["record-missing"] == warnings["no-container"] == 24
