"""bench.cluster.slurm on a real controller with three nodes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from bench.cluster import slurm
from bench.cluster.slurm import JobState
from bench.errors import UserError
from tests.cluster.throwaway import Cluster, wait_for

pytestmark = pytest.mark.slow

# Every start is a line; a TERM ends it in order.
SLEEPER = """#!/bin/bash
trap 'echo term; kill $! 2>/dev/null; exit 7' TERM
echo "start ${SLURM_RESTART_COUNT:-0} on $SLURMD_NODENAME"
sleep 600 &
wait
"""


@pytest.fixture
def script(idle: Cluster, tmp_path: Path) -> Path:
    path = tmp_path / "sleeper.sh"
    path.write_text(SLEEPER, encoding="utf-8")
    return path


def submit(script: Path, *options: str) -> str:
    return slurm.submit(script, f"--output={script.parent}/%j.out", "--open-mode=append", *options)


def one(job_id: str, task: int | None = None) -> JobState:
    (found,) = [job for job in slurm.states([job_id]) if job.task == task]
    return found


def until(state: str, job_id: str, task: int | None = None) -> JobState:
    def there() -> JobState | None:
        job = one(job_id, task)
        return job if job.state == state else None

    return wait_for(f"job {job_id} to be {state}, {slurm.states([job_id])}", there) or one(job_id, task)


def log(script: Path, job_id: str) -> list[str]:
    path = script.parent / f"{job_id}.out"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [line for line in lines if not line.startswith("slurmstepd")]


def test_a_job_from_submission_to_its_end(script: Path) -> None:
    before = time.time()
    job_id = submit(script, "--time=5", "--constraint=v100", "--gpus-per-node=2")
    assert job_id.isdecimal()
    running = until("RUNNING", job_id)
    assert running.active
    assert running.node in ("node1", "node2", "node3")
    assert running.reason == ""
    assert running.started_s is not None
    assert before - 1 <= running.started_s <= time.time() + 1
    assert running.left_s is not None
    assert 280 < running.left_s <= 300
    wait_for("its first line", lambda: log(script, job_id))
    slurm.cancel([job_id])
    ended = until("CANCELLED", job_id)
    assert not ended.active
    assert ended.left_s is None
    assert log(script, job_id) == [f"start 0 on {ended.node}", "term"]
    slurm.cancel([job_id])


def test_times_do_not_depend_on_the_place(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = submit(script)
    started = until("RUNNING", job_id).started_s
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    monkeypatch.setenv("SLURM_TIME_FORMAT", "relative")
    monkeypatch.setenv("SQUEUE_FORMAT", "%i")
    monkeypatch.setenv("SQUEUE_STATES", "PENDING")
    assert one(job_id).started_s == started


def test_tasks_of_an_array_one_by_one(script: Path) -> None:
    job_id = submit(script, "--array=1-3,7-8%2")
    until("RUNNING", job_id, 2)
    found = slurm.states([job_id])
    assert [job.task for job in found] == [1, 2, 3, 7, 8]
    assert {job.id for job in found} == {job_id}
    assert [job.state for job in found] == ["RUNNING", "RUNNING", "PENDING", "PENDING", "PENDING"]
    wait_for("a reason", lambda: one(job_id, 8).reason)
    assert slurm.explain(one(job_id, 8).reason).startswith("as many tasks of its array")
    assert one(job_id, 8).node is None
    assert one(job_id, 8).started_s is None

    slurm.cancel([f"{job_id}_1", f"{job_id}_7"])
    until("CANCELLED", job_id, 1)
    until("RUNNING", job_id, 3)
    assert [job.task for job in slurm.states([job_id])] == [1, 2, 3, 8], "what never had its turn is forgotten"
    assert one(job_id, 8).state == "PENDING"
    slurm.cancel([job_id])
    wait_for("all to be over", lambda: not any(job.active for job in slurm.states([job_id])))


def test_jobs_that_slurm_does_not_know_leave_the_others_alone(script: Path) -> None:
    job_id = submit(script)
    assert slurm.states(["999999"]) == []
    assert slurm.states(["999998", "999999"]) == []
    assert [job.id for job in slurm.states(["999999", job_id])] == [job_id]
    slurm.cancel(["999999", "999999_3", job_id])
    slurm.cancel(["999999"], signal="TERM")
    assert not until("CANCELLED", job_id).active


def test_why_a_job_waits(script: Path) -> None:
    held = submit(script, "--hold")
    after = submit(script, f"--dependency=afterok:{held}")
    late = submit(script, "--begin=now+3600")
    full = [submit(script, "--exclusive") for _ in range(4)]
    wait_for("the last to have a reason", lambda: one(full[3]).reason)
    reasons = {name: one(job).reason for name, job in (("held", held), ("after", after), ("late", late))}
    assert reasons == {"held": "JobHeldUser", "after": "Dependency", "late": "BeginTime"}
    assert one(full[3]).reason in ("Resources", "Priority")
    for job in (held, after, late, full[3]):
        assert slurm.explain(one(job).reason) != one(job).reason
    slurm.cancel([held])
    wait_for("the dependency to fail", lambda: one(after).reason == "DependencyNeverSatisfied")


def test_a_drained_cluster_is_a_reason_to_wait(idle: Cluster, script: Path) -> None:
    idle.drain("node2")
    job_id = submit(script, "--nodelist=node2")
    wait_for("a reason", lambda: one(job_id).reason not in ("", "Priority"))
    assert slurm.explain(one(job_id).reason).startswith("a node that it needs"), one(job_id)
    idle.resume("node2")
    assert until("RUNNING", job_id).node == "node2"


def test_a_signal_for_the_script_alone(script: Path) -> None:
    job_id = submit(script)
    wait_for("its first line", lambda: log(script, job_id))
    slurm.cancel([job_id], signal="TERM")
    ended = until("FAILED", job_id)
    assert ended.reason == "NonZeroExitCode"
    assert log(script, job_id)[-1] == "term"


def test_requeued_by_hand_by_preemption_and_by_a_lost_node(idle: Cluster, script: Path) -> None:
    by_hand = submit(script, "--requeue", "--nodelist=node1")
    preempted = submit(script, "--requeue", "--partition=spare", "--exclusive", "--nodelist=node2")
    lost = submit(script, "--requeue", "--nodelist=node3")
    jobs = (by_hand, preempted, lost)

    def again(job_id: str) -> bool:
        return log(script, job_id)[-1].startswith("start 1")

    for job_id in jobs:
        wait_for(f"job {job_id}", partial(log, script, job_id))
    slurm.requeue(by_hand)
    first = submit(script, "--exclusive", "--nodelist=node2")
    wait_for("the other to start", lambda: log(script, first))
    slurm.cancel([first])
    idle.down("node3")
    idle.resume("node3")
    for job_id in jobs:
        wait_for(f"job {job_id} to start again", partial(again, job_id))
        assert [line.split(" on ")[0] for line in log(script, job_id)] == ["start 0", "term", "start 1"]
    slurm.requeue(by_hand)
    slurm.requeue(by_hand)  # It waits already.
    with pytest.raises(UserError, match=r"could not requeue job 999999 \(Invalid job id.*\): resume"):
        slurm.requeue("999999")


def test_the_time_limit_is_a_state(idle: Cluster, script: Path) -> None:
    job_id = submit(script, "--signal=B:TERM@40", "--time=1")
    deaf = script.with_name("deaf.sh")
    deaf.write_text("#!/bin/bash\nexec sleep 600\n", encoding="utf-8")
    stopped = submit(deaf, "--time=1")
    wait_for("its first line", lambda: log(script, job_id))
    until("RUNNING", stopped)
    idle.end_now(job_id, in_s=40)
    idle.end_now(stopped)
    wait_for("the warning", lambda: log(script, job_id)[-1] == "term", within_s=60)
    assert until("FAILED", job_id).reason == "NonZeroExitCode", "warned, it ended by itself"
    wait_for("the limit", lambda: not one(stopped).active, within_s=60)
    assert one(stopped).state == "TIMEOUT"


@pytest.mark.parametrize(
    ("option", "said", "remedy"),
    [
        ("--partition=long", "invalid partition specified: long", "choose one with --partition"),
        ("--constraint=a100", "Invalid feature specification", "set 'constraint' for this profile in the site file"),
        ("--time=9-00:00:00", "time limit is invalid", "choose a --time within it"),
        ("--gpus-per-node=4", "node configuration is not available", "no node has all of it"),
        ("--gres=tpu:1", "Invalid generic resource", "set 'gres'"),
        ("--cpus-per-task=99", "More processors requested than permitted", "ask for less"),
        ("--mem=9999999", "Memory specification", "ask for less"),
        ("--nodes=9", "Node count specification invalid", "ask for less"),
        ("--array=1-9999999", "Invalid job array specification", "MaxArraySize"),
        ("--nodelist=node9", "Invalid node name specified", "sinfo -N"),
        ("--made-up=1", "unrecognized option '--made-up=1'", "correct 'sbatch' in the site file"),
    ],
)
def test_refusals_in_slurms_words_with_the_remedy(script: Path, option: str, said: str, remedy: str) -> None:
    with pytest.raises(UserError) as refused:
        submit(script, option)
    told = str(refused.value)
    assert told.startswith("SLURM refused the job 'sleeper.sh' (")
    assert said in told
    assert remedy in told
    assert told.endswith(".")
    assert "\n" not in told
    assert "Try" not in told.split("): ")[1]
    assert option in told


def test_a_controller_that_does_not_answer(idle: Cluster, script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm, "TIMEOUT_S", 2.0)
    os.kill(idle.pids["slurmctld"], signal.SIGSTOP)
    try:
        with pytest.raises(UserError, match=r"no answer to `squeue` within 2 s: ask it with `scontrol ping`"):
            slurm.states(["1"])
        with pytest.raises(UserError, match=r"no answer to `sbatch` within 2 s"):
            submit(script)
    finally:
        os.kill(idle.pids["slurmctld"], signal.SIGCONT)


@pytest.mark.parametrize("program", ["sbatch", "squeue", "scancel", "scontrol"])
def test_nobody_listens(idle: Cluster, script: Path, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (idle.root / "slurm.conf").read_text(encoding="utf-8").splitlines()
    moved = ["SlurmctldPort=16999" if line.startswith("SlurmctldPort") else line for line in lines]
    conf = script.with_name("slurm.conf")
    # The timeout is also how long they try.
    conf.write_text("\n".join([*moved, "MessageTimeout=2"]), encoding="utf-8")
    monkeypatch.setenv("SLURM_CONF", str(conf))
    calls: dict[str, Callable[[], object]] = {
        "sbatch": lambda: submit(script),
        "squeue": lambda: slurm.states(["1"]),
        "scancel": lambda: slurm.cancel(["1"]),
        "scontrol": lambda: slurm.requeue("1"),
    }
    with pytest.raises(UserError, match=rf"controller did not answer `{program}` \(.*\): .*`scontrol ping`"):
        calls[program]()


def test_nothing_is_left_over(idle: Cluster, script: Path) -> None:
    job_id = submit(script)
    wait_for("its first line", lambda: log(script, job_id))
    assert any(process.command == "sleep 600" for process in idle.orphans(settle_s=0))
    slurm.cancel([job_id])
    assert idle.orphans() == []
