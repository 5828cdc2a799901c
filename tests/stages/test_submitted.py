"""What the login node says of a job's rows, without SLURM."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.stages import submitted
from bench.stages.gathering import Begun, Gathering
from bench.stages.result import FILE_NAME, Inputs, load
from tests.stages.rows import STUDY, row


def test_each_row_is_announced_and_kept_when_it_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.cluster.slurm.states", lambda jobs: [])
    gathering, said = Gathering(tmp_path), list[str]()
    study = replace(STUDY, only=("plain", "zero1"))
    watch = submitted._Watch(gathering, study, tmp_path / FILE_NAME, 60, 60, said.append)
    assert watch.over("1") is None
    gathering.begin(Begun(inputs=Inputs(parameters=1, train=1, validation=1, sha256={}), provenance={}))
    assert watch.over("1") is None
    assert said == ["The nodes have read model and data", "Training plain (1 of 2) ..."]
    gathering.write_row(0, row("plain"))
    assert watch.over("1") is None
    assert said[2].startswith("1 of 2: plain: eval loss")
    assert said[3:] == ["Training zero1 (2 of 2) ..."]
    gathering.write_row(1, row("zero1"))
    assert watch.over("1") is True
    assert said[4].startswith("2 of 2: zero1: eval loss")
    assert len(said) == 5
    assert [row.name for row in load(tmp_path).rows] == ["plain", "zero1"]
