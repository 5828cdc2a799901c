"""Nodes of a submitted measurement, both on this machine, without SLURM."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bench.cluster.site import Site
from bench.errors import UserError
from bench.stages.gathering import Gathering, Plan
from bench.stages.node import take_part
from tests.cluster.throwaway import wait_for
from tests.stages.rows import STUDY

PROGRAM = (sys.executable, "-c", "import sys; from bench.stages.node import take_part; from pathlib import Path; "
           "take_part(Path(sys.argv[1]))")  # fmt: skip


@contextmanager
def nodes(gathering: Gathering, only: tuple[str, ...]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Both, each with a process of every training."""
    study = replace(STUDY, nodes=2, epochs=1, batch_size=16, only=only)
    gathering.open(Plan(study=study, site=Site(interface="lo"), results=gathering.folder, meet_s=60))
    started = []
    try:
        for task in ("1", "2"):
            environment = os.environ | {"SLURM_ARRAY_TASK_ID": task, "SWEEPMARK_NODE_ADDRESS": f"127.0.1.{task}"}
            started.append(subprocess.Popen([*PROGRAM, str(gathering.folder)], env=environment))
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()


@pytest.mark.slow
def test_two_nodes_train_together(tmp_path: Path) -> None:
    gathering = Gathering(tmp_path)
    with nodes(gathering, ("plain",)) as started:
        row = wait_for("the first row", lambda: gathering.row(0), 100)
        assert row is not None
        assert (row.name, row.state, row.detail) == ("plain", "completed", "")
        assert row.steps_per_epoch == 32
        assert row.memory.host is not None
        assert row.memory.host.peak_mib > 600, "of both nodes' processes"
        begun = gathering.begun()
        assert begun is not None
        assert begun.inputs.parameters == 129_856
        assert [process.wait(60) for process in started] == [0, 0]
    assert not list(tmp_path.glob("work-*"))


def test_who_cannot_take_part_tells_the_login_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gathering = Gathering(tmp_path)
    gathering.open(Plan(study=replace(STUDY, nodes=2), site=Site(), results=tmp_path, meet_s=0.1))
    with pytest.raises(UserError, match="none runs here"):
        take_part(tmp_path, {})
    monkeypatch.setenv("SWEEPMARK_NODE_ADDRESS", "127.0.1.1")
    with pytest.raises(UserError, match="Task 2 of 2 did not come"):
        take_part(tmp_path, {"SLURM_ARRAY_TASK_ID": "1"})
    refused = gathering.refused()
    assert refused is not None
    assert "Task 2 of 2 did not come" in refused.sentence
