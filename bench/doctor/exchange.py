"""A small all-reduce between the workers of a node, or of several: does it work, is the sum right, how fast is it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from bench.cluster.address import interface_of
from bench.cluster.site import Site
from bench.doctor.line import Line, failed, passed
from bench.probe import Probe
from bench.profile import Profile

MIB = 16
ROUNDS = 5
DEADLINE_S = 60.0
POLL_S = 0.05
SAID_MOST = 200
WORKER = (sys.executable, "-m", "bench.doctor.exchange_worker")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one process said; `problem`: why it said nothing (empty: it did)."""

    right: bool = False
    seconds: float = 0.0
    offsets_s: tuple[float, ...] = ()
    nccl: str | None = None
    problem: str = ""


def backend_of(profile: Profile, probe: Probe) -> str:
    """NCCL where the profile's GPUs are seen and PyTorch is built for CUDA, else gloo."""
    return "nccl" if profile.gpu is not None and probe.gpus and probe.torch_cuda else "gloo"


def within(
    profile: Profile, probe: Probe, site: Site, *, deadline_s: float = DEADLINE_S, worker: Sequence[str] = WORKER
) -> Line:
    """Between the workers of this node: a process for each GPU, or two on CPUs."""
    backend = backend_of(profile, probe)
    world = len(probe.gpus) if backend == "nccl" else 2
    address = "127.0.0.1"
    with tempfile.TemporaryDirectory(prefix="sweepmark-doctor-") as folder:
        parts = [
            part(
                Path(folder), rank, world, backend, address, site, deadline_s,
                device=f"cuda:{rank}" if backend == "nccl" else "cpu",
            )
            for rank in range(world)
        ]  # fmt: skip
        outcomes = run(parts, deadline_s, worker)
    return told("all-reduce", outcomes, world, backend, "" if backend == "nccl" else f" over {parts[0]['interface']}")


def part(
    folder: Path, rank: int, world: int, backend: str, address: str, site: Site, deadline_s: float, *, device: str
) -> dict[str, Any]:
    """What a process is told. `address`: its node's."""
    return {
        "rank": rank, "world": world, "backend": backend, "device": device, "address": address, "folder": str(folder),
        "mib": MIB, "rounds": ROUNDS, "deadline_s": deadline_s, "interface": site.interface or interface_of(address),
    }  # fmt: skip


def run(parts: Sequence[dict[str, Any]], deadline_s: float, worker: Sequence[str] = WORKER) -> list[Outcome]:
    """Each part in a process of its own on this node, all ended after the deadline."""
    deadline = time.monotonic() + deadline_s
    with ExitStack() as stack:
        started: list[tuple[subprocess.Popen[str], IO[str], IO[str]]] = []
        for one in parts:
            out, err = (stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8")) for _ in range(2))
            process = subprocess.Popen(
                [*worker, json.dumps(one)], stdin=subprocess.DEVNULL, stdout=out, stderr=err, text=True,
                env={**os.environ, **_variables(one)},
            )  # fmt: skip
            stack.callback(process.wait)
            stack.callback(process.kill)
            started.append((process, out, err))
        # One that fails leaves the others waiting for it.
        while time.monotonic() < deadline and any(process.poll() is None for process, *_ in started):
            if any(process.poll() for process, *_ in started):
                break
            time.sleep(POLL_S)
        outcomes = []
        codes = [process.poll() for process, *_ in started]
        for code, (_, said, complaint) in zip(codes, started, strict=True):
            said.seek(0)
            complaint.seek(0)
            outcomes.append(_outcome(code, said.read(), complaint.read(), deadline_s))
    return outcomes


def _variables(one: dict[str, Any]) -> dict[str, str]:
    named = one["interface"]
    interfaces = {"GLOO_SOCKET_IFNAME": named, "NCCL_SOCKET_IFNAME": f"={named}"} if named else {}
    return {**interfaces, "OMP_NUM_THREADS": "1"}


def _outcome(code: int | None, out: str, err: str, deadline_s: float) -> Outcome:
    if code is None:
        return Outcome(problem=f"did not end within {deadline_s:.0f} s")
    lines = [line.strip() for line in err.splitlines() if line.strip()]
    if code:
        return Outcome(problem=(lines or [f"ended with status {code}"])[-1][:SAID_MOST])
    try:
        said = json.loads(out.splitlines()[-1])
        return Outcome(**{**said, "offsets_s": tuple(said["offsets_s"])})
    except (IndexError, ValueError, TypeError, KeyError):
        return Outcome(problem=f"said {out[-SAID_MOST:].strip()!r}")


def told(check: str, outcomes: Sequence[Outcome], world: int, backend: str, over: str, first: int = 0) -> Line:
    """`world`: how many processes took part, `outcomes`: of those of this node, from rank `first` on."""
    what = f"{'NCCL' if backend == 'nccl' else backend} between {world} processes{over}"
    if problems := [(rank, outcome.problem) for rank, outcome in enumerate(outcomes, first) if outcome.problem]:
        # The first one that failed, rather than one that waited for it.
        rank, problem = min(problems, key=lambda each: each[1].startswith("did not end"))
        return failed(
            check, f"{what}: process {rank} {problem}",
            "see that the nodes' network lets them through, and name it as the site file's 'interface'",
        )  # fmt: skip
    if not all(outcome.right for outcome in outcomes):
        return failed(
            check, f"{what}: the sum is wrong", "take this node out of use and tell the site: it corrupts data"
        )
    seconds = max(outcome.seconds for outcome in outcomes)
    gb_s = 2 * (world - 1) / world * MIB * 2**20 / seconds / 1e9
    version = next((f" {outcome.nccl}" for outcome in outcomes if outcome.nccl), "")
    if world == 1:
        return passed(check, f"NCCL{version} starts on the one GPU; there is no other to talk to")
    return passed(
        check,
        f"{what}: {MIB} MiB summed rightly in {seconds * 1000:.0f} ms, {gb_s:.2f} GB/s{version and f', NCCL{version}'}",
    )
