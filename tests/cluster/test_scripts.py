"""Job scripts: what they ask SLURM for, and what they do, run here without it."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from bench.cluster.scripts import options, script
from bench.cluster.site import Partition, Site
from bench.errors import UserError
from bench.profile import load_profile
from tests.cluster.throwaway import wait_for

V100 = load_profile("v100")
CPU = load_profile("cpu")


def asked(site: Site, devices: int = 2, profile: str = "v100") -> dict[str, str]:
    found = options(site, load_profile(profile), name="worker-asha", devices=devices, log=Path("/r/w-%A_%a.out"))
    return dict(option.partition("=")[::2] for option in found)


def test_what_is_asked_for_comes_from_profile_and_site() -> None:
    found = asked(Site(account="a1", partition="gpu", qos="high", time="02:00:00", warn_s=90, sbatch=("--exclusive",)))
    assert found["--gpus-per-node"].endswith("2")
    assert found["--cpus-per-task"] == str(2 * V100.cpus_per_device + V100.node.system_cpus)
    assert found["--mem"] == f"{2 * V100.slurm.memory_mib_per_device}M"
    assert (found["--account"], found["--partition"], found["--qos"]) == ("a1", "gpu", "high")
    assert (found["--time"], found["--signal"]) == ("02:00:00", "B:TERM@90")
    assert "--exclusive" in found
    assert found["--nodes"] == "1"


def test_a_head_asks_for_no_devices() -> None:
    found = asked(Site(), devices=0)
    assert not {"--gpus-per-node", "--constraint"} & set(found)
    assert int(found["--cpus-per-task"]) < V100.cpus_per_device * 2


def test_a_site_calls_nodes_by_its_own_words() -> None:
    site = Site(partition="main", profiles={"v100": Partition(partition="volta", constraint="v100-32", gres="tesla")})
    found = asked(site)
    assert found["--partition"] == "volta"
    assert found["--constraint"] == "v100-32"
    assert found["--gpus-per-node"] == "tesla:2"
    assert asked(Site(profiles={"v100": Partition(gres="", constraint="")}))["--gpus-per-node"] == "2"


def test_options_of_a_site_are_one_option_each() -> None:
    found = options(Site(sbatch=("--comment=two words",)), CPU, name="n", devices=1, log=Path("/r/x y-%j.out"))
    assert "'--comment=two words'" in found
    assert "'--output=/r/x y-%j.out'" in found
    with pytest.raises(UserError, match="is no option of sbatch"):
        options(Site(sbatch=("exclusive",)), CPU, name="n", devices=1, log=Path("/r/%j.out"))


class Job:
    """A job script, run by bash as SLURM would; its `sweepmark` is a program of the test's."""

    def __init__(self, place: Path, program: str, **site: object) -> None:
        self.place = place
        self.scratch = place / "scratch of nodes"
        self.scratch.mkdir(exist_ok=True)
        (place / "bin").mkdir(exist_ok=True)
        tool = place / "bin" / "sweepmark"
        tool.write_text(f"#!/bin/bash\n{program}\n", encoding="utf-8")
        tool.chmod(0o755)
        own = Site(environment=place, scratch=self.scratch, **site)  # type: ignore[arg-type]
        text = script(own, ["--time=1"], ["job", "worker", "/r/it's a run"], results=place)
        self.path = place / "job.sh"
        self.path.write_text(text, encoding="utf-8")
        self.out = place / "out"

    def start(self) -> subprocess.Popen[bytes]:
        with self.out.open("ab") as out:
            return subprocess.Popen(["bash", str(self.path)], stdout=out, stderr=out, start_new_session=True)

    def said(self, word: str) -> None:
        wait_for(word, lambda: self.out.exists() and word in self.out.read_text(encoding="utf-8"))

    def swept(self) -> None:
        wait_for("an empty scratch", lambda: not list(self.scratch.iterdir()))


SLEEPER = "trap 'echo told; exit 3' TERM; echo up; while :; do sleep 0.05; done"


def test_a_script_runs_its_words_and_ends_as_they_do(tmp_path: Path) -> None:
    job = Job(tmp_path, 'printf "<%s>" "$@"; echo "$EXTRA"; touch "$TMPDIR/file"; exit 5',
              setup=("export EXTRA='a b'",))  # fmt: skip
    assert job.start().wait(20) == 5
    assert job.out.read_text(encoding="utf-8") == "<job><worker></r/it's a run>a b\n"
    job.swept()


def test_a_signal_reaches_what_it_runs_and_the_script_waits_for_it(tmp_path: Path) -> None:
    job = Job(tmp_path, SLEEPER)
    process = job.start()
    job.said("up")
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 3
    job.said("told")
    job.swept()


def test_a_signal_before_anything_runs_ends_it(tmp_path: Path) -> None:
    job = Job(tmp_path, "echo up", setup=("echo setting up; sleep 1",))
    process = job.start()
    job.said("setting up")
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 143
    assert job.out.read_text(encoding="utf-8") == "setting up\n"
    assert list(job.scratch.iterdir()) == []


def test_a_script_that_is_killed_alone_leaves_nothing(tmp_path: Path) -> None:
    job = Job(tmp_path, f'echo $$ >"{tmp_path}/pid"; {SLEEPER}')
    process = job.start()
    job.said("up")
    process.kill()
    process.wait(20)
    pid = int((tmp_path / "pid").read_text(encoding="utf-8"))
    wait_for("its program to end", lambda: not alive(pid))
    job.swept()


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def test_the_next_job_of_a_node_clears_away_what_a_killed_one_left_and_nothing_else(tmp_path: Path) -> None:
    job = Job(tmp_path, f'echo $$ >"{tmp_path}/pid"; {SLEEPER}')
    process = job.start()
    job.said("up")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(20)
    (dead,) = job.scratch.iterdir()
    elsewhere = job.scratch / "sw-other1"
    elsewhere.mkdir()
    (elsewhere / ".node").write_text("another-node\n", encoding="utf-8")
    foreign = job.scratch / "sw-other2"
    foreign.mkdir()
    running = job.start()
    wait_for("two ups", lambda: job.out.read_text(encoding="utf-8").count("up") == 2)
    assert not dead.exists()
    third = job.start()
    wait_for("three ups", lambda: job.out.read_text(encoding="utf-8").count("up") == 3)
    left = set(job.scratch.iterdir()) - {elsewhere, foreign}
    assert len(left) == 2, "those that run keep theirs"
    for one in (running, third):
        one.send_signal(signal.SIGTERM)
        one.wait(20)
    assert set(job.scratch.iterdir()) == {elsewhere, foreign}


def test_nothing_of_a_run_is_taken_for_shell(tmp_path: Path) -> None:
    text = script(
        Site(scratch=Path("/s $(touch x)"), modules=("cuda/12; touch x",)), ["--time=1"],
        ["job", "head", "/r/$(touch x)`touch x`"], results=tmp_path,
    )  # fmt: skip
    assert f"module load {shlex.quote('cuda/12; touch x')} ||" in text
    assert shlex.quote("/r/$(touch x)`touch x`") in text
    assert "mktemp -d '/s $(touch x)'/sw-XXXXXX" in text
