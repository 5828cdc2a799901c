"""Devices, CPUs and memory of faked nodes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.doctor import hardware
from bench.doctor.here import where
from bench.doctor.line import Line
from bench.probe import Probe
from bench.profile import load_profile
from tests.doctor.machines import A100, BARE, NODE, V100, only, statuses


def found(profile: str, probe: Probe, *, login: bool = False) -> list[Line]:
    return list(hardware.lines(load_profile(profile), probe, login=login))


def test_a_whole_node_passes() -> None:
    assert set(statuses(found("v100", NODE)).values()) == {"pass"}


def test_a_login_node_needs_no_gpu_and_says_that_it_has_none() -> None:
    (line,) = found("v100", BARE, login=True)
    assert line.status == "pass"
    assert "no GPU (NVML library not found)" in line.found


@pytest.mark.parametrize(
    ("probe", "status", "words"),
    [
        (BARE, "fail", "no GPU"),
        (replace(NODE, gpus=(A100,) * 8), "fail", "A100"),
        (replace(NODE, gpus=(replace(V100, mig=True),)), "fail", "MIG"),
        (replace(NODE, gpus=(V100,) * 7 + (replace(V100, memory_mib=16_160),)), "fail", "different memory"),
        (replace(NODE, gpus=(V100,) * 4), "warn", "4 x Tesla V100"),
    ],
)
def test_other_devices_than_the_profiles(probe: Probe, status: str, words: str) -> None:
    line = only(found("v100", probe), "devices")
    assert line.status == status
    assert words in line.found


def test_too_few_cpus_and_too_little_memory_are_warned_of() -> None:
    lines = found("v100", replace(NODE, cpus=4, memory_mib=8_000))
    assert (only(lines, "CPUs").status, only(lines, "memory").status) == ("warn", "warn")
    assert "--cpus-per-task=18" in only(lines, "CPUs").remedy
    lines = found("cpu", replace(BARE, cpus=1))
    assert only(lines, "CPUs").status == "warn"


def test_what_a_node_is(tmp_path: Path) -> None:
    v100, cpu = load_profile("v100"), load_profile("cpu")
    assert where(v100, BARE, {}) == "login"
    assert where(v100, NODE, {}) == "compute"
    assert where(cpu, NODE, {}) == "login"
    assert where(cpu, BARE, {"SLURM_JOB_ID": "7"}) == "compute"
