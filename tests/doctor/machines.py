"""Machines that are not there, whole or broken."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.cluster.site import Site
from bench.doctor.here import Machine
from bench.doctor.line import Line
from bench.probe import GpuDevice, Probe
from bench.profile import load_profile
from bench.workload import load_workload

V100 = GpuDevice(name="Tesla V100-SXM2-32GB", memory_mib=32_510, compute_capability=(7, 0))
A100 = GpuDevice(name="NVIDIA A100-SXM4-40GB", memory_mib=40_960, compute_capability=(8, 0))
BARE = Probe(
    no_gpu_reason="NVML library not found", cpu_model="x", cpus=20, memory_mib=300_000, os="Linux", kernel="6",
    python="3.11.2", torch="2.10.0+cpu", torch_archs=(),
)  # fmt: skip
NODE = replace(
    BARE, gpus=(V100,) * 8, no_gpu_reason=None, driver="580.65.06", cuda_driver="13.0", torch="2.10.0",
    torch_cuda="12.8", torch_archs=("sm_70", "sm_80"),
)  # fmt: skip
"""A whole node of the profile v100."""


def machine(results: Path, **changes: Any) -> Machine:
    whole: dict[str, Any] = {
        "where": "compute",
        "profile": load_profile("cpu"),
        "workload": load_workload("tiny-squad"),
        "site": Site(interface="lo"),
        "results": results,
        "probe": BARE,
    }
    return Machine(**{**whole, **changes})


def program(folder: Path, name: str, text: str) -> Path:
    """A shell script that stands for another program."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def first_on_path(folder: Path) -> str:
    return f"{folder}:{os.environ.get('PATH', os.defpath)}"


def statuses(lines: Sequence[Line]) -> dict[str, str]:
    return {line.check: line.status for line in lines}


def only(lines: Sequence[Line], check: str) -> Line:
    found = [line for line in lines if line.check == check]
    assert len(found) == 1, (check, lines)
    return found[0]
