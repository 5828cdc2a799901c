"""The job of a worker: a node's devices, joined to the run's Ray for as long as there is something to do."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from bench.cluster.address import node_address
from bench.cluster.guard import guard_group
from bench.cluster.jobs import Submitted
from bench.cluster.meeting import LOST_S, Beating, Head, Held, Meeting, poll, started_s
from bench.engines.cores import first_cores, keep_to
from bench.engines.ray_local import ENVIRONMENT, OBJECT_STORE_BYTES, authentication, short_temporary
from bench.errors import UserError
from bench.probe import probe_machine, require_profile
from bench.profile import Profile, load_profile

HEAD_WAIT_S = 600.0
"""For the head's address: it has started before its workers may."""

SEARCH_OVER, HEAD_GONE, ANOTHER_HEAD = "the search is over", "the head is gone", "another head took over"

CONNECT_S = 2.0
LEAVE_S = 10.0


def work(run_folder: Path, submitted: Submitted, environ: Mapping[str, str] = os.environ) -> str:
    """Hold the node's devices for the run until its search is over, its head is gone, or SIGTERM. Returns why it left,
    in words. Raises UserError where the node is not what the run needs, or no head is found."""
    guard_group()
    meeting, study = Meeting(run_folder), submitted.read_study()
    profile = load_profile(study.profile)
    probe = probe_machine()
    held = Held(
        job=environ.get("SLURM_ARRAY_JOB_ID", "0"),
        worker=int(environ.get("SLURM_ARRAY_TASK_ID", "1")),
        start=int(environ.get("SLURM_RESTART_COUNT", "0")),
        devices=submitted.node_devices,
        since_s=started_s(),
        beat_s=time.time(),
        probe=probe.to_dict(),
    )
    beating = Beating(meeting, held)
    try:
        require_profile(study.profile, probe)
        if profile.gpu is not None and len(probe.gpus) < submitted.node_devices:
            raise UserError(
                f"This node shows {len(probe.gpus)} GPUs, and each of the run's needs {submitted.node_devices}: "
                "correct gres in the site file, or submit with fewer --devices."
            )
        return _serve(meeting, held, profile, submitted, study.trials_per_device)
    except KeyboardInterrupt:
        return "SLURM ended it"
    finally:
        beating.leave()


def _serve(meeting: Meeting, held: Held, profile: Profile, submitted: Submitted, sharing: int) -> str:
    address = node_address(submitted.site)
    found = _find(meeting)
    if isinstance(found, str):
        return found
    with tempfile.TemporaryDirectory(prefix="ray-", dir=short_temporary()) as folder:
        cpus = held.devices * profile.cpus_per_device
        if sharing > 1 and profile.gpu is None:
            keep_to(first_cores(cpus))  # trials inherit it
        node = _join(
            found, address, Path(folder), meeting.token,
            cpus=cpus * sharing, gpus=held.devices if profile.gpu is not None else 0, worker=held.worker,
        )  # fmt: skip
        print(f"Joined the head at {found.address} with {held.devices} devices.", flush=True)
        last_s = time.monotonic()

        def why_leave() -> str | None:
            nonlocal last_s
            if meeting.over:
                return SEARCH_OVER
            if node.poll() is not None:
                return f"Ray ended here with status {node.returncode}"
            now = meeting.head()
            if now is not None and now.attempt != found.attempt:
                return ANOTHER_HEAD
            if now is not None and _answers(found.address):
                last_s = time.monotonic()
            if time.monotonic() - last_s > LOST_S:
                return HEAD_GONE
            return None

        try:
            reason = poll(why_leave, every_s=0.5)
        finally:
            _end(node)
    if reason == ANOTHER_HEAD:
        return _serve(meeting, held, profile, submitted, sharing)
    return reason or ""


def _find(meeting: Meeting) -> Head | str:
    """The head, once it is there, or why to leave instead. Raises UserError."""
    answered_s = time.monotonic()

    def look() -> Head | str | None:
        nonlocal answered_s
        if meeting.over:
            return SEARCH_OVER
        head = meeting.head()
        if head is not None and _answers(head.address):
            return head
        if head is None:
            answered_s = time.monotonic()
        return HEAD_GONE if time.monotonic() - answered_s > LOST_S else None

    found = poll(look, deadline_s=HEAD_WAIT_S)
    if not isinstance(found, Head | str):
        raise UserError(f"No head of this run was found in {HEAD_WAIT_S:.0f} s: see its log, then resume the run.")
    return found


def _join(
    head: Head, address: str, folder: Path, token: Path, *, cpus: int, gpus: int, worker: int
) -> subprocess.Popen[bytes]:
    ray = Path(sys.executable).with_name("ray")
    # SIGTERM reaches all of a job: without this a raylet would wait half a minute, SLURM's patience, for its trials.
    environment = {"RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0", "SWEEPMARK_WORKER": str(worker)}
    with (folder / "ray.log").open("wb") as log:
        return subprocess.Popen(
            [
                str(ray),
                "start",
                f"--address={head.address}",
                f"--node-ip-address={address}",
                f"--num-cpus={cpus}",
                f"--num-gpus={gpus}",
                f"--temp-dir={folder}",
                f"--object-store-memory={OBJECT_STORE_BYTES}",
                "--block",
            ],
            env={**os.environ, **ENVIRONMENT, **authentication(token), **environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S):
            return True
    except OSError:
        return False


def _end(node: subprocess.Popen[bytes]) -> None:
    """End this node's Ray, and no other's; the guard ends what is left of it."""
    if node.poll() is None:
        node.send_signal(signal.SIGTERM)
        try:
            node.wait(LEAVE_S)
        except subprocess.TimeoutExpired:
            node.kill()
            node.wait()
