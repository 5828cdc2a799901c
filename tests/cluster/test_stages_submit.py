"""`sweepmark stages --submit` on a real SLURM."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.cluster.slurm import states
from bench.stages.agreement import agreement
from bench.stages.result import load
from tests.cluster.test_doctor_submit import SITE
from tests.cluster.throwaway import Cluster, wait_for
from tests.hf.test_deepspeed import EXTENSIONS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    path = tmp_path / "site.toml"
    path.write_text(SITE % "", encoding="utf-8")
    return path


def command(results: Path, site: Path, *words: str) -> list[str]:
    program = str(Path(sys.executable).with_name("sweepmark"))
    asked = ["stages", "--profile", "cpu", "--epochs", "1", "--batch-size", "16", "--submit", *words]
    return [program, *asked, "--results", str(results), "--site", str(site)]


def test_two_nodes_measure_together(idle: Cluster, tmp_path: Path, site: Path) -> None:
    words = command(tmp_path, site, "--nodes", "2", "--only", "plain", "--only", "zero3", "--csv")
    environment = {"TORCH_EXTENSIONS_DIR": str(EXTENSIONS), **os.environ}
    done = subprocess.run(words, capture_output=True, text=True, timeout=250, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert "2 of 2: zero3" in done.stderr
    (folder,) = (tmp_path / "stages").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["memory-host.svg", "stages.json"]
    found = load(folder)
    assert [(row.name, row.state, row.steps_per_epoch) for row in found.rows] == [
        ("plain", "completed", 32), ("zero3", "completed", 32),
    ]  # fmt: skip
    agreed = agreement(found.rows, "fp32")
    assert agreed is not None
    assert agreed.outside == (), str(agreed)
    assert found.rows[0].device_min == pytest.approx(2 * found.rows[0].wall_s / 60, abs=1e-3)
    assert idle.orphans() == []


def test_a_job_that_cannot_begin_is_told_with_its_words(idle: Cluster, tmp_path: Path, site: Path) -> None:
    site.write_text(SITE % "'echo this node is broken; exit 3'", encoding="utf-8")
    done = subprocess.run(command(tmp_path, site), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "Nothing was measured" in done.stderr
    assert "this node is broken" in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_cancels_the_job_and_leaves_nothing(idle: Cluster, tmp_path: Path, site: Path) -> None:
    site.write_text(SITE % "'sleep 300'", encoding="utf-8")
    process = subprocess.Popen(
        command(tmp_path, site), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True
    )
    assert process.stderr is not None
    line = ""
    deadline = time.monotonic() + 60
    while "Submitted job" not in line and time.monotonic() < deadline:
        line = process.stderr.readline()
    job = line.split()[2]
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=30) == 130
    process.stderr.close()
    wait_for("the job to be gone", lambda: not any(state.active for state in states([job])))
    assert list((tmp_path / "stages").iterdir()) == []
    assert idle.orphans() == []
