"""`sweepmark doctor --submit` on a real SLURM."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bench.cluster.slurm import states
from tests.cluster.throwaway import Cluster, wait_for

SITE = """
schema_version = 1
interface = "lo"
setup = ['export SWEEPMARK_NODE_ADDRESS=127.0.1.${SLURMD_NODENAME#node}', %s]
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    path = tmp_path / "site.toml"
    path.write_text(SITE % "", encoding="utf-8")
    return path


def command(results: Path, site: Path, *words: str) -> list[str]:
    program = str(Path(sys.executable).with_name("sweepmark"))
    return [program, "doctor", "--profile", "cpu", "--results", str(results), "--site", str(site), "--submit", *words]


def check(results: Path, site: Path, *words: str) -> tuple[int, list[dict[str, Any]], str]:
    done = subprocess.run(
        command(results, site, "--json", *words), capture_output=True, text=True, timeout=180, check=False
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)["lines"], done.stderr


def test_two_nodes_and_what_is_between_them(idle: Cluster, tmp_path: Path, site: Path) -> None:
    status, lines, said = check(tmp_path / "results", site, "--nodes", "2")
    assert (status, [line for line in lines if line["status"] == "fail"]) == (0, []), said
    by_node = {
        node: {line["check"]: line["found"] for line in lines if line["node"] == node}
        for node in ("", "node1", "node2")
    }
    assert {"SLURM", "SLURM: partition", "SLURM: nodes", "SLURM: job"} - by_node[""].keys() <= {"SLURM: partition"}
    for node, other in (("node1", "node2"), ("node2", "node1")):
        found = by_node[node]
        assert f"{other} answered" in found["ports: nodes"]
        assert "2 nodes" in found["all-reduce: nodes"]
        assert {"shared folder", "all-reduce", "results", "scratch", "clock: login"} <= found.keys()
    assert "clock: nodes" in by_node["node1"]
    assert "node1 holds" in by_node["node2"]["locks: nodes"]
    assert list((tmp_path / "results").iterdir()) == []
    assert idle.orphans() == []


def test_a_node_whose_environment_is_broken_is_told_with_its_words(idle: Cluster, tmp_path: Path, site: Path) -> None:
    site.write_text(SITE % "'echo this node is broken; exit 3'", encoding="utf-8")
    status, lines, said = check(tmp_path / "results", site)
    assert status == 1
    (line,) = [line for line in lines if line["check"] == "job"]
    assert "this node is broken" in line["found"]
    (kept,) = (tmp_path / "results").iterdir()
    assert f"Kept: {kept}" in said


def test_a_cluster_without_a_free_node_is_waited_for_no_longer_than_told(
    idle: Cluster, tmp_path: Path, site: Path
) -> None:
    for node in ("node1", "node2", "node3"):
        idle.drain(node)
    status, lines, said = check(tmp_path / "results", site, "--wait", "0.05")
    assert status == 1
    (line,) = [line for line in lines if line["check"] == "job"]
    assert "still waits" in line["found"]
    assert "1 of 1 wait" in said


def test_ctrl_c_cancels_the_job(idle: Cluster, tmp_path: Path, site: Path) -> None:
    site.write_text(SITE % "'sleep 300'", encoding="utf-8")
    process = subprocess.Popen(
        command(tmp_path / "results", site), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        start_new_session=True,
    )  # fmt: skip
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
    assert list((tmp_path / "results").iterdir()) == []
    assert idle.orphans() == []
