"""Which jobs a run still needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cluster.jobs import load_jobs
from bench.cluster.submit import Step, left, scripts
from bench.events import RunFinished
from tests.builders import Run as Trained
from tests.builders import journal, study
from tests.cluster.watched import job, searched, submit, under_way, write, write_trial

RAY = study("asha", devices=2, samples=12)
SERIAL = study("manual", samples=12)
ARRAY = study("random", samples=3, engine="array")
RUNNING_HEAD = job("11", "RUNNING")
WORKERS = (job("12_1", "RUNNING"), job("12_2", "PENDING", "Priority"))
FINAL = job("13", "PENDING", "Dependency")


def steps(folder: Path, *active: object) -> list[tuple[object, ...]]:
    submitted = load_jobs(folder)
    assert submitted is not None
    return [shown(step) for step in left(folder, submitted, active)]  # type: ignore[arg-type]


def shown(step: Step) -> tuple[object, ...]:
    return (step.kind, *step.tasks)


@pytest.fixture
def ray_run(tmp_path: Path) -> Path:
    submit(tmp_path / "run", RAY, ("11", "head", 0), ("12", "worker", 2), ("13", "final", 0))
    return tmp_path / "run"


@pytest.fixture
def array_run(tmp_path: Path) -> Path:
    submit(tmp_path / "run", ARRAY, ("7", "task", 3), ("8", "final", 0))
    return tmp_path / "run"


def test_a_search_that_is_under_way_needs_nothing(ray_run: Path) -> None:
    assert steps(ray_run, RUNNING_HEAD, *WORKERS, FINAL) == []
    write(ray_run, under_way(RAY))
    assert steps(ray_run, RUNNING_HEAD, *WORKERS, FINAL) == []


def test_workers_that_have_gone_are_made_up_for(ray_run: Path) -> None:
    write(ray_run, under_way(RAY))
    assert steps(ray_run, RUNNING_HEAD, WORKERS[1], FINAL) == [("worker", 1)]
    assert steps(ray_run, RUNNING_HEAD, FINAL) == [("worker", 1, 2)]


def test_a_head_that_has_gone_comes_back_with_what_waits_for_it(ray_run: Path) -> None:
    write(ray_run, under_way(RAY))
    assert steps(ray_run) == [("head",), ("worker", 1, 2), ("final",)]
    assert steps(ray_run, *WORKERS) == [("head",), ("final",)]
    assert steps(ray_run, WORKERS[0]) == [("head",), ("worker", 2), ("final",)]


def test_a_search_without_a_retrain_has_no_final_job(tmp_path: Path) -> None:
    without = study("asha", devices=2, final_epochs=0)
    submit(tmp_path / "run", without)
    assert steps(tmp_path / "run") == [("head",), ("worker", 1, 2)]


def test_after_the_search_the_winner_alone_is_left(ray_run: Path) -> None:
    write(ray_run, searched(RAY))
    assert steps(ray_run) == [("final",)]
    assert steps(ray_run, FINAL) == []
    assert steps(ray_run, RUNNING_HEAD, FINAL) == []


def test_a_head_that_was_killed_in_its_last_moment_is_finished_by_a_final_job(tmp_path: Path) -> None:
    without = study("asha", devices=2, final_epochs=0)
    submit(tmp_path / "run", without, ("11", "head", 0), ("12", "worker", 2))
    write(tmp_path / "run", searched(without)[:-1])
    assert steps(tmp_path / "run") == [("final",)]
    submitted = load_jobs(tmp_path / "run")
    assert submitted is not None
    assert "final.sh" in {path.name for path in scripts(tmp_path / "run", submitted)}


def test_a_finished_run_needs_nothing(ray_run: Path) -> None:
    events = journal([Trained(losses=[2.0, 1.5])], RAY)
    assert isinstance(events[-1], RunFinished)
    write(ray_run, events)
    assert steps(ray_run) == []


def test_a_serial_run_is_one_job(tmp_path: Path) -> None:
    submit(tmp_path / "run", SERIAL, ("5", "serial", 0))
    assert steps(tmp_path / "run", job("5", "PENDING", "Priority")) == []
    write(tmp_path / "run", under_way(SERIAL))
    assert steps(tmp_path / "run", job("5", "RUNNING")) == []
    assert steps(tmp_path / "run") == [("serial",)]
    write(tmp_path / "run", searched(SERIAL))
    assert steps(tmp_path / "run") == [("serial",)]


def test_tasks_without_a_result_are_submitted_again_and_no_others(array_run: Path) -> None:
    write_trial(array_run, ARRAY, 1)
    write_trial(array_run, ARRAY, 2, done=False)
    waiting = job("8", "PENDING", "Dependency")
    assert steps(array_run, job("7_2", "RUNNING"), job("7_3", "PENDING"), waiting) == []
    assert steps(array_run, job("7_3", "RUNNING"), waiting) == [("task", 2), ("final",)]
    assert steps(array_run) == [("task", 2, 3), ("final",)]


def test_an_array_whose_gathering_failed_is_gathered(array_run: Path) -> None:
    for number in (1, 2, 3):
        write_trial(array_run, ARRAY, number)
    assert steps(array_run) == [("final",)]
    assert steps(array_run, job("8", "RUNNING")) == []
