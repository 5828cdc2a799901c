"""A SLURM cluster of three virtual nodes on this machine, under a temporary folder, for as long as it is needed.

    python -m tests.cluster.throwaway --shell 'sinfo; sbatch --wrap hostname; squeue'

Needs root, Linux, and Debian's packages slurmctld, slurmd, slurm-client and munge (install.sh). A guard, a process of
its own, starts the daemons and ends them and all that their jobs left when its owner says so, or is no more.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "sinfo")
NODES = ("node1", "node2", "node3")
DEVICES = 2
USABLE = ("idle", "mixed", "allocated", "completing")
START_S = 60.0
END_S = 20.0
PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"

T = TypeVar("T")


def wait_for(what: str, found: Callable[[], T], within_s: float = 30.0) -> T:
    """The first truth that `found` gives. Raises TimeoutError, which says what was awaited and what there was."""
    deadline = time.monotonic() + within_s
    while not (value := found()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {within_s:.0f} s for {what}; last seen: {value!r}")
        time.sleep(0.05)
    return value


def missing() -> str:
    """Why no cluster can be had here; empty where one can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a throwaway SLURM cluster needs Linux and root"
    absent = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    return f"there is no {', '.join(absent)} here: tests/cluster/install.sh installs Debian's" if absent else ""


@dataclass(frozen=True, kw_only=True)
class Process:
    pid: int
    parent: int
    name: str
    command: str
    marked: bool


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """`root`: its folder, with logs. `pids`: of the daemons, by name (munged, slurmctld, node1 ...). Partitions: `gpu`
    (the default; its jobs preempt those of the other) and `spare` (low priority, jobs are requeued)."""

    root: Path
    pids: dict[str, int] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """To be merged into os.environ. SLURM hands it on to every job, so it also marks them."""
        return {"SLURM_CONF": str(self.root / "slurm.conf")}

    def scontrol(self, *words: str) -> str:
        return self._client("scontrol", *words)

    def drain(self, node: str) -> None:
        """What runs there may end; nothing new starts."""
        self.scontrol("update", f"NodeName={node}", "State=DRAIN", "Reason=test")

    def down(self, node: str) -> None:
        """As if it had failed: what runs there is killed, and requeued where it may be."""
        self.scontrol("update", f"NodeName={node}", "State=DOWN", "Reason=test")

    def resume(self, node: str) -> None:
        """Drained or down, it takes jobs again."""
        if self.state(node) not in USABLE:
            self.scontrol("update", f"NodeName={node}", "State=RESUME")
            wait_for(f"{node} to take jobs", lambda: self.state(node) in USABLE)

    def state(self, node: str) -> str:
        """In sinfo's word, such as idle, mixed, drained, down; "" where the controller does not answer."""
        try:
            said = self._client("sinfo", "--noheader", "--Node", f"--nodes={node}", "--format=%T", timeout_s=3)
        except (OSError, subprocess.TimeoutExpired):
            return ""
        # A line for each partition that has it.
        return said.split()[0] if said else ""

    def end_now(self, job_id: str, in_s: int = 1) -> None:
        """The job's time limit is reached in so many seconds (SLURM looks every half a minute)."""
        self.scontrol("update", f"JobId={job_id}", f"EndTime=now+{in_s}")

    def orphans(self, settle_s: float = 10.0) -> list[Process]:
        """What of its jobs and clients is still there, `settle_s` at most after the call. Daemons, the caller and what
        called it do not count."""
        daemons = ("munged", "slurmctld", "slurmscriptd", "slurmd")
        deadline = time.monotonic() + settle_s
        while True:
            table = processes(self.environment)
            own = set(_line(table, os.getpid()))
            left = [p for p in table.values() if p.marked and p.name not in daemons and p.pid not in own]
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(0.1)

    def clear(self) -> None:
        """No jobs, all nodes ready: as it was at first."""
        self._client("scancel", f"--user={os.getuid()}")
        for node in NODES:
            self.resume(node)
        wait_for("all jobs to be over", lambda: self._client("squeue", "--noheader") == "")

    def _client(self, *words: str, timeout_s: float = 20.0) -> str:
        environment = {**os.environ, **self.environment}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False)
        if done.returncode != 0:
            raise OSError(f"{' '.join(words)}: {done.stderr.strip()}")
        return done.stdout


@contextmanager
def throwaway_cluster(*, cpus: int = 4, memory_mib: int = 64_000) -> Iterator[Cluster]:
    """`cpus`, `memory_mib`: declared for each node, whatever the machine has. Raises RuntimeError with the daemons' own
    words where it does not come up."""
    guard = subprocess.Popen(
        [sys.executable, __file__, "--guard", str(os.getpid()), "--cpus", str(cpus), "--memory-mib", str(memory_mib)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert guard.stdin is not None
    assert guard.stdout is not None
    try:
        # Always one line: the guard has a deadline of its own.
        said = json.loads(guard.stdout.readline() or '{"error": "its guard died"}')
        if "error" in said:
            raise RuntimeError(f"No SLURM cluster came up: {said['error']}")
        yield Cluster(root=Path(said["root"]), pids=said["pids"])
    finally:
        guard.stdin.close()
        guard.wait(timeout=2 * END_S)
        guard.stdout.close()


def processes(environment: dict[str, str]) -> dict[int, Process]:
    """All of this machine. Marked: their environment, at their start, held all of `environment`."""
    marks = {f"{name}={value}".encode() for name, value in environment.items()}
    table = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            stat = (folder / "stat").read_text(encoding="utf-8", errors="replace")
            variables = (folder / "environ").read_bytes().split(b"\0")
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        name, _, rest = stat.partition("(")[2].rpartition(")")
        state, parent = rest.split()[:2]
        if state not in "ZX":
            pid = int(folder.name)
            table[pid] = Process(
                pid=pid, parent=int(parent), name=name, command=command, marked=marks <= set(variables)
            )
    return table


def _line(table: dict[int, Process], pid: int) -> Iterator[int]:
    """A process, its parent, and so on."""
    while pid in table:
        yield pid
        pid = table[pid].parent


def _guard(owner: int, cpus: int, memory_mib: int) -> None:
    """Starts the daemons, says so on standard output, waits for the owner, ends everything."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    watched = os.pidfd_open(owner)
    # Short: paths of sockets are limited to 107 bytes.
    root = Path(tempfile.mkdtemp(prefix="slurm", dir="/tmp"))
    root.chmod(0o755)
    cluster = Cluster(root=root)
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        try:
            claim = _start(cluster, daemons, cpus, memory_mib)
        except (OSError, TimeoutError) as error:
            logs = [log for log in sorted(root.glob("*.log")) if log.stat().st_size]
            tails = (f"{log.name}: {' / '.join(log.read_text(errors='replace').splitlines()[-4:])}" for log in logs)
            print(json.dumps({"error": "; ".join([str(error), *tails])}), flush=True)
            return
        with claim:
            print(json.dumps({"root": str(root), "pids": cluster.pids}), flush=True)
            select.select([sys.stdin, watched], [], [])
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        # The controller first: it would start what waits.
        for daemon in reversed(daemons):
            daemon.kill()
            daemon.wait()
        _kill_marked(cluster)
        shutil.rmtree(root, ignore_errors=True)


def _start(cluster: Cluster, daemons: list[subprocess.Popen[bytes]], cpus: int, memory_mib: int) -> socket.socket:
    """Fills `daemons` and the cluster's pids. Returns what holds its ports' claim."""
    root = cluster.root
    host = socket.gethostname().partition(".")[0]
    try:
        # Where the daemons listen, told to listen on the host name's address alone.
        address, narrow = socket.gethostbyname(socket.gethostname()), True
    except OSError:
        address, narrow = "127.0.0.1", False
    claim, port = _claim_ports(address, 1 + len(NODES))
    key = root / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))
    (root / "slurm.conf").write_text(_slurm_conf(root, host, address, port, cpus, memory_mib, narrow), encoding="utf-8")
    (root / "gres.conf").write_text(_gres_conf(root), encoding="utf-8")

    def daemon(name: str, *words: str) -> None:
        with (root / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                words, env={**os.environ, **cluster.environment, "PATH": PATH}, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, cwd=root, preexec_fn=_die_with_parent,
            )  # fmt: skip
        daemons.append(process)
        cluster.pids[name] = process.pid

    sock = root / "munge.socket"
    files = (f"--key-file={key}", f"--pid-file={root}/munge.pid", f"--seed-file={root}/munge.seed")
    daemon("munged", "munged", "--foreground", f"--socket={sock}", f"--log-file={root}/munge.log", *files)

    def alive() -> bool:
        ended = [name for name, process in zip(cluster.pids, daemons, strict=True) if process.poll() is not None]
        if ended:
            raise OSError(f"{', '.join(ended)} ended")
        return True

    wait_for("munged's socket", lambda: alive() and sock.exists(), START_S)
    for node in NODES:
        daemon(node, "slurmd", "-D", "-N", node, "-f", cluster.environment["SLURM_CONF"])
    daemon("slurmctld", "slurmctld", "-D", "-i", "-f", cluster.environment["SLURM_CONF"])
    wait_for(
        "all nodes to be idle",
        lambda: alive() and [cluster.state(node) for node in NODES] == ["idle"] * len(NODES),
        START_S,
    )
    return claim


def _claim_ports(address: str, count: int) -> tuple[socket.socket, int]:
    """The first of so many free ports, below those that systems give out by themselves. The claim, an abstract name,
    holds them against other clusters and is gone with its process."""
    for first in range(17_000, 20_000, 10):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0sweepmark-throwaway-{first}")
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind((address, port))
        except OSError:
            claim.close()
            continue
        return claim, first
    raise OSError("no free ports between 17000 and 20000")


def _slurm_conf(root: Path, host: str, address: str, port: int, cpus: int, memory_mib: int, narrow: bool) -> str:
    # cred_expire is also how long a requeued job waits: two minutes where it is not set.
    lines = [
        "ClusterName=throwaway",
        f"SlurmctldHost={host}({address})",
        f"SlurmctldPort={port}",
        "SlurmUser=root",
        "SlurmdUser=root",
        "AuthType=auth/munge",
        "CryptoType=crypto/munge",
        f"AuthInfo=socket={root}/munge.socket,cred_expire=5",
        *(["CommunicationParameters=NoInAddrAny,NoCtldInAddrAny"] if narrow else []),
        f"StateSaveLocation={root}/state",
        f"SlurmdSpoolDir={root}/%n",
        f"SlurmctldPidFile={root}/slurmctld.pid",
        f"SlurmdPidFile={root}/%n.pid",
        "ProctrackType=proctrack/linuxproc",
        "TaskPlugin=task/none",
        "MpiDefault=none",
        "MailProg=/bin/true",
        "SelectType=select/cons_tres",
        "SelectTypeParameters=CR_Core",
        "SlurmdParameters=config_overrides",
        "ReturnToService=1",
        "SchedulerType=sched/backfill",
        # A requeued job, when its delay is over, waits for the next turn of the scheduler: a minute by default.
        "SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=1,bf_interval=2",
        "PreemptType=preempt/partition_prio",
        "PreemptMode=REQUEUE",
        "KillWait=10",
        "EnforcePartLimits=ALL",
        "JobCompType=jobcomp/filetxt",
        f"JobCompLoc={root}/jobs.txt",
        "GresTypes=gpu",
    ]
    for offset, node in enumerate(NODES, start=1):
        (root / node).mkdir()
        for device in range(DEVICES):
            # Only devices are counted; these are other names of /dev/null.
            os.mknod(root / f"{node}-{device}", 0o020666, os.makedev(1, 3))
        lines.append(
            f"NodeName={node} NodeHostname={host} NodeAddr={address} Port={port + offset} CPUs={cpus} "
            f"CoresPerSocket={cpus} RealMemory={memory_mib} Feature=v100,gpu Gres=gpu:v100:{DEVICES}"
        )
    lines += [
        "PartitionName=gpu Nodes=ALL Default=YES MaxTime=1-00:00:00 DefaultTime=10 PriorityTier=10 PreemptMode=OFF",
        "PartitionName=spare Nodes=ALL MaxTime=1-00:00:00 DefaultTime=10 PriorityTier=1 PreemptMode=REQUEUE",
    ]
    return "\n".join(lines) + "\n"


def _gres_conf(root: Path) -> str:
    return "".join(f"NodeName={n} Name=gpu Type=v100 File={root}/{n}-[0-{DEVICES - 1}]\n" for n in NODES)


def _die_with_parent() -> None:
    """Where even the guard is killed (PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _kill_marked(cluster: Cluster) -> None:
    """Whatever its jobs started, with what that started under a cleaned environment."""
    deadline = time.monotonic() + END_S
    while time.monotonic() < deadline:
        table = processes(cluster.environment)
        own = set(_line(table, os.getpid()))
        doomed = {p.pid for p in table.values() if any(table[pid].marked for pid in _line(table, p.pid))} - own
        if not doomed:
            return
        for pid in doomed:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.05)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--shell", metavar="COMMAND", help="run this by bash (default: a shell to type in)")
    parser.add_argument("--guard", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--cpus", type=int, default=4, help="of each node")
    parser.add_argument("--memory-mib", type=int, default=64_000, help="of each node")
    given = parser.parse_args()
    if given.guard:
        _guard(given.guard, given.cpus, given.memory_mib)
        return 0
    if reason := missing():
        print(reason, file=sys.stderr)
        return 2
    with throwaway_cluster(cpus=given.cpus, memory_mib=given.memory_mib) as cluster:
        words = ["-c", given.shell] if given.shell else ["--norc", "-i"]
        environment = {**os.environ, **cluster.environment, "PS1": r"throwaway:\w# "}
        return subprocess.run(["bash", *words], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
