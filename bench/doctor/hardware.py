"""Devices, CPUs and memory of this node against what a job of the profile holds."""

from __future__ import annotations

from collections.abc import Iterator

from bench.cluster.scripts import trial_cpus
from bench.doctor.line import Line, failed, passed, warned
from bench.doctor.space import size
from bench.probe import Probe
from bench.profile import Profile

MEMORY_SHARE = 0.95
"""The kernel keeps some of what SLURM counts."""


def lines(profile: Profile, probe: Probe, *, login: bool) -> Iterator[Line]:
    yield devices(profile, probe, login=login)
    if not login:
        yield from host(profile, probe)


def devices(profile: Profile, probe: Probe, *, login: bool) -> Line:
    """The GPUs that are seen, by kind and number. A login node needs none, and the `cpu` profile uses none."""
    check = "devices"
    if profile.gpu is None:
        return passed(check, f"profile cpu: {probe.cpus} cores of {probe.cpu_model}")
    if not probe.gpus and login:
        return passed(check, f"{probe.describe_gpus()}; a login node needs none (see compute nodes with --submit)")
    if others := probe.mismatches(profile):
        return failed(
            check,
            f"{'; '.join(others)} instead of {profile.gpu.name}",
            f"ask for nodes with {profile.gpu.name} (the site file's 'constraint' and 'gres'), or use their --profile",
        )
    if len(probe.gpus) < profile.node.devices:
        return warned(
            check,
            f"{probe.describe_gpus()}; a node of profile {profile.name} has {profile.node.devices}",
            f"ask for whole nodes, or run with --devices {len(probe.gpus)}",
        )
    return passed(check, probe.describe_gpus())


def host(profile: Profile, probe: Probe) -> Iterator[Line]:
    """CPUs and main memory within this process's limits, for a job on all devices that are seen."""
    held = min(profile.node.devices, len(probe.gpus) or profile.node.devices)
    wanted = trial_cpus(profile, held)
    if probe.cpus < wanted:
        yield warned(
            "CPUs", f"{probe.cpus}; {held} devices want {wanted}", f"ask for --cpus-per-task={wanted}, or fewer devices"
        )
    else:
        yield passed("CPUs", f"{probe.cpus}; {held} devices want {wanted}")
    want_mib = held * profile.slurm.memory_mib_per_device
    said = f"{size(probe.memory_mib)}; {held} devices want {size(want_mib)}"
    if probe.memory_mib < MEMORY_SHARE * want_mib:
        yield warned("memory", said, f"ask for --mem={want_mib}M, or fewer devices")
    else:
        yield passed("memory", said)
