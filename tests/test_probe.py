"""The probe: real NVML calls on a library made for the test, and judgements on made-up machines."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.probe import GpuDevice, Probe, _runs_on, _visible_indices, probe_machine, require_profile
from bench.profile import load_profile, load_profiles

HOST = Probe(cpu_model="x", cpus=64, memory_mib=65_536, os="Linux", kernel="6", python="3.11.2", torch="2.10.0")
V100 = GpuDevice(name="Tesla V100-SXM2-32GB", memory_mib=32_510, compute_capability=(7, 0))
A100 = GpuDevice(name="NVIDIA A100-SXM4-40GB", memory_mib=40_960, compute_capability=(8, 0))
A100_80 = GpuDevice(name="NVIDIA A100-SXM4-80GB", memory_mib=81_920, compute_capability=(8, 0))
H200 = GpuDevice(name="NVIDIA H200", memory_mib=143_771, compute_capability=(9, 0))
L4 = GpuDevice(name="NVIDIA L4", memory_mib=23_034, compute_capability=(8, 9))
CPU_ONLY = replace(HOST, no_gpu_reason="NVML library not found")

FAKE_NVML = r"""
#include <stdio.h>
#include <string.h>
int nvmlInitWithFlags(unsigned flags) { return INIT; }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int code) { return "Driver Not Loaded"; }
int nvmlSystemGetDriverVersion(char *s, unsigned n) { strncpy(s, "580.65.06", n); return 0; }
int nvmlSystemGetCudaDriverVersion_v2(int *v) { *v = 13010; return 0; }
int nvmlDeviceGetCount_v2(unsigned *n) { *n = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **h) { *h = (void *)(long)(i + 1); return 0; }
int nvmlDeviceGetUUID(void *h, char *s, unsigned n) { snprintf(s, n, "GPU-%ld", (long)h); return 0; }
int nvmlDeviceGetName(void *h, char *s, unsigned n) { strncpy(s, "NVIDIA H200", n); return 0; }
int nvmlDeviceGetMemoryInfo(void *h, unsigned long long *m) { m[0] = 143771ULL << 20; m[1] = m[2] = 0; return 0; }
int nvmlDeviceGetCudaComputeCapability(void *h, int *major, int *minor) { *major = 9; *minor = 0; return 0; }
int nvmlDeviceGetMigMode(void *h, unsigned *now, unsigned *next) { *now = *next = MIG; return 0; }
"""


def probe_with_fake_nvml(folder: Path, *, visible: str | None = None, init: int = 0, mig: int = 0) -> Probe:
    """What a new process reads from real pynvml over a library with two H200."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("the fake NVML library needs gcc, which is not installed")
    source = folder / "nvml.c"
    source.write_text(FAKE_NVML, encoding="utf-8")
    library = folder / "libnvidia-ml.so.1"
    defines = [f"-DINIT={init}", f"-DMIG={mig}"]
    subprocess.run([compiler, "-w", "-shared", "-fPIC", *defines, "-o", library, source], check=True)
    environ = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    environ |= {"LD_LIBRARY_PATH": str(folder)} | ({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})
    code = "import json; from bench.probe import probe_machine as p; print(json.dumps(p().to_dict()))"
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    data = json.loads(done.stdout)
    gpus = tuple(GpuDevice(**gpu | {"compute_capability": tuple(gpu["compute_capability"])}) for gpu in data["gpus"])
    return Probe(**data | {"gpus": gpus})


def test_gpus_driver_and_cuda_are_read_from_nvml(tmp_path: Path) -> None:
    probe = probe_with_fake_nvml(tmp_path)
    assert probe.gpus == (H200, H200)
    assert (probe.driver, probe.cuda_driver, probe.no_gpu_reason) == ("580.65.06", "13.1", None)
    own, reason = probe.identify(load_profiles())
    assert own is not None
    assert own.name == "h200"
    assert "2 x NVIDIA H200 (143,771 MiB, compute capability 9.0)" in reason


def test_cuda_visible_devices_is_respected(tmp_path: Path) -> None:
    assert len(probe_with_fake_nvml(tmp_path, visible="1").gpus) == 1
    hidden = probe_with_fake_nvml(tmp_path, visible="")
    assert hidden.describe_gpus() == "no GPU (CUDA_VISIBLE_DEVICES hides all 2)"


def test_a_driver_that_is_not_loaded_and_a_split_gpu_are_told(tmp_path: Path) -> None:
    assert "Driver Not Loaded" in probe_with_fake_nvml(tmp_path, init=9).describe_gpus()
    split = probe_with_fake_nvml(tmp_path, mig=1)
    assert split.identify(load_profiles()) == (None, f"The machine has {split.describe_gpus()}, which no hardware "
                                               "profile describes.")  # fmt: skip
    assert "split by MIG" in split.describe_gpus()


@pytest.mark.parametrize(
    ("setting", "chosen"),
    [(None, [0, 1, 2]), ("2,0", [2, 0]), ("", []), ("0,7,1", [0]), ("GPU-b", [1]), ("-1", []), ("MIG-x", [2]),
     ("1,1", [1]), (" 1 , 2 ", [1, 2])],
)  # fmt: skip
def test_what_cuda_visible_devices_leaves(setting: str | None, chosen: list[int]) -> None:
    assert _visible_indices(setting, ["GPU-a", "GPU-b", "GPU-c"], [False, False, True]) == chosen


@pytest.mark.parametrize(
    ("gpus", "name"), [((V100,) * 8, "v100"), ((A100,), "a100"), ((A100_80, A100_80), "a100"), ((H200,), "h200")]
)
def test_identify_by_name_memory_and_capability(gpus: tuple[GpuDevice, ...], name: str) -> None:
    assert require_profile(None, replace(HOST, gpus=gpus)).name == name


def test_without_a_gpu_the_machine_is_a_cpu() -> None:
    assert require_profile(None, CPU_ONLY).name == "cpu"
    assert require_profile("cpu", replace(HOST, gpus=(H200,))).name == "cpu"


@pytest.mark.parametrize("gpus", [(A100, A100_80), (V100, A100), (L4,), (replace(A100, memory_mib=20_096),)])
def test_gpus_that_no_profile_describes(gpus: tuple[GpuDevice, ...]) -> None:
    with pytest.raises(UserError, match=r"which no hardware profile describes: add hardware_profiles/NAME\.toml"):
        require_profile(None, replace(HOST, gpus=gpus))


def test_a_profile_that_the_machine_is_not_is_refused() -> None:
    with pytest.raises(UserError) as caught:
        require_profile("v100", CPU_ONLY)
    assert str(caught.value) == (
        "Profile v100 needs NVIDIA V100 SXM2 GPUs; this machine has no GPU (NVML library not found): "
        "use --profile cpu here, run on such a node, or simulate with --engine virtual."
    )
    with pytest.raises(UserError, match=r"has 1 x NVIDIA H200 .*: use --profile h200 here"):
        require_profile("a100", replace(HOST, gpus=(H200,)))


def test_a_pytorch_that_cannot_use_the_gpu_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"fits this machine, but the installed PyTorch 2\.13\.0\+cpu is built for CPUs"
    ):
        require_profile(None, replace(HOST, gpus=(H200,), torch="2.13.0+cpu"))
    with pytest.raises(UserError, match="holds no kernels for the NVIDIA V100"):
        require_profile("v100", replace(HOST, gpus=(V100,), torch_archs=("sm_75", "sm_80", "sm_90")))
    assert require_profile("v100", replace(HOST, gpus=(V100,), torch_archs=("sm_70", "sm_80"))).name == "v100"


@pytest.mark.parametrize(
    ("arch", "capability", "runs"),
    [("sm_80", (8, 0), True), ("sm_80", (8, 6), True), ("sm_86", (8, 0), False), ("sm_80", (9, 0), False),
     ("compute_80", (9, 0), True), ("sm_90a", (9, 0), True), ("sm_100", (10, 0), True), ("gfx90a", (9, 0), False)],
)  # fmt: skip
def test_which_code_runs_where(arch: str, capability: tuple[int, int], runs: bool) -> None:
    assert _runs_on(arch, capability) == runs


def test_bf16_follows_the_compute_capability() -> None:
    assert [gpu.bf16 for gpu in (V100, A100, H200)] == [False, True, True]


@pytest.mark.parametrize(
    ("profile", "gpus", "cpus", "devices"),
    [("cpu", (), 1, 1), ("cpu", (), 2, 2), ("cpu", (), 64, 2), ("v100", (V100,) * 4, 20, 4),
     ("v100", (V100,) * 16, 96, 8), ("v100", (V100,) * 8, 6, 2), ("h200", (H200,), 1, 1)],
)  # fmt: skip
def test_available_devices(profile: str, gpus: tuple[GpuDevice, ...], cpus: int, devices: int) -> None:
    assert replace(HOST, gpus=gpus, cpus=cpus).available_devices(load_profile(profile)) == devices


def machine(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def test_limits_of_a_control_group_and_of_those_around_it(tmp_path: Path) -> None:
    job = "sys/fs/cgroup/slurm/job_1"
    root = machine(
        tmp_path,
        {
            "proc/self/cgroup": "0::/slurm/job_1/step_0\n",
            "proc/meminfo": "MemFree: 5 kB\nMemTotal:       8388608 kB\n",
            "proc/cpuinfo": "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n",
            "etc/os-release": 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
            f"{job}/step_0/cpu.max": "max 100000\n",
            f"{job}/cpu.max": "100000 100000\n",
            f"{job}/memory.max": f"{2**31}\n",
        },
    )
    probe = probe_machine(root=root, environ={})
    assert (probe.cpus, probe.memory_mib) == (1, 2_048)
    assert (probe.cpu_model, probe.os) == ("Some CPU @ 2 GHz", "Debian GNU/Linux 12 (bookworm)")


def test_limits_of_version_1_control_groups(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/job\n3:cpu,cpuacct:/job\n",
            "proc/meminfo": "MemTotal:       8388608 kB\n",
            "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "50000\n",
            "sys/fs/cgroup/memory/job/memory.limit_in_bytes": "9223372036854771712\n",
        },
    )
    probe = probe_machine(root=root, environ={})
    assert (probe.cpus, probe.memory_mib) == (1, 8_192)


def test_this_machine_is_read_without_torch_and_names_nobody() -> None:
    code = (
        "import sys, json; from bench.probe import probe_machine; d = json.dumps(probe_machine().to_dict())\n"
        "assert not {'torch', 'ray', 'pydantic'} & set(sys.modules), 'loaded'; print(d)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    data = json.loads(done.stdout)
    assert data["cpus"] >= 1
    assert data["memory_mib"] > 0
    assert os.uname().nodename not in done.stdout or len(os.uname().nodename) < 4


def test_a_deep_probe_reads_what_torch_was_built_for() -> None:
    pytest.importorskip("torch")
    probe = probe_machine(deep=True)
    assert probe.torch_archs is not None
    assert (probe.torch_cuda is None) == (not probe.torch_archs)
