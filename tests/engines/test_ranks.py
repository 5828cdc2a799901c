"""Trials of two processes, in both engines: equal to the bit, and whoever is killed, nothing hangs or is left over."""

from __future__ import annotations

import dataclasses
import json
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench.engines.process import ProcessDied, run_trial_process
from bench.errors import UserError
from bench.training import EpochResult, FinalResult, TrainingTask
from tests.hf.conftest import CONFIG, small_task

pytestmark = pytest.mark.slow

PROMPT_S = 10.0
"""What it may take at most until a death is known and everything is gone; it takes one or two."""


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> TrainingTask:
    return small_task(tmp_path_factory.mktemp("cache"), processes=2)


@pytest.fixture(scope="module")
def searched(task: TrainingTask, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the driver told of its search under Ray."""
    folder = tmp_path_factory.mktemp("search")
    (folder / "task.pickle").write_bytes(pickle.dumps(task))
    command = [sys.executable, "-m", "tests.engines.ranks_driver", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads((folder / "told.json").read_text())
    return told


def losses_of(searched: dict[str, Any], trial: str) -> list[list[float]]:
    return [loss for name, _, loss, *_ in searched["results"] if name == trial]


def family(pid: int) -> list[psutil.Process]:
    """A trial's process and its ranks; Python's resource tracker, which ends by itself, is none of them."""
    found = psutil.Process(pid).children(recursive=True)
    return [p for p in found if "resource_tracker import" not in " ".join(p.cmdline())]


def all_gone(processes: list[psutil.Process], deadline_s: float = PROMPT_S) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=deadline_s)
    return not [p for p in alive if p.status() != psutil.STATUS_ZOMBIE]


def ranks_of_this_process() -> list[psutil.Process]:
    """The ranks of the trial that this process runs, in the order in which they were started."""
    [launcher] = [p for p in psutil.Process().children() if "spawn_main" in " ".join(p.cmdline())]
    return sorted((p for p in launcher.children() if "spawn_main" in " ".join(p.cmdline())), key=lambda p: p.pid)


def test_a_search_under_ray_trains_each_trial_on_both_nodes(searched: dict[str, Any]) -> None:
    """A node has one core, and a trial two processes. What was lost with a killed process was only what followed its
    last checkpoint, which the trial went on from."""
    assert searched["nodes"] == ["127.0.1.1", "127.0.1.2"]
    assert sorted((name, epoch) for name, epoch, *_ in searched["results"]) == [
        (name, epoch) for name in ("0001", "0002", "0003") for epoch in (1, 2, 3, 4)
    ]


def test_the_other_ranks_are_kept_from_trial_to_trial(searched: dict[str, Any]) -> None:
    """Three trials and one death: two processes; only a first trial pays for imports."""
    assert len(searched["served"]) == 2
    startups_s = [startup_s for _, epoch, _, startup_s, _ in searched["results"] if epoch == 1]
    assert startups_s[0] > 2
    assert startups_s[1] < 2
    assert searched["left"] == []


def test_a_killed_rank_is_noticed_at_once(searched: dict[str, Any]) -> None:
    [noticed_s] = searched["noticed_s"]
    assert noticed_s < PROMPT_S


def test_the_serial_engine_goes_on_after_a_rank_was_killed(
    task: TrainingTask, searched: dict[str, Any], tmp_path: Path
) -> None:
    """Its losses are those of the trial that lost its other rank under Ray; both are those of a whole one."""
    got: list[Any] = []
    killed_s = 0.0
    ranks: list[psutil.Process] = []
    for message in run_trial_process(task, CONFIG, folder=tmp_path, resume_from=None):
        got.append(message)
        if len(got) == 1:
            ranks = ranks_of_this_process()
            assert len(ranks) == 2
            ranks[1].send_signal(signal.SIGKILL)
            killed_s = time.monotonic()
    assert time.monotonic() - killed_s < PROMPT_S
    assert all_gone(ranks)
    *epochs, died = got
    assert died == ProcessDied(exit_code=-signal.SIGKILL)
    rest = list(run_trial_process(task, CONFIG, folder=tmp_path, resume_from=epochs[-1].checkpoint, score=True))
    assert isinstance(rest[-1], FinalResult)
    whole = [[r.train_loss, r.eval_loss] for r in [*epochs, *rest[:-1]] if isinstance(r, EpochResult)]
    assert whole == losses_of(searched, "0002")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["epoch-0002", "epoch-0003", "epoch-0004"]


def test_nothing_outlives_the_engine(task: TrainingTask, tmp_path: Path) -> None:
    """The engine's process is killed: the trial's launcher and its ranks follow."""
    code = (
        "import pickle, sys; from pathlib import Path; from bench.engines.process import run_trial_process\n"
        "if __name__ == '__main__':\n"
        "    task, config, folder = pickle.loads(Path(sys.argv[1]).read_bytes())\n"
        "    for message in run_trial_process(task, config, folder=folder, resume_from=None):\n"
        "        print('epoch', flush=True)\n"
    )
    (tmp_path / "script.py").write_text(code)
    long = dataclasses.replace(task, epochs=6)
    (tmp_path / "all.pickle").write_bytes(pickle.dumps((long, CONFIG, tmp_path / "trial")))
    command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "all.pickle")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as engine:
        assert engine.stdout is not None
        assert engine.stdout.readline() == "epoch\n"
        processes = family(engine.pid)
        engine.kill()
    assert len(processes) == 3
    assert all_gone(processes)


def test_a_mistake_is_told_in_one_sentence(task: TrainingTask, tmp_path: Path) -> None:
    too_many = dataclasses.replace(task, epochs=7)
    with pytest.raises(UserError, match="7 epochs were asked for"):
        list(run_trial_process(too_many, CONFIG, folder=tmp_path, resume_from=None))


def test_what_ray_is_asked_to_reserve(task: TrainingTask) -> None:
    from bench.engines.ray_ranks import resources

    gpus = dataclasses.replace(task, device="cuda", threads=4)
    one = dataclasses.replace(gpus, processes=1)
    assert resources(one, single_node=True) == {"CPU": 4, "GPU": 1}
    for sharing in range(1, 17):
        share = resources(one, single_node=True, sharing=sharing)["GPU"]
        assert sharing == int(1 / share), "so many fit on a GPU, and no more"
    group: Any = resources(gpus, single_node=True)
    assert (group.bundles, group.strategy) == ([{"CPU": 4, "GPU": 1}] * 2, "STRICT_PACK")
    assert resources(task, single_node=False).strategy == "PACK"  # type: ignore[union-attr]
