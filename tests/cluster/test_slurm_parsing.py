"""bench.cluster.slurm against programs that answer what SLURM answers."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cluster import slurm
from bench.cluster.slurm import ENDED, JobState, explain, in_site_file
from bench.errors import UserError

Fake = Callable[..., Path]

UNKNOWN = "slurm_load_jobs error: Invalid job id specified"


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Puts a program on the PATH that answers this, whatever it is asked; gives the file of what it was asked."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def make(name: str, out: str = "", err: str = "", status: int = 0, body: str = "") -> Path:
        asked = tmp_path / f"{name}.asked"
        script = tmp_path / name
        script.write_text(
            f'#!/bin/sh\nprintf "%s\\n" "$*" >>{asked}\n{body}\nprintf %s {shlex.quote(out)}\n'
            f"printf %s {shlex.quote(err)} >&2\nexit {status}\n",
            encoding="utf-8",
        )
        script.chmod(0o755)
        return asked

    return make


def test_every_kind_of_line(fake: Fake) -> None:
    asked = fake(
        "squeue",
        "12|3|PENDING||N/A|2:00|JobArrayTaskLimit\n"
        "12|1|RUNNING|node2|1795256551|1-02:03:04|None\n"
        "12|2|TIMEOUT|node1|1795256551|0:00|TimeLimit\n"
        "9|N/A|PENDING||1795260000|10:00|ReqNodeNotAvail, UnavailableNodes:node3|odd\n"
        "10|N/A|CANCELLED||1795256555|10:00|JobHeldUser\n"
        "11|N/A|COMPLETING|node[1-2]|1795256556|UNLIMITED|None\n",
    )
    found = slurm.states(["12", "9", "10", "11"])
    assert found == [
        JobState(id="9", task=None, state="PENDING", reason="ReqNodeNotAvail, UnavailableNodes:node3|odd", node=None,
                 started_s=None, left_s=600.0),
        JobState(id="10", task=None, state="CANCELLED", reason="JobHeldUser", node=None, started_s=None, left_s=None),
        JobState(id="11", task=None, state="COMPLETING", reason="", node="node[1-2]", started_s=1795256556.0,
                 left_s=None),
        JobState(id="12", task=1, state="RUNNING", reason="", node="node2", started_s=1795256551.0, left_s=93_784.0),
        JobState(id="12", task=2, state="TIMEOUT", reason="TimeLimit", node="node1", started_s=1795256551.0,
                 left_s=None),
        JobState(id="12", task=3, state="PENDING", reason="JobArrayTaskLimit", node=None, started_s=None, left_s=120.0),
    ]  # fmt: skip
    assert [job.active for job in found] == [True, False, True, True, False, True]
    words = asked.read_text(encoding="utf-8").split()
    assert "--jobs=12,9,10,11" in words
    assert "--array" in words, "else pending tasks come as 3-5%2"


@pytest.mark.parametrize(
    "state",
    [
        "PENDING",
        "RUNNING",
        "SUSPENDED",
        "COMPLETING",
        "CONFIGURING",
        "REQUEUED",
        "REQUEUE_HOLD",
        "STOPPED",
        "NEWER_WORD",
    ],
)
def test_what_may_still_do_something(state: str) -> None:
    job = JobState(id="1", task=None, state=state, reason="", node=None, started_s=None, left_s=None)
    assert job.active
    assert state not in ENDED


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0:00", 0), ("1:57", 117), ("59:59", 3599), ("1:00:00", 3600), ("7-00:00:01", 604_801), ("UNLIMITED", None),
     ("INVALID", None), ("NOT_SET", None), ("N/A", None), ("", None)],
)  # fmt: skip
def test_time_left(fake: Fake, text: str, seconds: int | None) -> None:
    fake("squeue", f"1|N/A|RUNNING|n|1|{text}|None\n")
    assert slurm.states(["1"])[0].left_s == seconds


@pytest.mark.parametrize("line", ["12 RUNNING", "12|1-3%2|PENDING||N/A|2:00|None", "JOBID|N/A|a|b|c|d|e", "Welcome!"])
def test_an_answer_in_another_format_is_told(fake: Fake, line: str) -> None:
    fake("squeue", f"{line}\n")
    with pytest.raises(UserError, match=r"squeue answered .* not in the format"):
        slurm.states(["1"])


def test_forgotten_jobs_do_not_hide_the_others(fake: Fake) -> None:
    # As versions that refuse the whole list: only job 7 is known.
    body = (
        f'case "$*" in *--jobs=7) echo "7|N/A|RUNNING|n|5|1:00|None"; exit 0;; *) echo "{UNKNOWN}" >&2; exit 1;; esac'
    )
    asked = fake("squeue", body=body)
    assert [job.id for job in slurm.states(["5", "7", "5"])] == ["7"]
    assert len(asked.read_text(encoding="utf-8").splitlines()) == 3
    assert slurm.states(["5"]) == []
    assert slurm.states([]) == []


def test_reading_does_not_depend_on_the_users_settings(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"LC_ALL": "de_DE", "SLURM_TIME_FORMAT": "relative", "SQUEUE_STATES": "PENDING"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SCANCEL_INTERACTIVE", "1")
    fake("squeue", body='[ "$LC_ALL $SLURM_TIME_FORMAT ${SQUEUE_STATES-none}" = "C %s none" ] || echo wrong')
    assert slurm.states(["1"]) == []
    fake("scancel", body='[ -z "${SCANCEL_INTERACTIVE-}" ] || echo "asks" >&2')
    slurm.cancel(["1"])
    # What sbatch gets, jobs get.
    fake("sbatch", body='[ "$LC_ALL $SLURM_TIME_FORMAT" = "de_DE relative" ] && echo 5')
    assert slurm.submit(Path("x.sh")) == "5"


@pytest.mark.parametrize(
    ("out", "job_id"),
    [("17\n", "17"), ("17;other\n", "17"), ("Your budget: 3 h\n\n17\n", "17"), ("17", "17")],
)
def test_the_id_of_a_new_job(fake: Fake, out: str, job_id: str) -> None:
    asked = fake("sbatch", out, err="sbatch: warning: can't run 1 process on 2 nodes")
    assert slurm.submit(Path("a folder/x.sh"), "--array=1-3", "--time=5") == job_id
    assert asked.read_text(encoding="utf-8") == "--parsable --array=1-3 --time=5 a folder/x.sh\n"


def test_no_id_is_told(fake: Fake) -> None:
    fake("sbatch", "Submitted\n")
    with pytest.raises(UserError, match="answered 'Submitted' where a job's id was expected"):
        slurm.submit(Path("x.sh"))


FAILED = "sbatch: error: Batch job submission failed: "


@pytest.mark.parametrize(
    ("err", "told"),
    [
        ("sbatch: error: invalid partition specified: nope\n" + FAILED + "Invalid partition name specified",
         "SLURM refused the job 'x.sh' (invalid partition specified: nope; Batch job submission failed: Invalid "
         "partition name specified; given: --partition=nope): `sinfo -s` lists the partitions: choose one with "
         "--partition."),
        (FAILED + "Invalid account or account/partition combination specified",
         "; given: --account=proj --partition=nope): `sacctmgr show associations user=$USER` lists your accounts"),
        (FAILED + "Invalid feature specification", "; given: --constraint=a100): `sinfo -o '%N %f'`"),
        (FAILED + "Requested time limit is invalid (missing or exceeds some limit)", "; given: --partition=nope "
         "--time=9-0): `sinfo -o '%P %l'`"),
        (FAILED + "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
         "wait until others of your jobs are over"),
        ("sbatch: error: QOSMaxSubmitJobPerUserLimit\n" + FAILED + "Job violates accounting/QOS policy (...)",
         "wait until others of your jobs are over"),
        (FAILED + "Invalid qos specification", "set 'qos' in the site file"),
        ("sbatch: error: Memory specification can not be satisfied\n" + FAILED
         + "Requested node configuration is not available", "no node has all of it"),
        (FAILED + "User's group not permitted to use this partition", "choose one with --partition"),
        (FAILED + "Required partition not available (inactive or drain)", "choose one with --partition"),
        (FAILED + "Access/permission denied", "ask your site's administrators"),
        (FAILED + "Something \x1b[31mnew", "(Batch job submission failed: Something [31mnew): change what it names"),
        ("", "(no reason given): change what it names"),
    ],
)  # fmt: skip
def test_refusals_in_a_sentence(fake: Fake, err: str, told: str) -> None:
    fake("sbatch", err=err, status=1)
    options = ("--account=proj", "--partition=nope", "--constraint=a100", "--time=9-0")
    with pytest.raises(UserError) as refused:
        slurm.submit(Path("x.sh"), *options)
    said = str(refused.value)
    assert told in said
    assert said.isprintable()
    assert said.endswith(".")


CALLS: dict[str, Callable[[], object]] = {
    "sbatch": lambda: slurm.submit(Path("x.sh")),
    "squeue": lambda: slurm.states(["1", "2"]),
    "scancel": lambda: slurm.cancel(["1", "2_3"]),
    "scontrol": lambda: slurm.requeue("1"),
}


@pytest.mark.parametrize("program", CALLS)
@pytest.mark.parametrize(
    ("err", "told"),
    [
        ("slurm_load_jobs error: Unable to contact slurm controller (connect failure)", "controller did not answer"),
        ("error: Socket timed out on send/recv operation", "controller did not answer"),
        ("Zero Bytes were transmitted or received", "controller did not answer"),
        ("x: error: fetch_config: DNS SRV lookup failed\nx: fatal: Could not establish a configuration source",
         r"finds no cluster .*: go to a login node of the cluster, or set SLURM_CONF"),
    ],
)  # fmt: skip
def test_no_controller(fake: Fake, program: str, err: str, told: str) -> None:
    fake(program, err=err, status=1)
    with pytest.raises(UserError, match=told) as failed:
        CALLS[program]()
    assert f"`{program}`" in str(failed.value)


@pytest.mark.parametrize("program", CALLS)
def test_no_answer_in_time(fake: Fake, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm, "TIMEOUT_S", 0.3)
    fake(program, body="exec sleep 30")
    with pytest.raises(UserError, match=f"no answer to `{program}` within 0.3 s: ask it with `scontrol ping`"):
        CALLS[program]()


@pytest.mark.parametrize("program", CALLS)
def test_no_slurm(tmp_path: Path, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=rf"no SLURM here \('{program}' is not on the PATH\).*`sweepmark run`"):
        CALLS[program]()
    with pytest.raises(UserError, match=r"no SLURM here \('sbatch'"):
        slurm.require()


def test_slurm_is_there(fake: Fake) -> None:
    for program in CALLS:
        fake(program)
    slurm.require()


def test_cancel(fake: Fake) -> None:
    asked = fake("scancel", err="scancel: error: Kill job error on job id 9: Invalid job id specified\n")
    slurm.cancel(["9", "12_3"])
    slurm.cancel(["12"], signal="TERM")
    slurm.cancel([])
    assert asked.read_text(encoding="utf-8") == "9 12_3\n--signal=TERM --batch 12\n"
    fake(
        "scancel",
        err="scancel: error: Kill job error on job id 9: Job/step already completing or completed\n",
        status=1,
    )
    slurm.cancel(["9"])
    # The exit status says nothing.
    fake("scancel", err="scancel: error: Kill job error on job id 9: Access/permission denied\n")
    with pytest.raises(
        UserError, match=r"could not cancel 8, 9 \(Kill job error on job id 9: Access/permission denied\)"
    ):
        slurm.cancel(["8", "9"])


def test_requeue(fake: Fake) -> None:
    asked = fake("scontrol")
    slurm.requeue("12_3")
    assert asked.read_text(encoding="utf-8") == "requeue 12_3\n"
    fake("scontrol", err="Job is pending execution for job 13\n", status=1)
    slurm.requeue("13")
    fake("scontrol", err="Requested operation is presently disabled for job 13\n", status=1)
    with pytest.raises(
        UserError, match=r"could not requeue job 13 \(Requested operation.*\): resume the run instead\."
    ):
        slurm.requeue("13")


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("Priority", "other jobs come first"),
        ("DependencyNeverSatisfied", "cancel it, then resume the run"),
        ("QOSMaxJobsPerUserLimit", "a limit of its quality of service (QOSMaxJobsPerUserLimit)"),
        ("AssocGrpNodeLimit", "a limit of the account (AssocGrpNodeLimit)"),
        ("JobArrayTaskLimit,None", "(JobArrayTaskLimit,None)"),
        ("ReqNodeNotAvail, UnavailableNodes:node[1-3]", "(ReqNodeNotAvail, UnavailableNodes:node[1-3])"),
        ("BrandNew", "BrandNew"),
        ("", ""),
    ],
)
def test_reasons_in_words(reason: str, words: str) -> None:
    assert words in explain(reason)


def test_advice_for_a_command_without_options_of_jobs_names_the_site_file() -> None:
    """Whatever advice there is: none of submit's own options is left."""
    advice = [*slurm._REASONS.values(), *(remedy for _, _, remedy in slurm._REFUSALS)]
    for told in map(in_site_file, advice):
        assert not re.search(r"--(partition|account|time)|cancel it and", told), told
    assert in_site_file("wait, or choose another --account") == "wait, or set another 'account' in the site file"
    assert in_site_file(explain("Priority")) == "other jobs come first"
    assert explain("Priority") == "other jobs come first: a run submitted with a smaller --time may start earlier"
