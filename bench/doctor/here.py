"""All checks of the machine that this process runs on, in order."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from bench.cluster.address import VARIABLE, node_address
from bench.cluster.site import Site
from bench.container.inside import IMAGE_LOCK
from bench.doctor import exchange, filesystem, hardware, hub, ports, slurm, software, space
from bench.doctor.line import Check, Line, failed, passed, warned
from bench.doctor.space import Need
from bench.errors import UserError
from bench.probe import Probe, probe_machine
from bench.profile import Profile
from bench.resources import resource_dir
from bench.workload import Workload

Where = Literal["login", "compute"]
HOME_NEED = Need(mib=1024, files=1000, assumed="caches of libraries")
SCRATCH_NEED = Need(mib=4096, files=1000, assumed="Ray's object store and temporary files")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What is looked at. `probe`: a deep one, but for a torch that cannot be imported (`torch_problem`: why).
    `slurm_wanted`: runs are to go to a cluster. `nodes`: that they want."""

    where: Where
    profile: Profile
    workload: Workload
    site: Site
    results: Path
    probe: Probe
    torch_problem: str = ""
    slurm_wanted: bool = False
    nodes: int = 1

    @property
    def login(self) -> bool:
        return self.where == "login"


def look() -> tuple[Probe, str]:
    """This machine, and why torch cannot be imported (empty: it can)."""
    try:
        return probe_machine(deep=True), ""
    except Exception as error:  # a library that is missing, or of another machine
        reason = (str(error).strip().splitlines() or ["no reason given"])[0]
        return probe_machine(), f"{type(error).__name__}: {reason}"


def where(profile: Profile, probe: Probe, environ: Mapping[str, str] = os.environ) -> Where:
    """A compute node is inside a job, or has the profile's GPUs."""
    if environ.get("SLURM_JOB_ID") or (profile.gpu is not None and not probe.mismatches(profile)):
        return "compute"
    return "login"


def checks(machine: Machine) -> list[Check]:
    """In the order in which they are shown; none has begun."""
    m = machine
    inside = software.inside_image() is not None
    # An image has a scratch folder of its own as /tmp, and no home.
    folders = {"results": m.results.absolute(), "scratch": Path("/tmp") if inside else m.site.scratch}
    if not inside:
        folders["home"] = Path.home()
    need = space.of_run(m.workload)
    contained = m.site.container is not None or inside
    lock = IMAGE_LOCK if inside else resource_dir("hardware_profiles").parent / "requirements.lock"

    def installation() -> Iterable[Line]:
        return [software.container(m.site, m.probe, login=m.login) if contained else software.environment(m.site)]

    found = [
        Check(name="container" if contained else "environment", lines=installation),
        Check(name="packages", lines=lambda: [software.packages(lock)]),
        Check(name="torch", lines=lambda: torch(m, outside=contained and not inside)),
        Check(name="devices", lines=lambda: hardware.lines(m.profile, m.probe, login=m.login)),
        Check(name="all-reduce", lines=lambda: [exchange.within(m.profile, m.probe, m.site)]),
        Check(name="ports", lines=lambda: address(m)),
        Check(name="results", lines=lambda: filesystem.lines("results", folders["results"], need)),
        Check(
            name="scratch",
            lines=lambda: filesystem.lines("scratch", folders["scratch"], SCRATCH_NEED, exists_elsewhere=m.login),
        ),
        *(
            Check(name=name, lines=partial(filesystem.lines, name, path, HOME_NEED))
            for name, path in folders.items()
            if name == "home"
        ),
        Check(name="quota", lines=lambda: [filesystem.quota(folders)]),
        Check(name="hub cache", lines=lambda: [hub.line(m.workload, m.site)]),
    ]
    if m.login:
        found.append(
            Check(name="SLURM", lines=lambda: slurm.lines(m.site, m.profile, nodes=m.nodes, wanted=m.slurm_wanted))
        )
    return found


def torch(machine: Machine, *, outside: bool) -> Iterable[Line]:
    """`outside`: jobs run in an image, and this is not it."""
    if outside:
        return [passed("torch", "the image's own; see it with --submit")]
    if machine.torch_problem:
        remedy = "install what requirements.lock names (make setup), with a build of PyTorch for this machine"
        return [failed("torch", f"cannot be imported ({machine.torch_problem})", remedy)]
    return software.torch_build(machine.profile, machine.probe)


def address(machine: Machine, environ: Mapping[str, str] = os.environ) -> Iterator[Line]:
    """Of this node, and whether it answers there. Outside a job of a cluster it may have none."""
    try:
        own = node_address(machine.site)
    except UserError as error:
        if environ.get("SLURM_JOB_ID"):
            raise
        if any(VARIABLE in line for line in machine.site.setup):
            yield passed("ports", f"jobs have the address that the site file's 'setup' gives as {VARIABLE}")
            return
        sentence, _, remedy = str(error).rstrip(".").rpartition(": ")
        yield warned("ports", sentence, f"matters in jobs on several nodes alone: {remedy}")
        return
    yield ports.own(own)
