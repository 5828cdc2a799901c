"""A submitted check, with a SLURM that the test plays."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cluster import slurm
from bench.cluster.slurm import JobState
from bench.doctor import submitted
from bench.doctor.gathering import Gathering, Report
from bench.doctor.line import Line, failed, passed
from bench.errors import UserError
from tests.doctor.machines import machine


class Played:
    """`on_submit` is told the folder; `state` of every task is what SLURM says from then on."""

    def __init__(self) -> None:
        self.on_submit: Callable[[Path], None] = lambda folder: None
        self.state, self.reason = "RUNNING", ""
        self.cancelled: list[str] = []
        self.script = ""
        self.said: list[str] = []

    def submit(self, script: Path, *options: str) -> str:
        self.script = script.read_text(encoding="utf-8")
        self.on_submit(script.parent)
        return "7"

    def states(self, ids: list[str]) -> list[JobState]:
        assert ids == ["7"]
        return [
            JobState(id="7", task=task, state=self.state, reason=self.reason, node=None, started_s=None, left_s=None)
            for task in (1, 2)
        ]

    def run(self, results: Path, nodes: int = 2, wait_s: float = 60.0) -> list[Line]:
        return submitted.on_nodes(machine(results), nodes, wait_s=wait_s, say=self.said.append, grace_s=0.2)


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Played:
    one = Played()
    monkeypatch.setattr(slurm, "require", lambda: None)
    monkeypatch.setattr(slurm, "submit", one.submit)
    monkeypatch.setattr(slurm, "states", one.states)
    monkeypatch.setattr(slurm, "cancel", lambda ids: one.cancelled.extend(ids))
    monkeypatch.setattr(submitted, "STATES_EVERY_S", 0.05)
    return one


def reporting(*lines: Line) -> Callable[[Path], None]:
    def report(folder: Path) -> None:
        for task in (1, 2):
            now_s = time.time()
            node = f"node{task}"
            own = tuple(Line(check=x.check, status=x.status, found=x.found, remedy=x.remedy, node=node) for x in lines)
            Gathering(folder).write_report(
                Report(task=task, node=node, began_s=now_s, reported_s=now_s, by_files_s=0.0, lines=own)
            )

    return report


def test_all_nodes_lines_are_told_and_the_folder_is_gone(played: Played, tmp_path: Path) -> None:
    played.on_submit = reporting(passed("torch", "fine"))
    lines = played.run(tmp_path)
    assert [(line.node, line.check) for line in lines] == [
        ("node1", "torch"), ("node1", "clock: login"), ("node2", "torch"), ("node2", "clock: login"),
    ]  # fmt: skip
    assert {line.status for line in lines} == {"pass"}
    assert list(tmp_path.iterdir()) == []
    assert played.cancelled == ["7"], "nothing of it outlives the command"
    for option in ("--array=1-2", "--exclusive", "--no-requeue", "--time=00:15:00"):
        assert f"#SBATCH {option}\n" in played.script
    assert "doctor --rendezvous" in played.script


def test_after_a_failure_the_folder_is_kept_and_named(played: Played, tmp_path: Path) -> None:
    played.on_submit = reporting(failed("torch", "no kernels", "install another"))
    played.run(tmp_path)
    (folder,) = tmp_path.iterdir()
    assert any(f"Kept: {folder}" in words for words in played.said)


def printing(folder: Path) -> None:
    for task in (1, 2):
        (folder / f"log-7_{task}.out").write_text("one\nsweepmark: command not found\n", encoding="utf-8")


def test_a_job_that_ends_without_a_report_fails_with_its_last_words(played: Played, tmp_path: Path) -> None:
    played.state = "FAILED"
    played.on_submit = printing
    lines = played.run(tmp_path)
    assert [line.node for line in lines] == ["task 1", "task 2"]
    assert all(line.status == "fail" and "(FAILED)" in line.found for line in lines)
    assert "sweepmark: command not found" in lines[0].found


def test_one_that_waits_too_long_says_why_and_is_cancelled(played: Played, tmp_path: Path) -> None:
    played.state, played.reason = "PENDING", "Priority"
    lines = played.run(tmp_path, wait_s=0.3)
    assert all(line.status == "fail" and "other jobs come first" in line.found for line in lines)
    assert "2 of 2 wait: other jobs come first" in played.said, "without advice about a --time, which doctor lacks"
    assert played.cancelled == ["7"]


def test_ctrl_c_cancels_it_and_leaves_nothing(played: Played, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(ids: list[str]) -> list[JobState]:
        raise KeyboardInterrupt

    monkeypatch.setattr(slurm, "states", interrupt)
    with pytest.raises(KeyboardInterrupt):
        played.run(tmp_path)
    assert played.cancelled == ["7"]
    assert list(tmp_path.iterdir()) == []


def test_a_refused_job_leaves_nothing(played: Played, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(script: Path, *options: str) -> str:
        raise UserError("SLURM refused the job: `sinfo -s` lists the partitions: choose one with --partition.")

    monkeypatch.setattr(slurm, "submit", refuse)
    with pytest.raises(UserError, match=r"refused.*: set 'partition' in the site file"):
        played.run(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert played.cancelled == []


def test_a_folder_that_cannot_be_written_is_said(played: Played, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="--results"):
        played.run(tmp_path / "file")
