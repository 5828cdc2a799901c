"""SLURM's own programs: the one place that calls sbatch, squeue, scancel and scontrol (20.11 or newer).

Their text formats are read, never `--json`, whose layout differs from version to version.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UserError

TIMEOUT_S = 60.0
"""Of each call. SLURM's programs try again for a while by themselves where the controller is busy."""

ENDED = frozenset({
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "LAUNCH_FAILED", "NODE_FAIL", "OUT_OF_MEMORY",
    "PREEMPTED", "RECONFIG_FAIL", "REVOKED", "TIMEOUT",
})  # fmt: skip
"""States that a job does not leave by itself."""

# The reason last: it alone may hold anything.
_FORMAT = "%F|%K|%T|%N|%S|%L|%r"
_NOTHING = ("", "None", "N/A", "(null)")
_UNREACHABLE = re.compile(
    r"unable to contact|connect failure|connection refused|timed out|zero bytes|controller.*(down|not respond)"
    r"|communication (connection|shutdown|receive|send)|unexpected message received",
    re.IGNORECASE,
)
_UNCONFIGURED = re.compile(r"configuration source|fetch_config|unable to (process|open|read) \S*conf", re.IGNORECASE)
_UNKNOWN_JOB = re.compile(r"invalid job id", re.IGNORECASE)
_OVER = re.compile(r"already (completing|completed|finished)|invalid job id", re.IGNORECASE)
_CHECK = "ask it with `scontrol ping`, see in `squeue --me` what was done, and try again"
_SEEN = r"`sinfo -o '%P %l %f %G %c %m'` shows each partition's limit, features, devices, cores and memory"

_REFUSALS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    (r"policy|limit.*(reached|exceeded)|maxsubmit", ("account", "qos", "array"),
     "wait until others of your jobs are over, ask for less, or choose another --account"),
    (r"time limit|--time spec", ("time", "partition"),
     "`sinfo -o '%P %l'` lists each partition's limit: choose a --time within it"),
    (r"partition (name )?specified|partition not available|use this partition", ("partition",),
     "`sinfo -s` lists the partitions: choose one with --partition"),
    (r"account", ("account", "partition"),
     "`sacctmgr show associations user=$USER` lists your accounts: choose one with --account"),
    (r"qos", ("qos",),
     "`sacctmgr show associations user=$USER format=account,qos` lists yours: set 'qos' in the site file"),
    (r"feature", ("constraint",),
     "`sinfo -o '%N %f'` lists the features of nodes: set 'constraint' for this profile in the site file"),
    (r"array", ("array",),
     "`scontrol show config` tells MaxArraySize: allow fewer trials or nodes"),
    (r"gres|generic resource", ("gres", "gpus-per-node"),
     "`sinfo -o '%N %G'` lists the devices of nodes: set 'gres' for this profile in the site file"),
    (r"(node|partition) (configuration|count)|memory spec|cpu count|processors",
     ("partition", "constraint", "gres", "gpus-per-node", "cpus-per-task", "mem", "nodes"),
     f"no node has all of it; {_SEEN}: ask for less, or choose another --partition"),
    (r"node name", ("nodelist", "exclude"), "`sinfo -N` lists the nodes: correct 'sbatch' in the site file"),
    (r"unrecognized option|option requires|invalid option", (),
     "correct 'sbatch' in the site file, which adds options, or ask for SLURM 20.11 or newer"),
    (r"denied|permission", ("account", "partition"), "ask your site's administrators for access"),
)  # fmt: skip
"""What SLURM says, the options that it may be about, and what can be done."""

_REASONS = {
    "AssocGrpCPUMinutesLimit": "the account's budget of CPU time is used up: choose another --account",
    "AssocGrpGRESMinutes": "the account's budget of device time is used up: choose another --account",
    "AssocMaxJobsLimit": "the account runs as many jobs as it may: it starts when one of them ends",
    "BadConstraints": "no node can ever fulfil what it asks for: cancel it and correct the constraint",
    "BeginTime": "it may not start before a set time (a requeued job waits up to two minutes)",
    "Cleaning": "what is left of its last start is being cleaned away",
    "Dependency": "it waits for another job of the run",
    "DependencyNeverSatisfied": "the job that it waited for has failed: cancel it, then resume the run",
    "InvalidAccount": "the account is not valid any more: cancel it and submit with another --account",
    "InvalidQOS": "the quality of service is not valid any more: cancel it and correct 'qos' in the site file",
    "JobArrayTaskLimit": "as many tasks of its array run as may at once: it starts when one of them ends",
    "JobHeldAdmin": "an administrator holds it: ask them",
    "JobHeldUser": "it is held: release it with `scontrol release`",
    "JobLaunchFailure": "its script could not be started, or was killed: see its log",
    "Licenses": "it waits for a licence",
    "NodeDown": "a node that it needs is down",
    "NonZeroExitCode": "it ended with an error: see its log",
    "PartitionConfig": "it asks for more than its partition allows: cancel it and choose another --partition or less",
    "PartitionDown": "its partition takes no jobs now: wait, or cancel it and choose another --partition",
    "PartitionInactive": "its partition starts no jobs now: wait, or cancel it and choose another --partition",
    "PartitionNodeLimit": "it asks for more nodes than its partition gives: cancel it and choose fewer with --nodes",
    "PartitionTimeLimit": "its time limit is above its partition's: cancel it and choose a smaller --time",
    "Prolog": "its node is being prepared",
    "Priority": "other jobs come first: a run submitted with a smaller --time may start earlier",
    "ReqNodeNotAvail": "a node that it needs is reserved, drained or down: wait, or ask for other nodes",
    "Reservation": "it waits for its reservation to begin",
    "Resources": "it is next, when nodes become free: a run submitted with a smaller --time may start earlier",
    "TimeLimit": "it reached its time limit: resume the run",
}


_SITE_WORDS = (
    (r": a run submitted with a smaller --time may start earlier", ""),
    (r"cancel it and ", ""),
    (r"(?:choose|submit with) one with --(\w+)", r"set '\1' in the site file"),
    (r"(?:choose|submit with) another --(\w+)", r"set another '\1' in the site file"),
    (r"choose a (?:--time within it|smaller --time)", "set 'partition' in the site file to one that allows it"),
)
"""Advice of submit's options, and what is to be said where there are none."""


@dataclass(frozen=True, kw_only=True)
class JobState:
    """A job, or one task of an array. `id`: of the whole array where it is one. `task`: None where it is none.
    `state`: SLURM's word, such as PENDING, RUNNING or NODE_FAIL. `reason`: why it is pending or ended, SLURM's word;
    empty where there is none. `node`: None before it has one. `started_s`: Unix time of its latest start. `left_s`:
    seconds to its time limit (of a pending one: all of it); None where it has none or has ended."""

    id: str
    task: int | None
    state: str
    reason: str
    node: str | None
    started_s: float | None
    left_s: float | None

    @property
    def active(self) -> bool:
        """It may still do something: pending, running, suspended, completing, requeued ..."""
        return self.state not in ENDED


def require() -> None:
    """Raises UserError where SLURM's programs are not on the PATH."""
    for program in ("sbatch", "squeue", "scancel", "scontrol"):
        if shutil.which(program) is None:
            raise _absent(program)


def submit(script: Path, *options: str) -> str:
    """The id of the new job, or of the new array. Raises UserError, with SLURM's own words, where it is refused."""
    done = _call("sbatch", "--parsable", *options, str(script))
    if done.returncode != 0:
        said = _said(done.stderr) or "no reason given"
        given, remedy = _refusal(said, options)
        raise UserError(f"SLURM refused the job '{script.name}' ({said}{given}): {remedy}.")
    # A site's own sbatch may print more; a federated one adds the cluster's name.
    ids = re.findall(r"^(\d+)(?:;\S*)?$", done.stdout, re.MULTILINE)
    if not ids:
        raise UserError(
            f"sbatch answered {done.stdout.strip()[:200]!r} where a job's id was expected: see whether `squeue --me` "
            "shows the job, and whether `sbatch` is SLURM's own."
        )
    return str(ids[-1])


def states(ids: Sequence[str]) -> list[JobState]:
    """Of these jobs, with every task of the arrays among them, in the order of ids and tasks, as long as SLURM knows
    them: some minutes after their end (a task that is cancelled before its turn it forgets at once). Raises UserError.
    """
    if not ids:
        return []
    done = _call("squeue", "--noheader", "--array", "--states=all", f"--format={_FORMAT}", f"--jobs={','.join(ids)}")
    if done.returncode == 0:
        return sorted(_parse(done.stdout), key=lambda job: (int(job.id), -1 if job.task is None else job.task))
    if not _UNKNOWN_JOB.search(done.stderr):
        raise UserError(f"SLURM could not list jobs ({_said(done.stderr)}): try `squeue --me`.")
    # One that it has forgotten makes it say nothing about the others.
    return [] if len(ids) == 1 else [job for one in dict.fromkeys(ids) for job in states([one])]


def cancel(ids: Sequence[str], *, signal: str | None = None) -> None:
    """Jobs, arrays or single tasks (`12_3`); those that are over or unknown are no error. `signal`: such as TERM, sent
    instead to the script's own process alone, which a job without steps needs `--batch` for. Raises UserError."""
    if not ids:
        return
    words = () if signal is None else (f"--signal={signal}", "--batch")
    done = _call("scancel", *words, *ids)
    # Its exit status is 0 after most errors.
    said = _said("\n".join(line for line in done.stderr.splitlines() if not _OVER.search(line)))
    if said:
        raise UserError(f"SLURM could not cancel {', '.join(ids)} ({said}): see `squeue --me` and try again.")


def requeue(job_id: str) -> None:
    """A running or ended job, or task (`12_3`), waits again, with the id that it has; a pending one goes on waiting.
    Raises UserError."""
    done = _call("scontrol", "requeue", job_id)
    if done.returncode != 0 and "pending" not in done.stderr:
        raise UserError(f"SLURM could not requeue job {job_id} ({_said(done.stderr)}): resume the run instead.")


def explain(reason: str) -> str:
    """A reason in words, with what can be done; unknown ones as they are. Several, or one with details (as in
    `ReqNodeNotAvail, UnavailableNodes:node3`), are given with their own words."""
    if reason in _REASONS:
        return _REASONS[reason]
    if reason.startswith("QOS"):
        return f"a limit of its quality of service ({reason}): it starts when others of your jobs are over"
    if reason.startswith("Assoc"):
        return f"a limit of the account ({reason}): it starts when others of its jobs are over"
    known = [_REASONS[word] for word in re.split(r"[,\s]+", reason) if word in _REASONS]
    return f"{known[0]} ({reason})" if known else reason


def in_site_file(advice: str) -> str:
    """The same advice for a command whose jobs are as the site file says: it has none of submit's options."""
    for pattern, instead in _SITE_WORDS:
        advice = re.sub(pattern, instead, advice)
    return advice


def _parse(text: str) -> Iterator[JobState]:
    for line in text.splitlines():
        fields = [field.strip() for field in line.split("|", 6)]
        if len(fields) != 7 or not fields[0].isdecimal() or not (fields[1].isdecimal() or fields[1] in _NOTHING):
            raise UserError(
                f"squeue answered {line[:200]!r}, not in the format that was asked for: see whether it is SLURM's own, "
                "20.11 or newer."
            )
        job_id, task, state, node, started, left, reason = fields
        yield JobState(
            id=job_id,
            task=int(task) if task.isdecimal() else None,
            state=state,
            reason="" if reason in _NOTHING else reason,
            node=None if node in _NOTHING else node,
            # What never had a node shows when it is expected to start, or when it was cancelled.
            started_s=float(started) if node not in _NOTHING and started.isdecimal() else None,
            left_s=None if state in ENDED else _seconds(left),
        )


def _seconds(text: str) -> float | None:
    """`1-02:03:04`, `2:03:04` or `3:04`; None for words such as UNLIMITED."""
    found = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", text)
    if found is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def _refusal(said: str, options: Sequence[str]) -> tuple[str, str]:
    """Which of the options it may be about, and what can be done."""
    for pattern, names, remedy in _REFUSALS:
        if re.search(pattern, said, re.IGNORECASE):
            given = [option for option in options if option.partition("=")[0].removeprefix("--") in names]
            return (f"; given: {' '.join(given)}" if given else ""), remedy
    return "", f"change what it names; {_SEEN}"


def _call(program: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Raises UserError where there is no SLURM, or no answer."""
    try:
        done = subprocess.run(
            [program, *words], env=_environment(program), stdin=subprocess.DEVNULL, capture_output=True,
            encoding="utf-8", errors="replace", timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise _absent(program) from None
    except subprocess.TimeoutExpired:
        raise UserError(f"SLURM gave no answer to `{program}` within {TIMEOUT_S:g} s: {_CHECK}.") from None
    # The exit status of scancel tells nothing; others warn and succeed.
    if done.returncode != 0 or program == "scancel":
        if _UNREACHABLE.search(done.stderr):
            raise UserError(f"SLURM's controller did not answer `{program}` ({_said(done.stderr)}): {_CHECK}.")
        if _UNCONFIGURED.search(done.stderr):
            raise UserError(
                f"SLURM's `{program}` finds no cluster ({_said(done.stderr)}): go to a login node of the cluster, or "
                "set SLURM_CONF to its slurm.conf."
            )
    return done


def _environment(program: str) -> dict[str, str] | None:
    """None: this process's own, which sbatch hands on to the job."""
    if program == "sbatch":
        return None
    # A user's own defaults would hide jobs, or ask questions.
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("SQUEUE_", "SCANCEL_"))}
    return {**mine, "LC_ALL": "C", "SLURM_TIME_FORMAT": "%s"}


def _said(stderr: str) -> str:
    """SLURM's own words, in a line, without the names of programs before them and any that come twice."""
    lines = (re.sub(r"^\w+: (error|fatal|warning|info): ", "", line).strip() for line in stderr.splitlines())
    printable = ("".join(char for char in line if char.isprintable()) for line in lines)
    return "; ".join(dict.fromkeys(line.rstrip(".") for line in printable if line))[:400]


def _absent(program: str) -> UserError:
    return UserError(
        f"There is no SLURM here ('{program}' is not on the PATH): go to a login node of the cluster, load the site's "
        "module for SLURM, or use `sweepmark run` for a run on this machine."
    )
