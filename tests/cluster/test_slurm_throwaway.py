"""The throwaway cluster leaves nothing behind, however its owner ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.throwaway import Cluster, processes, throwaway_cluster, wait_for

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]

# A process that hides in a session of its own and ignores all requests, and one without any environment.
STUBBORN = (
    "trap '' TERM; setsid sleep 7001 & env -i sleep 7002 & touch $(dirname $SLURM_CONF)/started; wait; sleep 7003"
)


def commands(cluster: Cluster) -> list[str]:
    return [process.command for process in processes(cluster.environment).values() if process.marked]


def gone(cluster: Cluster) -> bool:
    sleeping = [p for p in processes({}).values() if p.command.startswith("sleep 700")]
    return not commands(cluster) and not cluster.root.exists() and not sleeping


def test_killed_with_jobs_running(cluster: Cluster) -> None:
    """Beside the session's own cluster, which goes on."""
    shell = f"sbatch --output=/dev/null --wrap {STUBBORN!r}; echo $SLURM_CONF; exec sleep 300"
    owner = subprocess.Popen(
        [sys.executable, "-m", "tests.cluster.throwaway", "--shell", shell],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert owner.stdout is not None
    try:
        assert owner.stdout.readline().startswith("Submitted batch job")
        other = Cluster(root=Path(owner.stdout.readline().strip()).parent)
        assert other.root != cluster.root
        wait_for("its job", (other.root / "started").exists)
        assert "sleep 7001" in commands(other)
    finally:
        os.kill(owner.pid, signal.SIGKILL)
        owner.wait()
        owner.stdout.close()
    wait_for("all to be gone", lambda: gone(other))
    assert cluster.state("node1") == "idle"


def test_an_error_in_the_test_ends_it_too(cluster: Cluster) -> None:
    seen: list[Cluster] = []

    def use() -> None:
        with throwaway_cluster(cpus=2, memory_mib=1000) as other:
            seen.append(other)
            assert "CPUTot=2" in other.scontrol("show", "node", "node3")
            assert len(commands(other)) >= len(other.pids)
            raise KeyError("a failing test")

    with pytest.raises(KeyError):
        use()
    assert gone(seen[0])


def test_why_it_does_not_come_up(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match="No SLURM cluster came up: its guard died"), throwaway_cluster():
        pass


def test_what_outlives_its_job_is_found(idle: Cluster) -> None:
    environment = {**os.environ, **idle.environment}
    wrap = f"setsid sleep 7004 & touch {idle.root}/left"
    subprocess.run(["sbatch", "--output=/dev/null", "--export=NONE", f"--wrap={wrap}"], env=environment, check=True)
    wait_for("its job", (idle.root / "left").exists)
    # SLURM itself leaves it: it is no child of the job's any more.
    wait_for("the job to end", lambda: [p.command for p in idle.orphans(settle_s=0)] == ["sleep 7004"])
    (left,) = idle.orphans(settle_s=0.2)
    os.kill(left.pid, signal.SIGKILL)
    assert idle.orphans() == []
