"""The measurement itself, on a CPU: all rows train the same model, and one that does not fit says so."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench.engines.process import Message, ProcessDied
from bench.errors import UserError
from bench.events import Phases
from bench.hyperparameters import Value
from bench.stages.agreement import agreement
from bench.stages.here import measure_here
from bench.stages.measure import Launch, measure_one
from bench.stages.recommend import recommend
from bench.stages.result import Inputs, Row, StagesStudy, load
from bench.training import EpochResult, TrainingTask, TrialFailed
from bench.zero import Sharding, shardings
from tests.hf.conftest import small_task
from tests.hf.test_deepspeed import EXTENSIONS, compiled
from tests.stages.rows import STUDY, measured
from tests.stages.rows import row as made

CONFIG: dict[str, Value] = {"learning_rate": 1e-3, "batch_size": 8, "weight_decay": 0.01}
INPUTS = Inputs(parameters=1000, train=48, validation=16, sha256={})

# All rows in one process, which imports torch once: what a row leaves there must not touch the next.
SCRIPT = """
import pickle, resource, sys, time
from dataclasses import replace
from pathlib import Path
from bench.hf import train_trial
from bench.stages.measure import inputs_of, measure
from bench.stages.result import save
from bench.training import TrialFailed
from bench.zero import shardings
from tests.stages.rows import measured
from tests.stages.test_measure import CONFIG, too_long

def launch(task, config, folder):
    messages = []
    try:
        train_trial(task, config, folder=folder, on_epoch=messages.append, process_started_s=time.time())
    except TrialFailed as failure:
        messages.append(failure)
    return iter(messages)

if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (100 << 30, resource.getrlimit(resource.RLIMIT_AS)[1]))
    task, folder = pickle.loads(Path(sys.argv[1]).read_bytes()), Path(sys.argv[2])
    inputs = inputs_of(task)
    rows = list(measure(task, CONFIG, inputs, shardings(), folder=folder / "work", launch=launch))
    rows += measure(too_long(task), CONFIG, inputs, shardings()[:1], folder=folder / "work", launch=launch)
    save(replace(measured(rows), inputs=inputs), folder / "stages.json")
"""


def too_long(task: TrainingTask) -> TrainingTask:
    """Attention wants 160 GB."""
    return replace(
        task,
        recipe=replace(task.recipe, padding="max_length"),
        workload=replace(task.workload, max_tokens=400_000),
    )


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    """All nine, and one that does not fit."""
    folder = tmp_path_factory.mktemp("stages")
    task = small_task(folder / "cache", epochs=2, workload={"checkpoints": False})
    (folder / "task.pickle").write_bytes(pickle.dumps(task))
    (folder / "script.py").write_text(SCRIPT, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(folder / "script.py"), str(folder / "task.pickle"), str(folder)],
        capture_output=True, text=True, timeout=500, check=False,
        env={"TORCH_EXTENSIONS_DIR": str(EXTENSIONS), **os.environ, "PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return list(load(folder).rows)


@compiled
@pytest.mark.slow
def test_all_rows_train_to_the_same_losses(rows: list[Row]) -> None:
    *all_nine, _ = rows
    assert [(row.name, row.state, row.detail) for row in all_nine] == [(s.name, "completed", "") for s in shardings()]
    found = agreement(all_nine, "fp32")
    assert found is not None
    assert found.outside == (), str(found)
    losses = [epoch.eval_loss for epoch in all_nine[0].epochs]
    assert losses[1] < losses[0] < 7, "it learns"
    assert recommend(all_nine).row is not None


@compiled
@pytest.mark.slow
def test_all_that_a_cpu_can_tell_is_measured(rows: list[Row]) -> None:
    for row in rows[:-1]:
        assert row.steps_per_epoch == 6
        assert row.startup_s is not None
        assert 0 < row.startup_s < row.wall_s
        assert row.device_min == pytest.approx(row.wall_s / 60, abs=1e-4)
        assert all(epoch.train_samples_per_s > 0 and epoch.eval_samples_per_s > 0 for epoch in row.epochs)
        assert (row.memory.allocated, row.memory.reserved, row.memory.used, row.energy_j) == (None,) * 4
        host = row.memory.host
        assert host is not None
        assert host.mean_mib is not None
        assert 100 < host.mean_mib <= host.peak_mib
        assert row.series is not None
        assert max(row.series.host) == pytest.approx(host.peak_mib, rel=1e-3)


@compiled
@pytest.mark.slow
def test_one_that_does_not_fit_is_a_row_that_says_so(rows: list[Row]) -> None:
    row = rows[-1]
    assert row.state == "oom"
    assert "out of memory" in row.detail
    assert row.epochs == ()
    assert row.startup_s is not None, "it came as far as the first step"
    assert row.memory.host is not None


@compiled
@pytest.mark.slow
def test_two_processes_share_out_what_stage_3_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the whole path: fresh processes, kept after each row."""
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(EXTENSIONS))
    study = replace(STUDY, node_devices=2, only=("plain", "zero3-offload-both"))
    task = small_task(tmp_path / "cache", epochs=2, processes=2, workload={"checkpoints": False})
    said: list[str] = []
    found, folder, whole = measure_here(study, tmp_path, say=said.append, task=task)
    assert whole
    assert load(folder) == found
    assert [path.name for path in folder.iterdir()] == ["stages.json"]
    plain, sharded = found.rows
    assert (plain.state, sharded.state) == ("completed", "completed"), said
    assert plain.steps_per_epoch == 3
    agreed = agreement(found.rows, "fp32")
    assert agreed is not None
    assert agreed.outside == (), str(agreed)
    assert plain.state_device_mib == pytest.approx(16 * found.inputs.parameters / 2**20, abs=1e-3)
    assert sharded.state_device_mib == pytest.approx(2 * found.inputs.parameters / 2**20, abs=1e-3)
    assert plain.memory.host is not None
    assert plain.memory.host.peak_mib > 600, "of both processes"


def saying(*messages: Message) -> Launch:
    """A training that says just this."""
    return lambda task, config, folder: iter(messages)


def epoch(number: int, config: dict[str, Value]) -> EpochResult:
    return EpochResult(
        epoch=number, eval_loss=1.0, train_loss=1.0, phases=Phases(startup_s=2.0, train_s=1.0, eval_s=0.5),
        samples_per_s=48.0, tokens_per_s=960.0, device_memory_mib=None, host_memory_mib=500.0, config=config,
        checkpoint=Path("epoch"),
    )  # fmt: skip


def one(tmp_path: Path, *messages: Message, launch: Launch | None = None) -> Row:
    task = small_task(tmp_path, epochs=2)
    return measure_one(
        task, CONFIG, INPUTS, Sharding(name="plain"), folder=tmp_path, launch=launch or saying(*messages)
    )


LOST = TrialFailed(state="failed", detail="rank 1 of 2 died", phases=Phases())
FULL = TrialFailed(state="oom", detail="out of memory: 2 GiB", phases=Phases(startup_s=3.0, train_s=0.1))


@pytest.mark.parametrize(
    ("messages", "state", "told"),
    [
        ((ProcessDied(exit_code=-9),), "oom", "killed (signal 9)"),
        ((LOST, ProcessDied(exit_code=-9)), "oom", "killed (signal 9)"),
        ((FULL, ProcessDied(exit_code=1)), "oom", "2 GiB"),
        ((LOST,), "failed", "rank 1 of 2 died"),
        ((ProcessDied(exit_code=-11),), "failed", "signal 11 (SIGSEGV)"),
        ((ProcessDied(exit_code=3),), "failed", "status 3"),
        ((), "failed", "without a word"),
        ((epoch(1, CONFIG), epoch(2, CONFIG), ProcessDied(exit_code=-6)), "completed", ""),
        ((epoch(1, CONFIG), ProcessDied(exit_code=-6)), "failed", "SIGABRT"),
    ],
)
def test_what_becomes_of_a_training_is_told(
    tmp_path: Path, messages: tuple[Message, ...], state: str, told: str
) -> None:
    row = one(tmp_path, *messages)
    assert row.state == state
    assert told in row.detail


def test_what_was_known_before_the_end_is_kept(tmp_path: Path) -> None:
    assert one(tmp_path, FULL).startup_s == 3.0
    assert [e.eval_samples_per_s for e in one(tmp_path, epoch(1, CONFIG), FULL).epochs] == [32.0]


def test_a_mistake_of_the_users_is_a_row_too(tmp_path: Path) -> None:
    def refused(*_: object) -> Iterator[Message]:
        raise UserError("There is no C++ compiler here: install g++.")

    row = one(tmp_path, launch=refused)
    assert (row.state, row.detail) == ("failed", "There is no C++ compiler here: install g++.")


def test_without_a_compiler_deepspeed_is_refused_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.hf import deepspeed

    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UserError, match=r"no C\+\+ compiler here: install g\+\+"):
        deepspeed.build(small_task(tmp_path))


def test_nothing_is_compiled_for_a_gpu_where_data_are_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster's head may have neither a GPU nor a compiler."""
    from bench.hf import deepspeed

    monkeypatch.setattr(shutil, "which", lambda name: None)
    deepspeed.build(small_task(tmp_path, device="cuda"))
    assert not list(tmp_path.iterdir())


def test_ctrl_c_keeps_the_rows_that_are_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.stages import here

    kept = measured([]).study

    def interrupted(*_: object, **__: object) -> Iterator[Row]:
        yield one(tmp_path, epoch(1, CONFIG), epoch(2, CONFIG))
        raise KeyboardInterrupt

    monkeypatch.setattr(here, "measure", interrupted)
    monkeypatch.setattr(here, "inputs_of", lambda task: INPUTS)
    monkeypatch.setattr(here, "build_extensions", lambda task: None)
    study: StagesStudy = replace(kept, only=("plain", "zero1"))
    found, folder, whole = measure_here(study, tmp_path, say=lambda words: None, task=small_task(tmp_path))
    assert not whole
    assert [row.name for row in load(folder).rows] == ["plain"] == [row.name for row in found.rows]


def test_each_row_is_announced_before_it_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.stages import here

    said: list[str] = []

    def trained(task: TrainingTask, config: object, inputs: Inputs, rows: list[Sharding], **_: object) -> Iterator[Row]:
        for sharding in rows:
            said.append(f"{sharding.name} is trained")
            yield made(sharding.name)

    monkeypatch.setattr(here, "measure", trained)
    monkeypatch.setattr(here, "inputs_of", lambda task: INPUTS)
    monkeypatch.setattr(here, "build_extensions", lambda task: None)
    study = replace(STUDY, only=("plain", "zero1"))
    found, _, whole = measure_here(study, tmp_path, say=said.append, task=small_task(tmp_path))
    assert whole
    assert [row.name for row in found.rows] == ["plain", "zero1"]
    done = "eval loss 1.0000, 100.0 samples/s, 0:10 in all"
    assert said[-6:] == [
        "Training plain (1 of 2) ...", "plain is trained", f"plain: {done}",
        "Training zero1 (2 of 2) ...", "zero1 is trained", f"zero1: {done}",
    ]  # fmt: skip
