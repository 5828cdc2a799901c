"""What is installed: the container or environment that jobs use, packages against the lock, torch against the GPUs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

import bench
from bench.cluster.site import Site
from bench.container.driver import OLDEST_DRIVER, check_driver
from bench.container.inside import image_facts
from bench.container.launch import find_runtime
from bench.container.lockfile import normalised
from bench.container.sif import Image
from bench.doctor.line import Line, failed, passed, warned
from bench.errors import UserError
from bench.probe import Probe
from bench.profile import Profile
from bench.provenance import differences, locked_versions

TIMEOUT_S = 60.0
SHOWN = 3
VERSION_OF = "import bench; print(bench.__version__)"


def inside_image(root: Path = Path("/")) -> dict[str, Any] | None:
    """The facts of the image that this runs in, without its digest, for which gigabytes would be read; None outside."""
    return image_facts(root, root / "no-file")


def container(site: Site, probe: Probe, *, login: bool, root: Path = Path("/")) -> Line:
    """The site's image, with what starts it; inside an image, that image."""
    check = "container"
    if (facts := inside_image(root)) is not None:
        return passed(
            check, f"runs inside the image of commit {facts['labels'].get('sweepmark.commit', 'unknown')[:12]}"
        )
    assert site.container is not None
    image = Image.open(site.container)
    try:
        runtime = find_runtime()
    except UserError:
        if login and site.modules:
            remedy = f"see with --submit whether {', '.join(site.modules)} brings it"
            return warned(check, "no Apptainer on the PATH of this node", remedy)
        raise
    if login and not probe.gpus:
        return passed(check, f"{site.container} by {Path(runtime).name}; its CUDA can be compared on a node with GPUs")
    check_driver(image, probe)
    return passed(check, f"{site.container} by {Path(runtime).name}, CUDA {image.labels.get('sweepmark.cuda', 'none')}")


def environment(site: Site) -> Line:
    """The virtual environment that jobs use: another one must hold the same Sweepmark."""
    check = "environment"
    if site.environment is None:
        return passed(check, f"this one: Sweepmark {bench.__version__}")
    python = site.environment / "bin" / "python"
    for program in (python, site.environment / "bin" / "sweepmark"):
        if not os.access(program, os.X_OK):
            remedy = "set the site file's 'environment' to one that all nodes see and that has Sweepmark"
            return failed(check, f"there is no {program}", remedy)
    try:
        done = subprocess.run(
            [str(python), "-P", "-c", VERSION_OF],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
            cwd="/",
        )
    except subprocess.TimeoutExpired:
        return failed(check, f"{python} did not start within {TIMEOUT_S:.0f} s", "look at its file system, or move it")
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        return failed(check, f"{site.environment}: {reason}", "install Sweepmark there")
    if (found := done.stdout.strip()) != bench.__version__:
        return failed(
            check, f"{site.environment} has Sweepmark {found}, this is {bench.__version__}", "install the same there"
        )
    return passed(check, f"{site.environment}: Sweepmark {found}")


def packages(lock: Path, project: str = "sweepmark") -> Line:
    """Installed packages against the lock's. What only developers need may be missing."""
    check = "packages"
    pins = locked_versions(lock)
    if not pins:
        return warned(check, f"there is no lock {lock}", "run from a checkout or from an image")
    needed = closure(project)
    missing = [name for name, found in needed.items() if found is None]
    if missing:
        return failed(check, f"not installed: {_few(missing)}", "install what requirements.lock names (make setup)")
    kept = {name: pin for name, pin in pins.items() if installed(name) is not None}
    others = differences(kept, {name: installed(name) for name in kept})
    if others:
        return warned(
            check, f"{len(others)} of {len(kept)} differ from {lock.name}: {_few(others)}",
            "install the lock's versions, else results are not comparable",
        )  # fmt: skip
    left_out = len(pins) - len(kept)
    return passed(
        check,
        f"{len(kept)} as in {lock.name}" + (f"; {left_out} that it also names are not installed" if left_out else ""),
    )


def closure(project: str) -> dict[str, str | None]:
    """All that the project needs on this machine, without extras: name to installed version."""
    from packaging.requirements import Requirement

    found: dict[str, str | None] = {}
    waiting = [project]
    while waiting:
        name = waiting.pop()
        try:
            asked = [Requirement(line) for line in requires(name) or ()]
        except PackageNotFoundError:
            continue
        for requirement in asked:
            wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            key = normalised(requirement.name)
            if wanted and key not in found and key not in LEFT_OUT:
                found[key] = installed(key)
                waiting.append(key)
    return found


LEFT_OUT = {"netifaces"}
"""Asked for by HpBandSter, and not installed: it needs a compiler and serves nothing here."""


def installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def torch_build(profile: Profile, probe: Probe) -> Iterator[Line]:
    """torch against the profile's GPU, and its CUDA against the driver. `probe`: a deep one."""
    if probe.torch is None:
        yield failed("torch", "PyTorch is not installed", "install what requirements.lock names (make setup)")
        return
    # Without a GPU at hand torch does not say what it was built for.
    known = probe if probe.torch_archs else replace(probe, torch_archs=None)
    if problem := known.software_mismatch(profile):
        yield failed("torch", problem, "install a build of PyTorch for it, or use the profile's image")
    else:
        build = f"CUDA {probe.torch_cuda}" if probe.torch_cuda else "CPUs"
        yield passed("torch", f"{probe.torch}, built for {build}")
    if profile.gpu is not None and probe.torch_cuda is not None and probe.cuda_driver is not None:
        yield driver(probe.torch_cuda, probe)


def driver(cuda: str, probe: Probe) -> Line:
    """A driver serves its own CUDA, all older ones, and every minor version of its own major one."""
    check = "driver"
    major = int(cuda.partition(".")[0])
    said = f"driver {probe.driver} serves CUDA {probe.cuda_driver}, PyTorch wants {cuda}"
    if int((probe.cuda_driver or "0").partition(".")[0]) < major:
        oldest = OLDEST_DRIVER.get(major, "a newer one")
        return failed(check, said, f"ask for nodes with driver {oldest} or newer, or install PyTorch for an older CUDA")
    return passed(check, said)


def _few(words: list[str]) -> str:
    more = len(words) - SHOWN
    return "; ".join(words[:SHOWN]) + (f"; and {more} more" if more > 0 else "")
