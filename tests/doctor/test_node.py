"""What the nodes of a submitted check do, as processes of this machine that share a folder."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.cluster.site import Site
from bench.doctor import clock, filesystem, node, submitted
from bench.doctor.gathering import Gathering, Plan, Present
from bench.doctor.line import Line
from bench.errors import UserError
from tests.doctor.machines import machine, only, statuses

TAKE_PART = """
import sys, time
from pathlib import Path
from bench.doctor.here import checks
ahead_s = float(sys.argv[2])
real = time.time
time.time = lambda: real() + ahead_s
from bench.doctor import node
node.checks = lambda machine: [c for c in checks(machine) if c.name in ("ports", "results")]
node.take_part(Path(sys.argv[1]))
"""


@pytest.fixture
def gathering(tmp_path: Path) -> Gathering:
    folder = tmp_path / "results" / ".doctor-x"
    folder.mkdir(parents=True)
    return Gathering(folder)


def opened(gathering: Gathering, nodes: int, meet_s: float = 60.0) -> Plan:
    plan = Plan(
        profile="cpu", workload="tiny-squad", site=Site(interface="lo"), results=gathering.folder.parent, nodes=nodes,
        meet_s=meet_s, asked_s=time.time(), by_files_s=0.0, sha256=gathering.share(),
    )  # fmt: skip
    gathering.open(plan)
    return plan


def started(gathering: Gathering, task: int, ahead_s: float = 0.0) -> subprocess.Popen[str]:
    environ = {
        **os.environ, "SLURM_ARRAY_TASK_ID": str(task), "SLURMD_NODENAME": f"node{task}",
        "SWEEPMARK_NODE_ADDRESS": f"127.0.1.{task}",
    }  # fmt: skip
    words = [sys.executable, "-c", TAKE_PART, str(gathering.folder), str(ahead_s)]
    return subprocess.Popen(words, env=environ, stderr=subprocess.PIPE, text=True)


def told(gathering: Gathering, plan: Plan, task: int) -> list[Line]:
    report = gathering.report(task)
    assert report is not None
    assert report.node == f"node{task}"
    assert {line.node for line in report.lines} == {report.node}
    return [*report.lines, submitted._clock(plan, report, time.time())]


def test_two_nodes_find_each_other_and_a_clock_ahead(gathering: Gathering) -> None:
    plan = opened(gathering, 2)
    processes = [started(gathering, 1), started(gathering, 2, ahead_s=30.0)]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    first, second = told(gathering, plan, 1), told(gathering, plan, 2)
    for lines in (first, second):
        found = statuses(lines)
        for check in ("shared folder", "ports", "results", "ports: nodes", "all-reduce: nodes"):
            assert found[check] == "pass", lines
    assert only(second, "locks: nodes").status == "pass"
    assert only(first, "clock: nodes").status == "pass", "its process of the all-reduce has this machine's clock"
    assert only(first, "clock: login").status == "pass"
    assert only(second, "clock: login").status == "fail"
    assert "node2 is 29." in only(second, "clock: login").found or "30." in only(second, "clock: login").found


def test_a_node_that_never_comes_is_named_and_the_rest_is_told(
    gathering: Gathering, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node, "LEAVE_S", 0.2)
    monkeypatch.setattr(node, "checks", lambda machine: [])
    opened(gathering, 2, meet_s=0.3)
    report = node.take_part(gathering.folder, {"SLURM_ARRAY_TASK_ID": "1", "SLURMD_NODENAME": "node1"})
    assert statuses(report.lines) == {"shared folder": "pass", "nodes": "fail"}
    assert "task 2 of 2 did not come within 0 s" in only(report.lines, "nodes").found
    assert gathering.report(1) == report


def test_a_folder_that_is_not_shared_fails(gathering: Gathering) -> None:
    plan = opened(gathering, 1)
    assert node.shared(gathering, plan).status == "pass"
    gathering.shared.write_bytes(b"something else")
    assert node.shared(gathering, plan).status == "fail"
    gathering.shared.unlink()
    assert "cannot be read" in node.shared(gathering, plan).found


def test_a_lock_that_other_nodes_do_not_see_fails(gathering: Gathering) -> None:
    opened(gathering, 2)
    line = node._locks(gathering, "node1")
    assert line.status == "fail", "nobody holds it"
    assert "localflock" in line.remedy


def test_a_file_system_without_locks_fails(gathering: Gathering, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    opened(gathering, 2)
    monkeypatch.setattr(fcntl, "flock", refuse)
    line = node._locks(gathering, "node1")
    assert line.status == "fail"
    assert "refused" in line.found


def test_tasks_on_one_node_are_warned_of(gathering: Gathering, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plan = opened(gathering, 2)
    monkeypatch.setattr(node, "_exchange", lambda *_: [])
    here, other = (Present(task=task, node="node1", began_s=0.0, backend="gloo") for task in (1, 2))
    gathering.come(here)
    gathering.come(other)
    lines = list(node._between(gathering, plan, machine(tmp_path), here))
    assert only(lines, "nodes").status == "warn"


def test_one_outside_a_job_is_refused(gathering: Gathering, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(gathering, 1)
    with pytest.raises(UserError, match="doctor --submit"):
        node.take_part(gathering.folder, {})
    monkeypatch.setattr(node, "PLAN_S", 0.1)
    with pytest.raises(UserError, match="no plan"):
        node.take_part(gathering.folder / "none", {})


def test_what_is_damaged_is_not_there(gathering: Gathering) -> None:
    (gathering.folder / "report-1.json").write_text('{"task": 1, "lines": [', encoding="utf-8")
    assert gathering.report(1) is None
    (gathering.folder / "report-1.json").write_text('{"task": "one"}', encoding="utf-8")
    assert gathering.report(1) is None
    assert filesystem.take(gathering.folder / "x")
    assert clock.ahead_of_files(gathering.folder) == pytest.approx(0, abs=0.05)
