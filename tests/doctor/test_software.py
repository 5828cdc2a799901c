"""What is installed, on machines faked broken."""

from __future__ import annotations

import os
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest

import bench
from bench.cluster.site import Site
from bench.doctor import software
from bench.doctor.line import Check, Line, make
from bench.probe import Probe
from bench.profile import load_profile
from tests.containers.sifs import LABELS, write_sif
from tests.doctor.machines import A100, BARE, NODE, first_on_path, only, program, statuses


@pytest.fixture
def apptainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program(tmp_path / "bin", "apptainer", "exit 0")
    monkeypatch.setenv("PATH", first_on_path(tmp_path / "bin"))
    return tmp_path


def contained(site: Site, probe: Probe = NODE, *, login: bool = False) -> Line:
    (line,) = make(Check(name="container", lines=lambda: [software.container(site, probe, login=login)]))
    return line


def test_an_image_that_is_there_passes(apptainer: Path) -> None:
    path = write_sif(apptainer / "gpu.sif", labels={**LABELS, "sweepmark.cuda": "12.8"})
    assert contained(Site(container=path)).status == "pass"
    assert contained(Site(container=path), BARE, login=True).status == "pass"


@pytest.mark.parametrize("content", [None, b"no image", b""])
def test_an_image_that_is_missing_or_none_fails(apptainer: Path, content: bytes | None) -> None:
    path = apptainer / "gpu.sif"
    if content is not None:
        path.write_bytes(content)
    line = contained(Site(container=path))
    assert line.status == "fail"
    assert str(path) in line.found


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_image_that_cannot_be_read_fails(apptainer: Path) -> None:
    path = write_sif(apptainer / "gpu.sif")
    path.chmod(0)
    assert contained(Site(container=path)).status == "fail"


def test_an_older_driver_than_the_images_cuda_fails(apptainer: Path) -> None:
    path = write_sif(apptainer / "gpu.sif", labels={**LABELS, "sweepmark.cuda": "13.0"})
    line = contained(Site(container=path), replace(NODE, driver="525.60.13", cuda_driver="12.0"))
    assert line.status == "fail"
    assert "driver 580.65.06 or newer" in line.remedy


def test_no_runtime_fails_unless_a_module_may_bring_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    path = write_sif(tmp_path / "cpu.sif")
    assert contained(Site(container=path)).status == "fail"
    assert contained(Site(container=path, modules=("apptainer",))).status == "fail"
    assert contained(Site(container=path, modules=("apptainer",)), BARE, login=True).status == "warn"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (None, "there is no"),
        ("echo 0.0.1", "has Sweepmark 0.0.1"),
        ("echo \"ModuleNotFoundError: No module named 'bench'\" >&2; exit 1", "No module named"),
        ("sleep 60", "did not start within"),
    ],
)
def test_a_broken_environment_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, words: str
) -> None:
    monkeypatch.setattr(software, "TIMEOUT_S", 0.3)
    if script is not None:
        (tmp_path / "env").mkdir()
        program(tmp_path / "env" / "bin", "python", f"exec {script}" if script.startswith("sleep") else script)
        program(tmp_path / "env" / "bin", "sweepmark", "exit 0")
    line = software.environment(Site(environment=tmp_path / "env"))
    assert line.status == "fail"
    assert words in line.found


def test_an_environment_with_this_version_passes(tmp_path: Path) -> None:
    program(tmp_path / "bin", "python", f"echo {bench.__version__}")
    assert software.environment(Site(environment=tmp_path)).status == "fail", "it has no sweepmark"
    program(tmp_path / "bin", "sweepmark", "exit 0")
    assert software.environment(Site(environment=tmp_path)).status == "pass"
    assert software.environment(Site()).status == "pass"


def test_other_versions_than_the_locks_are_warned_of(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text(f"click=={version('click')}\nrich==0.0.1  # via x\nnever-heard-of==3.0\n", encoding="utf-8")
    line = software.packages(lock)
    assert line.status == "warn"
    assert f"rich {version('rich')} is installed instead of 0.0.1" in line.found
    assert "never" not in line.found, "what only developers need may be missing"
    lock.write_text(f"click=={version('click')}\nnever-heard-of==3.0\n", encoding="utf-8")
    assert software.packages(lock).status == "pass"


def test_a_missing_lock_is_warned_of(tmp_path: Path) -> None:
    assert software.packages(tmp_path / "requirements.lock").status == "warn"


def test_a_missing_package_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text(f"click=={version('click')}\n", encoding="utf-8")
    real = software.installed
    monkeypatch.setattr(software, "installed", lambda name: None if name == "pyarrow" else real(name))
    line = software.packages(lock)
    assert line.status == "fail"
    assert "pyarrow" in line.found


@pytest.mark.parametrize(
    ("probe", "check", "words"),
    [
        (replace(NODE, torch=None), "torch", "not installed"),
        (replace(NODE, torch="2.10.0+cpu", torch_cuda=None), "torch", "built for CPUs alone"),
        (replace(NODE, torch_archs=("sm_80", "sm_90")), "torch", "no kernels for the NVIDIA V100"),
        (replace(NODE, torch_cuda="13.0", cuda_driver="12.4", driver="550.1"), "driver", "serves CUDA 12.4"),
    ],
)
def test_a_torch_that_cannot_use_the_gpus_fails(probe: Probe, check: str, words: str) -> None:
    line = only(list(software.torch_build(load_profile("v100"), probe)), check)
    assert line.status == "fail"
    assert words in line.found


def test_a_torch_that_can_passes() -> None:
    whole = list(software.torch_build(load_profile("v100"), NODE))
    assert statuses(whole) == {"torch": "pass", "driver": "pass"}
    newer = replace(NODE, gpus=(A100,), torch_cuda="12.9", cuda_driver="12.2")
    assert statuses(list(software.torch_build(load_profile("a100"), newer)))["driver"] == "pass", "minor versions serve"
    # A login node: torch for CUDA, and no GPU that it would tell its kernels for.
    login = replace(BARE, torch="2.10.0", torch_cuda="12.8", torch_archs=())
    assert statuses(list(software.torch_build(load_profile("v100"), login))) == {"torch": "pass"}
