"""Hardware profiles: the files of the project, and what a wrong file is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import UserError
from bench.profile import Profile, load_profile, load_profiles, profile_names, profiles_dir
from bench.tomlfile import load_toml


def edited(tmp_path: Path, name: str, old: str, new: str) -> Path:
    text = (profiles_dir() / f"{name}.toml").read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / f"{name}.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


def test_the_profiles_of_the_project() -> None:
    assert profile_names() == ["a100", "cpu", "h100", "h200", "v100"]
    for profile in load_profiles():
        assert load_profile(profile.name) == profile, "a file is named for its profile"


@pytest.mark.parametrize(
    ("name", "precision", "unit"),
    [
        ("cpu", "fp32", "device"),
        ("v100", "fp16", "GPU"),
        ("a100", "bf16", "GPU"),
        ("h100", "bf16", "GPU"),
        ("h200", "bf16", "GPU"),
    ],
)
def test_precision_and_unit(name: str, precision: str, unit: str) -> None:
    profile = load_profile(name)
    assert (profile.precision, profile.unit) == (precision, unit)


def test_bf16_is_listed_exactly_where_the_hardware_has_it() -> None:
    for profile in load_profiles():
        if profile.gpu is not None:
            assert (profile.gpu.peak_tflops.bf16 is not None) == (profile.gpu.capability >= (8, 0))


def test_overheads_fitted_to_the_published_tables() -> None:
    assert load_profile("v100").overheads.trial_startup_s == 27.0
    assert load_profile("a100").overheads.trial_startup_s == 19.0
    assert load_profile("a100").overheads.worker_startup_s == 259.0


def test_the_workshops_node_holds_its_gpus_within_its_cpus() -> None:
    node = load_profile("v100").node
    assert (node.devices, node.cpus) == (8, 20)


@pytest.mark.parametrize(
    ("profile", "nvml_name"),
    [
        ("v100", "Tesla V100-SXM2-16GB"),
        ("v100", "Tesla V100-SXM2-32GB"),
        ("a100", "NVIDIA A100-SXM4-40GB"),
        ("a100", "NVIDIA A100-SXM4-80GB"),
        ("h100", "NVIDIA H100 80GB HBM3"),
        ("h200", "NVIDIA H200"),
    ],
)
def test_a_boards_name_belongs_to_one_profile(profile: str, nvml_name: str) -> None:
    named = [p.name for p in load_profiles() if p.gpu is not None and p.gpu.is_named(nvml_name)]
    assert named == [profile]


@pytest.mark.parametrize(
    "nvml_name",
    ["Tesla V100-PCIE-32GB", "NVIDIA A100 80GB PCIe", "NVIDIA H100 PCIe", "NVIDIA H100 NVL", "NVIDIA H200 NVL",
     "NVIDIA GH200 480GB", "NVIDIA L4"],
)  # fmt: skip
def test_boards_with_other_peaks_belong_to_none(nvml_name: str) -> None:
    assert not [p.name for p in load_profiles() if p.gpu is not None and p.gpu.is_named(nvml_name)]


@pytest.mark.parametrize(
    ("profile", "memory_mib", "variant"),
    [
        ("v100", 16_160, "16 GB"),
        ("v100", 32_510, "32 GB"),
        ("a100", 40_536, "40 GB"),
        ("a100", 81_251, "80 GB"),
        ("h200", 143_771, "141 GB"),
        ("a100", 20_096, None),
    ],
)
def test_memory_variants_by_what_drivers_report(profile: str, memory_mib: int, variant: str | None) -> None:
    gpu = load_profile(profile).gpu
    assert gpu is not None
    found = gpu.variant(memory_mib)
    assert (found.name if found else None) == variant


def test_an_unknown_profile_names_the_nearest() -> None:
    with pytest.raises(UserError, match="no hardware profile 'v10'; did you mean 'v100'"):
        load_profile("v10")


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("v100", "[node]", "[node]\ndevice = 1", "unknown key 'node.device'; did you mean 'devices'"),
        ("v100", "sms =", "sm = 1\nsms =", r"gpu\.sm: Unexpected keyword"),
        ("v100", "fp16 = 125.0", "fp16 = 125.0\nfp8 = 1.0", r"gpu\.peak_tflops\.fp8: Unexpected keyword"),
        ("v100", "bandwidth_gb_s", "bandwith_gb_s", r"gpu\.variants\.0"),
        ("v100", "usd_per_device_hour", "usd = 1, usd_per_device_hour", r"price\.usd: Unexpected keyword"),
        ("v100", '"fp16"', '"bf16"', "needs compute capability 8.0"),
        ("v100", '"7.0"', '"7"', "compute_capability"),
        ("v100", "trial_startup_s = 27.0", "trial_startup_s = -1.0", "seconds are 0 or more"),
        ("v100", "cpus = 20", "cpus = 17", "too small"),
        ("v100", "V100-SXM[23]", "V100-SXM[", "no regular expression"),
        ("cpu", '"fp32"', '"fp16"', "does not train"),
        ("cpu", 'device = "cpu"', 'device = "cuda"', r"needs a \[gpu\] table"),
        ("cpu", "devices_per_trial = 1", "devices_per_trial = 3", "must fit on a node"),
        ("cpu", "schema_version = 1", "schema_version = 2", "schema_version 2"),
    ],
)
def test_a_wrong_file_is_told_in_one_sentence(tmp_path: Path, name: str, old: str, new: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_toml(edited(tmp_path, name, old, new), Profile)
    assert "\n" not in str(caught.value)
