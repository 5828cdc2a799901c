"""SLURM's answers, by programs that stand for its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.cluster.site import Partition, Site
from bench.doctor import slurm
from bench.doctor.line import Line
from bench.profile import load_profile
from tests.doctor.machines import first_on_path, only, program, statuses

CONFIG = {
    "ClusterName": "big", "KillWait": "30 sec", "MaxArraySize": "1001", "PreemptMode": "REQUEUE", "JobRequeue": "1",
    "SLURM_VERSION": "22.05.8",
}  # fmt: skip
SINFO = (
    "gpu*|up|1-00:00:00|v100,ib|gpu:v100:8|3|idle",
    "gpu*|up|1-00:00:00|v100,ib|gpu:v100:8|1|drained*",
    "gpu*|up|1-00:00:00|a100|gpu:a100:4|2|mixed",
    "cpu|up|infinite|(null)|(null)|9|allocated",
    "old|down|30:00|k80|gpu:2|1|idle",
)


class FakeSlurm:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config()
        self.sinfo(*SINFO)
        self.sbatch("echo 'sbatch: Job 7 to start at 2026-01-01T10:00:00 using 20 processors' >&2")
        for name in ("squeue", "scancel"):
            program(folder, name, "exit 0")

    def config(self, **changed: str) -> None:
        said = "\n".join(f"{name:<24}= {value}" for name, value in {**CONFIG, **changed}.items())
        program(self.folder, "scontrol", f"cat <<'END'\nConfiguration data as of now\n{said}\nEND")

    def sinfo(self, *lines: str) -> None:
        program(self.folder, "sinfo", "cat <<'END'\n" + "\n".join(lines) + "\nEND")

    def sbatch(self, script: str) -> None:
        program(self.folder, "sbatch", script)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    monkeypatch.setenv("PATH", first_on_path(tmp_path / "bin"))
    monkeypatch.setattr(slurm, "TIMEOUT_S", 1.0)
    return FakeSlurm(tmp_path / "bin")


def lines(profile: str = "v100", nodes: int = 1, wanted: bool = True, **site: Any) -> list[Line]:
    return list(slurm.lines(Site(**site), load_profile(profile), nodes=nodes, wanted=wanted))


def test_a_cluster_in_order_passes(fake: FakeSlurm) -> None:
    found = lines()
    assert set(statuses(found).values()) == {"pass"}
    assert "3 of 4 in 'gpu' usable" in only(found, "SLURM: nodes").found
    assert "2026-01-01T10:00:00" in only(found, "SLURM: job").found


def test_without_slurm_it_matters_whether_one_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert statuses(lines()) == {"SLURM": "fail"}
    assert statuses(lines(wanted=False)) == {"SLURM": "warn"}


@pytest.mark.parametrize("script", ["echo 'Unable to contact slurm controller' >&2; exit 1", "exec sleep 30"])
def test_a_controller_that_does_not_answer_fails(fake: FakeSlurm, script: str) -> None:
    program(fake.folder, "scontrol", script)
    (line,) = lines()
    assert line.status == "fail"
    assert "scontrol" in line.found


@pytest.mark.parametrize(
    ("changed", "status", "words"),
    [
        ({"SLURM_VERSION": "19.05.2"}, "fail", "version 19.05.2"),
        ({"KillWait": "5 sec"}, "warn", "KillWait is 5 s"),
        ({"MaxArraySize": "10"}, "warn", "MaxArraySize is 10"),
        ({"PreemptMode": "CANCEL"}, "warn", "cancelled, not requeued"),
        ({"JobRequeue": "0"}, "pass", "JobRequeue is 0"),
        ({"PreemptMode": "OFF"}, "pass", "30 s to save"),
    ],
)
def test_settings_that_bite(fake: FakeSlurm, changed: dict[str, str], status: str, words: str) -> None:
    fake.config(**changed)
    assert any(line.status == status and words in line.found for line in lines()), lines()


@pytest.mark.parametrize(
    ("profile", "site", "check", "words"),
    [
        ("v100", {"partition": "big"}, "SLURM: partition", "no partition 'big'"),
        ("v100", {"partition": "old"}, "SLURM: partition", "takes no jobs"),
        ("v100", {"time": "2-00:00:00"}, "SLURM: time limit", "of at most 1-00:00:00"),
        ("h100", {}, "SLURM: nodes", "no node of 'gpu' has the feature 'h100'"),
        ("v100", {"partition": "cpu", "profiles": {"v100": Partition(constraint="")}}, "SLURM: nodes", "devices 'gpu'"),
        ("v100", {"profiles": {"v100": Partition(gres="h200")}}, "SLURM: nodes", "no node of 'gpu' has devices"),
    ],
)
def test_what_the_cluster_does_not_have_fails(
    fake: FakeSlurm, profile: str, site: dict[str, Any], check: str, words: str
) -> None:
    line = only(lines(profile, **site), check)
    assert line.status == "fail"
    assert words in line.found
    assert "site file" in line.remedy


def test_no_partition_and_no_default_fails(fake: FakeSlurm) -> None:
    fake.sinfo("gpu|up|1:00:00|v100|gpu:v100:8|3|idle")
    assert only(lines(), "SLURM: partition").status == "fail"


def test_fewer_nodes_than_wanted_are_warned_of(fake: FakeSlurm) -> None:
    assert only(lines(nodes=4), "SLURM: nodes").status == "warn"


def test_one_of_several_features_is_enough_where_that_is_asked(fake: FakeSlurm) -> None:
    either = {"v100": Partition(constraint="[v100|a100]")}
    assert "5 of 6" in only(lines(profiles=either), "SLURM: nodes").found
    both = {"v100": Partition(constraint="v100&a100")}
    assert "fulfils the constraint 'v100&a100'" in only(lines(profiles=both), "SLURM: nodes").found


def test_a_job_that_slurm_would_refuse_fails_with_its_words(fake: FakeSlurm) -> None:
    fake.sbatch("echo 'sbatch: error: Invalid account or account/partition combination specified' >&2; exit 1")
    line = only(lines(account="nobody"), "SLURM: job")
    assert line.status == "fail"
    assert "Invalid account" in line.found
    assert "--account=nobody" in line.remedy


def test_an_unlimited_partition(fake: FakeSlurm) -> None:
    assert only(lines("cpu", partition="cpu", time="90-00:00:00"), "SLURM: time limit").status == "pass"


def test_another_sinfo_is_refused(fake: FakeSlurm) -> None:
    from bench.doctor.line import Check, make

    fake.sinfo("hello")
    (*_, line) = make(Check(name="SLURM", lines=lines))
    assert line.status == "fail"
