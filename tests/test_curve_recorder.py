"""Recording: every configuration under every seed, each once, whatever interrupts it."""

from __future__ import annotations

import fcntl
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import bench.curve_recorder as recorder
from bench.curve_recorder import PARTIAL_METADATA_NAME, PARTIAL_NAME, Job, dense_grid, record_curves
from bench.curves import METADATA_NAME, TABLE_NAME, Curve, CurveSet, Epoch, read_curve_set
from bench.errors import UserError
from bench.training import TrainingTask
from bench.workload import load_recipe, load_workload
from tests.builders import SPACE
from tests.test_curves import curve_set

CONFIGS = dense_grid(SPACE, 3)
SET = curve_set(provenance={"data_sha256": "a", "command": ["first"], "git": None})


@pytest.fixture
def task(tmp_path: Path) -> TrainingTask:
    return TrainingTask(
        workload=load_workload("tiny-squad"),
        recipe=load_recipe("qa"),
        precision="fp32",
        device="cpu",
        threads=1,
        init_seed=0,
        data_seed=0,
        epochs=3,
        cache=tmp_path / "cache",
    )


def trained(job: Job) -> Curve:
    """What training would give: nan at the highest learning rate, after one epoch."""
    rate, size = float(job.config["learning_rate"]), int(job.config["batch_size"])
    fails = rate == 2e-4
    epochs = tuple(
        Epoch(
            epoch=e,
            eval_loss=round(20 - e + job.seed + math.log(rate) / size, 6),
            train_loss=None,
            train_s=10.0 / size,
            eval_s=1.0,
            checkpoint_s=0.1,
            samples_per_s=100.0,
        )
        for e in range(1, 2 if fails else 4)
    )
    return Curve(config=job.config, seed=job.seed, startup_s=1.0, epochs=epochs, failure="nan" if fails else None)


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """Replaces training; holds the jobs that were trained."""
    asked: list[Job] = []

    def train_all(task: TrainingTask, jobs: Sequence[Job], slots: int) -> Iterator[Curve]:
        for job in jobs:
            asked.append(job)
            yield trained(job)

    monkeypatch.setattr(recorder, "_train_all", train_all)
    return asked


class Killed(BaseException):
    pass


def stop_after(count: int) -> Callable[[Curve], None]:
    seen: list[Curve] = []

    def on_curve(curve: Curve) -> None:
        seen.append(curve)
        if len(seen) == count:
            raise Killed

    return on_curve


def ignore(curve: Curve) -> None:
    del curve


def begin(folder: Path, task: TrainingTask, count: int, recorded: CurveSet = SET) -> None:
    with pytest.raises(Killed):
        record_curves(folder, recorded, task, CONFIGS, stop_after(count))


def test_the_grid_holds_both_ends_and_every_choice() -> None:
    assert [c["learning_rate"] for c in CONFIGS[::4]] == [5e-6, 3.162e-05, 2e-4]
    assert len({tuple(c.values()) for c in CONFIGS}) == 12
    assert len(dense_grid(SPACE, 2)) == 8


def test_a_recording_holds_every_trial_and_its_models_error(
    tmp_path: Path, task: TrainingTask, train: list[Job]
) -> None:
    complete = record_curves(tmp_path / "set", SET, task, CONFIGS, ignore)
    assert len(complete.curves) == len(train) == 24
    assert complete.error is not None
    assert complete.error.points == 4
    read = read_curve_set(tmp_path / "set")
    assert read.error == complete.error
    assert sorted(read.curves, key=str) == sorted(complete.curves, key=str)
    assert sorted(p.name for p in (tmp_path / "set").iterdir()) == [TABLE_NAME, METADATA_NAME]


@pytest.mark.parametrize("cut", [1, 20, 75, 100, 140, 145, 150, 200, 214, 215, 216, 300, 500])
def test_a_kill_anywhere_in_a_row_changes_nothing(
    cut: int, tmp_path: Path, task: TrainingTask, train: list[Job]
) -> None:
    """The table is cut to so many bytes, and the recording goes on: the result is that of one undisturbed, and no whole
    trial is trained again but the last."""
    record_curves(tmp_path / "whole", SET, task, CONFIGS, ignore)
    begin(tmp_path / "cut", task, 20)
    partial = tmp_path / "cut" / PARTIAL_NAME
    whole = partial.read_bytes()
    partial.write_bytes(whole[:-cut])
    train.clear()
    seen: list[Curve] = []
    record_curves(tmp_path / "cut", SET, task, CONFIGS, seen.append)
    assert (tmp_path / "cut" / TABLE_NAME).read_bytes() == (tmp_path / "whole" / TABLE_NAME).read_bytes()
    assert len(seen) == 24
    rows_lost = whole[:-cut].count(b"\n") - whole.count(b"\n")
    assert len(train) <= 4 - rows_lost + 1


def test_a_kill_in_the_header_or_before_it_is_survived(tmp_path: Path, task: TrainingTask, train: list[Job]) -> None:
    (tmp_path / PARTIAL_NAME).write_text("learning_ra")
    assert len(record_curves(tmp_path, SET, task, CONFIGS, ignore).curves) == len(train) == 24


def test_the_first_calls_provenance_is_kept_and_the_next_ones_added(
    tmp_path: Path, task: TrainingTask, train: list[Job]
) -> None:
    begin(tmp_path, task, 5)
    again = replace(SET, provenance={**SET.provenance, "command": ["second"]})
    complete = record_curves(tmp_path, again, task, CONFIGS, ignore)
    assert complete.provenance == {**SET.provenance, "resumed": [{"command": ["second"], "git": None}]}


def test_seeds_may_be_added(tmp_path: Path, task: TrainingTask, train: list[Job]) -> None:
    begin(tmp_path, task, 20)
    assert len(record_curves(tmp_path, replace(SET, seeds=(0, 1, 2)), task, CONFIGS, ignore).curves) == 36
    assert len(train) == 36


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"workload": "tiny-squad"}, "a recording with workload bloom560m-squad, not tiny-squad"),
        ({"epochs": 5}, "with epochs 3, not 5"),
        ({"slots": 2}, "with slots 1, not 2"),
        ({"space": SPACE.override(lr_lower=1e-6)}, "with space .*'log_uniform'.*, not "),
        ({"provenance": {"data_sha256": "b"}}, "with data_sha256 a, not b: go on with the arguments it began with"),
        ({"seeds": (0,)}, "under seed 1 is not part of this one"),
    ],
)
def test_other_arguments_are_refused(
    change: dict[str, Any], words: str, tmp_path: Path, task: TrainingTask, train: list[Job]
) -> None:
    begin(tmp_path, task, 20)
    before = (tmp_path / PARTIAL_NAME).read_bytes()
    with pytest.raises(UserError, match=words):
        record_curves(tmp_path, replace(SET, **change), task, CONFIGS, ignore)
    assert (tmp_path / PARTIAL_NAME).read_bytes() == before


def test_another_grid_is_refused(tmp_path: Path, task: TrainingTask, train: list[Job]) -> None:
    begin(tmp_path, task, 20)
    with pytest.raises(UserError, match="is not part of this one"):
        record_curves(tmp_path, SET, task, dense_grid(SPACE, 4), ignore)


def test_a_table_without_metadata_beside_it_is_checked_by_itself(
    tmp_path: Path, task: TrainingTask, train: list[Job]
) -> None:
    begin(tmp_path, task, 20)
    (tmp_path / PARTIAL_METADATA_NAME).unlink()
    with pytest.raises(UserError, match="has 3 of 2 epochs"):
        record_curves(tmp_path, replace(SET, epochs=2), task, CONFIGS, ignore)
    (tmp_path / PARTIAL_METADATA_NAME).unlink()
    assert len(record_curves(tmp_path, SET, task, CONFIGS, ignore).curves) == 24


def test_two_processes_cannot_record_one_set(tmp_path: Path, task: TrainingTask, train: list[Job]) -> None:
    with (tmp_path / PARTIAL_NAME).open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="is being recorded by another process"):
            record_curves(tmp_path, SET, task, CONFIGS, ignore)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, task: TrainingTask, train: list[Job]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="give another --out"):
        record_curves(tmp_path / "file", SET, task, CONFIGS, ignore)


@pytest.mark.slow
def test_a_real_recording_of_two_learning_rates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Trained for one epoch from the command line; a trial taken off its end is trained again to the same loss."""
    from bench.cli.curves import record_curves as command

    arguments = ["two", "--points", "2", "--seeds", "1", "--epochs", "1", "--devices", "1", "--profile", "cpu"]
    monkeypatch.chdir(tmp_path)
    command.main(arguments, standalone_mode=False)
    folder = tmp_path / "results" / "curves" / "two"
    found = read_curve_set(folder)
    assert len(found.curves) == 8
    assert found.error is None
    assert all(c.failure is None and c.startup_s > 0 and c.epochs[0].eval_loss for c in found.curves)
    assert "8/8" in capsys.readouterr().err
    with pytest.raises(UserError, match="holds a complete set already"):
        command.main(arguments, standalone_mode=False)
    text = (folder / TABLE_NAME).read_text()
    (folder / PARTIAL_NAME).write_text(text[:-9])
    (folder / TABLE_NAME).unlink()
    (folder / METADATA_NAME).unlink()
    command.main(arguments, standalone_mode=False)
    assert [c.epochs[0].eval_loss for c in read_curve_set(folder).curves] == [
        c.epochs[0].eval_loss for c in found.curves
    ]
