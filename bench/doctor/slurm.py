"""What of SLURM bites later: its settings, and the partition, features, devices and limits that jobs ask for."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.cluster.scripts import options
from bench.cluster.site import Partition, Site, limit_minutes
from bench.cluster.slurm import require
from bench.doctor.line import Line, failed, passed, warned
from bench.errors import UserError
from bench.profile import Profile

TIMEOUT_S = 20.0
OLDEST = (20, 11)
KILL_WAIT_S = 30
ARRAY = 100
"""Tasks that an array may have to have."""

UNUSABLE = re.compile(r"down|drain|drng|fail|maint|unk|boot|inval|planned_down|\*", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Nodes:
    """Nodes of one kind in one partition. `limit`: of its jobs, in SLURM's words. `default`: the partition is."""

    partition: str
    default: bool
    up: bool
    limit: str
    features: tuple[str, ...]
    gres: str
    count: int
    state: str

    @property
    def usable(self) -> bool:
        return UNUSABLE.search(self.state) is None


def lines(site: Site, profile: Profile, *, nodes: int, wanted: bool) -> Iterator[Line]:
    """`nodes`: that a job will want. `wanted`: there must be a SLURM here."""
    try:
        require()
        config = settings(ask("scontrol", "show", "config"))
    except UserError as error:
        sentence, _, remedy = str(error).rstrip(".").rpartition(": ")
        if wanted:
            yield failed("SLURM", sentence, remedy)
        else:
            yield warned("SLURM", f"{sentence}; runs on this machine alone need none", f"for a cluster: {remedy}")
        return
    yield version(config)
    yield from biting(config)
    listed = parse_sinfo(ask("sinfo", "--noheader", "--format=%P|%a|%l|%f|%G|%D|%T"))
    yield from partition(site, profile, listed, nodes)
    yield accepted(site, profile)


def ask(program: str, *words: str) -> str:
    """What it prints. Raises UserError where there is no answer."""
    done = _call(program, *words)
    if done.returncode:
        raise UserError(f"`{program}` failed ({_first(done.stderr)}): ask with `scontrol ping` whether SLURM runs.")
    return done.stdout


def _call(program: str, *words: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [program, *words], capture_output=True, text=True, timeout=TIMEOUT_S, check=False, errors="replace"
        )
    except FileNotFoundError:
        raise UserError(f"'{program}' is not on the PATH: load the site's module for SLURM.") from None
    except subprocess.TimeoutExpired:
        raise UserError(
            f"`{program}` gave no answer within {TIMEOUT_S:.0f} s: ask with `scontrol ping` whether SLURM runs."
        ) from None


def settings(text: str) -> dict[str, str]:
    """`scontrol show config`, by name."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}


def version(config: dict[str, str]) -> Line:
    said = config.get("SLURM_VERSION", "unknown")
    numbers = tuple(int(part) for part in re.findall(r"\d+", said)[:2])
    if numbers < OLDEST:
        return failed("SLURM", f"version {said}", "ask for SLURM 20.11 or newer")
    return passed("SLURM", f"version {said}, cluster {config.get('ClusterName', 'unnamed')}")


def biting(config: dict[str, str]) -> Iterator[Line]:
    """Settings that runs feel."""
    check = "SLURM: settings"
    found = []
    kill_wait_s = _number(config.get("KillWait"))
    if kill_wait_s is not None and kill_wait_s < KILL_WAIT_S:
        yield warned(
            check,
            f"KillWait is {kill_wait_s} s: so long a cancelled job may take to save",
            "keep checkpoints small, or ask for the usual 30 s",
        )
    elif kill_wait_s is not None:
        found.append(f"{kill_wait_s} s to save after a cancellation")
    array = _number(config.get("MaxArraySize"))
    if array is not None and array <= ARRAY:
        yield warned(check, f"MaxArraySize is {array}", f"allow at most {array - 1} trials or nodes a run")
    if "CANCEL" in config.get("PreemptMode", ""):
        yield warned(
            check, "preempted jobs are cancelled, not requeued", "go on with `sweepmark resume` after a preemption"
        )
    elif config.get("PreemptMode", "OFF") != "OFF":
        found.append("preempted jobs are requeued")
    if config.get("JobRequeue") == "0":
        found.append("JobRequeue is 0, which job scripts overrule by --requeue")
    yield passed(check, "; ".join(found) or "nothing that bites")


def parse_sinfo(text: str) -> list[Nodes]:
    found = []
    for line in text.splitlines():
        fields = [field.strip() for field in line.split("|")]
        if len(fields) != 7:
            raise UserError(
                f"sinfo answered {line[:100]!r}, not in the format asked for: see whether it is SLURM's own."
            )
        name, up, limit, features, gres, count, state = fields
        found.append(
            Nodes(
                partition=name.rstrip("*"),
                default=name.endswith("*"),
                up=up == "up",
                limit=limit,
                features=tuple(word for word in re.split(r"[,\s]+", features) if word not in ("", "(null)")),
                gres="" if gres == "(null)" else gres,
                count=int(count),
                state=state,
            )
        )
    return found


def partition(site: Site, profile: Profile, listed: list[Nodes], nodes: int) -> Iterator[Line]:
    """The partition that jobs go to, its limit, and its nodes of the profile's kind."""
    check = "SLURM: partition"
    here = site.profiles.get(profile.name, Partition())
    asked = here.partition or site.partition or next((each.partition for each in listed if each.default), None)
    known = sorted({each.partition for each in listed})
    choose = f"set 'partition' in the site file to one of {', '.join(known) or 'none that are listed'}"
    if asked is None:
        yield failed(check, "none is named, and there is no default", choose)
        return
    inside = [each for name in asked.split(",") for each in listed if each.partition == name]
    if not inside:
        yield failed(check, f"there is no partition '{asked}'", choose)
        return
    if not any(each.up for each in inside):
        yield failed(check, f"partition '{asked}' takes no jobs now", choose)
        return
    yield limit(site, asked, inside)
    yield of_kind(here, profile, asked, inside, nodes)


def limit(site: Site, asked: str, inside: list[Nodes]) -> Line:
    """The site's time limit against the partition's."""
    check = "SLURM: time limit"
    widest = max((each.limit for each in inside), key=_minutes)
    said = f"{site.time} of at most {widest} in '{asked}'"
    if limit_minutes(site.time) > _minutes(widest):
        return failed(check, said, "set 'time' in the site file to the partition's limit, or less")
    return passed(check, said)


def of_kind(here: Partition, profile: Profile, asked: str, inside: list[Nodes], nodes: int) -> Line:
    """How many of the partition's nodes have the features and devices that jobs ask for."""
    check = "SLURM: nodes"
    constraint = profile.slurm.constraint if here.constraint is None else here.constraint
    gres = profile.slurm.gres if here.gres is None else here.gres
    features = re.findall(r"[A-Za-z_][\w.-]*", constraint or "")
    known = sorted({word for each in inside for word in each.features})
    alternatives = any(sign in (constraint or "") for sign in "|[")
    if missing := [word for word in features if word not in known]:
        return failed(
            check,
            f"no node of '{asked}' has the feature '{missing[0]}'",
            f"set 'constraint' for {profile.name} in the site file (known: {', '.join(known) or 'none'}; empty: any)",
        )
    enough = any if alternatives else all
    fit = [each for each in inside if not features or enough(word in each.features for word in features)]
    if not fit:
        return failed(
            check,
            f"no node of '{asked}' fulfils the constraint '{constraint}'",
            f"set 'constraint' for {profile.name} in the site file (known: {', '.join(known)})",
        )
    if profile.gpu is not None:
        wanted = f"gpu:{gres}" if gres else "gpu"
        fit = [each for each in fit if re.search(rf"\b{re.escape(wanted)}\b", each.gres)]
        if not fit:
            types = sorted({each.gres for each in inside if each.gres})
            return failed(
                check,
                f"no node of '{asked}' has devices '{wanted}'",
                f"set 'gres' or 'partition' for {profile.name} in the site file (known: {', '.join(types) or 'none'})",
            )
    total = sum(each.count for each in fit)
    usable = sum(each.count for each in fit if each.usable)
    said = f"{usable} of {total} in '{asked}' usable"
    if usable < nodes:
        return warned(check, f"{said}; {nodes} wanted", "wait for them, or choose fewer with --nodes")
    return passed(check, said)


def accepted(site: Site, profile: Profile) -> Line:
    """Whether SLURM would take a job such as a run's: asked, not submitted."""
    check = "SLURM: job"
    words = [
        word
        for option in options(
            site, profile, name="sweepmark-doctor", devices=profile.node.devices, log=Path("/dev/null")
        )
        for word in shlex.split(option)
    ]
    done = _call("sbatch", "--test-only", *words, "--wrap=true")
    said = _first(done.stderr)
    if done.returncode:
        asked = " ".join(
            word for word in words if not word.startswith(("--job-name", "--output", "--open-mode", "--signal"))
        )
        return failed(check, f"refused: {said}", f"correct the site file or ask for less (asked: {asked})")
    found = re.search(r"to start at (\S+)", done.stderr)
    return passed(check, f"would be taken{f', to start by {found[1]}' if found else ''}")


def _minutes(words: str) -> float:
    try:
        return float(limit_minutes(words))
    except ValueError:  # infinite
        return float("inf")


def _number(words: str | None) -> int | None:
    found = re.match(r"\d+", words or "")
    return int(found[0]) if found else None


def _first(stderr: str) -> str:
    lines = [re.sub(r"^\w+: (?:error|fatal): ", "", line).strip() for line in stderr.splitlines()]
    return next((line for line in lines if line), "no reason given")[:200]
