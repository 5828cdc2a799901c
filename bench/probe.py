"""What this machine is, read from NVML and /proc, and which hardware profile that makes it.

Nothing that names the machine, its user or a single device (host name, UUIDs, paths) is read into the result.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.profile import Profile, load_profile, load_profiles

BF16_SINCE = (8, 0)
"""The first compute capability with bf16 in hardware. `torch.cuda.is_bf16_supported()` counts emulation as well."""


@dataclass(frozen=True, kw_only=True)
class GpuDevice:
    """A GPU as NVML describes it. `mig`: it is split into slices, so that a trial would not have it whole."""

    name: str
    memory_mib: int
    compute_capability: tuple[int, int]
    mig: bool = False

    @property
    def bf16(self) -> bool:
        return self.compute_capability >= BF16_SINCE

    def __str__(self) -> str:
        major, minor = self.compute_capability
        return f"{self.name} ({self.memory_mib:,} MiB, compute capability {major}.{minor}{', split by MIG' * self.mig})"


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A machine as this process may use it.

    `gpus`: those that CUDA_VISIBLE_DEVICES leaves. `no_gpu_reason`: why there are none. `cuda_driver`: the newest CUDA
    that the driver serves. `cpus`: whole cores, `memory_mib`: main memory, both within the limits of the process's
    affinity and control group. `torch`: version of the installed PyTorch; `torch_cuda` and `torch_archs`, what it was
    built for, are read only by a deep probe.
    """

    gpus: tuple[GpuDevice, ...] = ()
    no_gpu_reason: str | None = None
    driver: str | None = None
    cuda_driver: str | None = None
    cpu_model: str
    cpus: int
    memory_mib: int
    os: str
    kernel: str
    python: str
    torch: str | None = None
    torch_cuda: str | None = None
    torch_archs: tuple[str, ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The probe as plain data, for records."""
        return asdict(self)

    def describe_gpus(self) -> str:
        """What a sentence says about the GPUs: `2 x NVIDIA H200 (...)` or `no GPU (NVML library not found)`."""
        if not self.gpus:
            return f"no GPU ({self.no_gpu_reason})"
        kinds = [str(gpu) for gpu in self.gpus]
        return ", ".join(f"{kinds.count(kind)} x {kind}" for kind in dict.fromkeys(kinds))

    def mismatches(self, profile: Profile) -> list[str]:
        """What of the machine's devices does not fit the profile; empty where it is the profile's. Every machine with
        a CPU is one of the `cpu` profile's."""
        facts = profile.gpu
        if facts is None:
            return []
        if not self.gpus:
            return [self.describe_gpus()]
        found = []
        for gpu in dict.fromkeys(self.gpus):
            known = facts.is_named(gpu.name) and gpu.compute_capability == facts.capability
            if not known or facts.variant(gpu.memory_mib) is None or gpu.mig:
                found.append(str(gpu))
        if not found and len({facts.variant(gpu.memory_mib) for gpu in self.gpus}) > 1:
            found.append("GPUs of different memory sizes")
        return found

    def software_mismatch(self, profile: Profile) -> str | None:
        """Why the installed PyTorch cannot use the profile's devices, as far as the probe knows; None where it can."""
        if profile.gpu is None or self.torch is None:
            return None
        if self.torch.endswith("+cpu"):
            return f"the installed PyTorch {self.torch} is built for CPUs alone"
        if self.torch_archs is None or any(_runs_on(arch, profile.gpu.capability) for arch in self.torch_archs):
            return None
        return f"the installed PyTorch {self.torch} holds no kernels for the {profile.gpu.name}"

    def identify(self, profiles: Iterable[Profile]) -> tuple[Profile | None, str]:
        """The profile that this machine's devices are, and why in a sentence; a GPU profile before a CPU one. None
        where a GPU is there that no profile describes."""
        candidates = list(profiles)
        for profile in candidates:
            if profile.gpu is not None and not self.mismatches(profile):
                return profile, f"The machine has {self.describe_gpus()}: profile {profile.name}."
        if self.gpus:
            return None, f"The machine has {self.describe_gpus()}, which no hardware profile describes."
        cpu = next((profile for profile in candidates if profile.gpu is None), None)
        return cpu, f"The machine has {self.describe_gpus()}: profile {cpu.name if cpu else 'unknown'}."

    def available_devices(self, profile: Profile) -> int:
        """Devices of the profile that a run can hold here: no more than its node has, than there are GPUs, and than
        the CPU cores suffice for; never less than 1."""
        by_cpus = (self.cpus - profile.node.system_cpus) // profile.cpus_per_device
        by_gpus = len(self.gpus) if profile.gpu is not None else by_cpus
        return max(1, min(profile.node.devices, by_gpus, by_cpus))


def chosen_profile(name: str | None, probe: Probe) -> Profile:
    """The named profile, or the machine's own. Raises UserError where there is none."""
    if name is not None:
        return load_profile(name)
    own, reason = probe.identify(load_profiles())
    if own is None:
        raise UserError(f"{reason[:-1]}: add hardware_profiles/NAME.toml for it, or leave it idle with --profile cpu.")
    return own


def require_profile(name: str | None, probe: Probe) -> Profile:
    """The profile to run on: the named one, or the machine's own. Raises UserError where the machine is not of that
    kind, with what was found and what can be done."""
    profile = chosen_profile(name, probe)
    if profile.gpu is not None and probe.mismatches(profile):
        own, _ = probe.identify(load_profiles())
        raise UserError(
            f"Profile {profile.name} needs {profile.gpu.name} GPUs; this machine has {probe.describe_gpus()}: "
            f"use --profile {own.name if own else 'cpu'} here, run on such a node, or simulate with --engine virtual."
        )
    problem = probe.software_mismatch(profile)
    if problem:
        raise UserError(
            f"Profile {profile.name} fits this machine, but {problem}: install a build for it, or use --profile cpu."
        )
    return profile


def probe_machine(*, deep: bool = False, root: Path = Path("/"), environ: Mapping[str, str] = os.environ) -> Probe:
    """Reads the machine. `deep` imports torch (seconds) for what it was built for. `root`: where /proc, /sys and /etc
    are looked for."""
    gpus, reason, driver, cuda_driver = _read_nvml(environ.get("CUDA_VISIBLE_DEVICES"))
    return Probe(
        gpus=gpus,
        no_gpu_reason=reason,
        driver=driver,
        cuda_driver=cuda_driver,
        cpu_model=_field(root / "proc/cpuinfo", "model name", ":") or platform.machine(),
        cpus=_usable_cpus(root),
        memory_mib=_usable_memory_mib(root),
        os=(_field(root / "etc/os-release", "PRETTY_NAME", "=") or platform.system()).strip('"'),
        kernel=platform.release(),
        python=platform.python_version(),
        **_read_torch(deep),
    )


def _read_torch(deep: bool) -> dict[str, Any]:
    try:
        installed = version("torch")
    except PackageNotFoundError:
        return {}
    if not deep:
        return {"torch": installed}
    import torch

    archs = tuple(torch.cuda.get_arch_list())
    return {"torch": torch.__version__, "torch_cuda": torch.version.cuda, "torch_archs": archs}


def _runs_on(arch: str, capability: tuple[int, int]) -> bool:
    """Whether code for `arch` (sm_86: a binary for later minor versions too; compute_86: for all later ones) runs."""
    parsed = re.fullmatch(r"(sm|compute)_(\d+)(\d)([a-z]?)", arch)
    if parsed is None:
        return False
    kind, major, minor, exact = parsed.groups()
    built = (int(major), int(minor))
    if exact:
        return built == capability
    return built <= capability and (kind == "compute" or built[0] == capability[0])


def _read_nvml(visible: str | None) -> tuple[tuple[GpuDevice, ...], str | None, str | None, str | None]:
    """The GPUs, why there are none, the driver, and the newest CUDA that it serves."""
    try:
        import pynvml
    except ImportError:
        return (), "nvidia-ml-py is not installed", None, None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError_LibraryNotFound:
        return (), "NVML library not found", None, None
    except pynvml.NVMLError as error:
        return (), f"NVML: {error}", None, None
    try:
        driver = _text(pynvml.nvmlSystemGetDriverVersion())
        cuda = pynvml.nvmlSystemGetCudaDriverVersion_v2()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        uuids = [_text(pynvml.nvmlDeviceGetUUID(handle)) for handle in handles]
        gpus = [
            GpuDevice(
                name=_text(pynvml.nvmlDeviceGetName(handle)),
                memory_mib=pynvml.nvmlDeviceGetMemoryInfo(handle).total // 2**20,
                compute_capability=tuple(pynvml.nvmlDeviceGetCudaComputeCapability(handle)),
                mig=_mig_enabled(handle),
            )
            for handle in handles
        ]
        seen = tuple(gpus[i] for i in _visible_indices(visible, uuids, [gpu.mig for gpu in gpus]))
        hidden = f"CUDA_VISIBLE_DEVICES hides all {len(gpus)}" if gpus else "NVML counts none"
        return seen, None if seen else hidden, driver, f"{cuda // 1000}.{cuda % 1000 // 10}"
    except pynvml.NVMLError as error:
        return (), f"NVML: {error}", None, None
    finally:
        pynvml.nvmlShutdown()


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _mig_enabled(handle: Any) -> bool:
    import pynvml

    try:
        return bool(pynvml.nvmlDeviceGetMigMode(handle)[0] == pynvml.NVML_DEVICE_MIG_ENABLE)
    except pynvml.NVMLError:  # hardware or a driver without MIG
        return False


def _visible_indices(setting: str | None, uuids: list[str], mig: list[bool]) -> list[int]:
    """What CUDA_VISIBLE_DEVICES leaves of the devices. CUDA ignores everything from the first bad entry on."""
    if setting is None:
        return list(range(len(uuids)))
    chosen: list[int] = []
    for token in (part.strip() for part in setting.split(",")):
        if token.isdigit():
            hits = [int(token)] if int(token) < len(uuids) else []
        elif token.startswith("MIG-"):
            hits = [i for i, split in enumerate(mig) if split]
        else:
            hits = [i for i, uuid in enumerate(uuids) if token and uuid.startswith(token)]
        if not hits:
            break
        chosen += [i for i in hits if i not in chosen]
    return chosen


def _usable_cpus(root: Path) -> int:
    allowed = len(os.sched_getaffinity(0))
    for quota in _cgroup_values(root, "cpu", ("cpu.max", "cpu.cfs_quota_us")):
        limit, _, period = quota.partition(" ")
        if limit not in ("max", "-1"):
            allowed = min(allowed, int(limit) // int(period or 100_000))
    return max(1, allowed)


def _usable_memory_mib(root: Path) -> int:
    installed = _field(root / "proc/meminfo", "MemTotal", ":")
    limits = [int(installed.split()[0]) * 1024] if installed else []
    values = _cgroup_values(root, "memory", ("memory.max", "memory.limit_in_bytes"))
    return min([*limits, *(int(value) for value in values if value != "max")], default=0) // 2**20


def _cgroup_values(root: Path, controller: str, names: tuple[str, str]) -> list[str]:
    """The limits set on this process's control group and on those around it, by version 2 (`names[0]`) and 1."""
    values = []
    for line in (_read(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, inside = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        mount, name = ("", names[0]) if not controllers else (controller, names[1])
        top = root / "sys/fs/cgroup" / mount
        group = top / inside.lstrip("/")
        for folder in (group, *group.parents):
            if not folder.is_relative_to(top):
                break
            value = _read(folder / name)
            values += [value.strip()] if value else []
    return values


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _field(path: Path, key: str, separator: str) -> str | None:
    """The value of the first line `key<separator>value`."""
    for line in (_read(path) or "").splitlines():
        name, found, value = line.partition(separator)
        if found and name.strip() == key:
            return value.strip()
    return None
