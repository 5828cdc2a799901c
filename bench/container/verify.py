"""Whether an image holds what it claims, and what this checkout would build."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.container.contents import Contents
from bench.container.deffile import Definition, filled_with
from bench.container.inside import UNCLEAN
from bench.container.lockfile import normalised, pins
from bench.container.sif import Image
from bench.errors import UserError
from bench.provenance import git_state

LABELS = (
    "profile", "commit", "source-date-epoch", "base", "base-tag", "lock-sha256", "debs-sha256", "python", "torch",
    "cuda", "cudnn", "arch",
)  # fmt: skip
"""What each image carries, behind `sweepmark.`."""

FREE = ("commit", "source_date_epoch", "wheelhouse")
"""Arguments that may differ from the definition's defaults: they tell which build, or where its parts lay."""

PROJECT = "sweepmark"
NONE = "none"
MENTIONED = 3
LONGEST = 300
"""Letters of a fault."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """`said`: what was found, in a few words."""

    name: str
    passed: bool
    said: str


def verify(image: Image, contents: Contents, folder: Path) -> list[Check]:
    """Every check, passed or not. `folder`: a checkout of the project, with containers/ in it. Raises UserError where
    there is none, or labels cannot be read."""
    containers = folder / "containers"
    if not containers.is_dir():
        raise UserError(f"There is no {containers}: images are verified in a checkout of the project.")
    labels = {name.removeprefix("sweepmark."): value for name, value in image.labels.items()}
    embedded = Definition.parse(image.definition, image.path)
    kept = contents.text("definition")
    values = filled_with(kept, image.definition)
    return [
        _labels(labels, embedded),
        _version("Python", labels.get("python"), contents.python_version),
        _version("torch", labels.get("torch"), _python_version(contents, "torch")),
        _version("CUDA", labels.get("cuda"), _python_version(contents, "nvidia-cuda-runtime"), parts=2),
        _version("cuDNN", labels.get("cudnn"), _python_version(contents, "nvidia-cudnn")),
        _python(contents),
        _debian(contents),
        _same_file(
            "Python lock", contents, "python.lock", containers, (values or {}).get("lock"), labels, "lock-sha256"
        ),
        _same_file(
            "Debian lock", contents, "debian.lock", containers, (values or {}).get("debs"), labels, "debs-sha256"
        ),
        _definition(contents, containers, labels.get("profile", "")),
        _embedded(values),
        _inputs(Definition.parse(kept, image.path).defaults, values),
        _selftest(contents, containers),
        _commit(labels.get("commit", ""), folder),
    ]


def _labels(labels: Mapping[str, str], embedded: Definition) -> Check:
    """All there, and as the embedded definition writes them."""
    wanted = {name.removeprefix("sweepmark."): value for name, value in embedded.labels.items()}
    faults = [
        *(f"{name} is missing" for name in LABELS if not labels.get(name)),
        *_differing(wanted, {name: labels.get(name) for name in wanted}),
    ]
    return _outcome("labels", faults, f"{len(LABELS)}, as the definition has them")


def _version(what: str, label: str | None, installed: str, parts: int | None = None) -> Check:
    """`parts`: how many of a version's numbers count, from the left (None: all)."""
    same = label is not None and label.split(".")[:parts] == installed.split(".")[:parts]
    return _outcome(what, [] if same else [f"the label says {label}, {installed} is installed"], installed)


def _python_version(contents: Contents, prefix: str) -> str:
    """Of the package with that name, or that name and CUDA's behind it."""
    found = (package for name, package in contents.python.items() if name == prefix or name.startswith(f"{prefix}-cu"))
    return next((package.version for package in found), NONE)


def _python(contents: Contents) -> Check:
    """Installed = lock and the project = what pip said when the image was built."""
    installed = {name: package.version for name, package in contents.python.items()}
    said = (line.partition("==") for line in contents.text("pip-freeze.txt").splitlines() if line)
    frozen = {normalised(name): version for name, _, version in said}
    locked = pins(contents.text("python.lock"))
    faults = [
        *(f"lock: {fault}" for fault in _differing(locked, {**installed, PROJECT: None})),
        *(f"pip-freeze.txt: {fault}" for fault in _differing(frozen, installed)),
    ]
    if PROJECT not in installed:
        faults.append(f"{PROJECT} itself is not installed")
    return _outcome("Python packages", faults, f"{len(installed)}, as in python.lock and pip-freeze.txt")


def _debian(contents: Contents) -> Check:
    """Installed = what dpkg said when the image was built, and every package of the lock among it."""
    installed = {name: f"{package.version} {package.architecture}" for name, package in contents.debian.items()}
    rows = [line.split("\t") for line in contents.text("dpkg-list.txt").splitlines()]
    listed = {row[0]: " ".join(row[1:]) for row in rows}
    locked = _deb_lock(contents.text("debian.lock"))
    # File names leave a version's epoch out.
    files = {name: package.version.rpartition(":")[2] for name, package in contents.debian.items()}
    faults = [
        *(f"dpkg-list.txt: {fault}" for fault in _differing(listed, installed)),
        *(f"lock: {fault}" for fault in _differing(locked, {name: files.get(name) for name in locked})),
    ]
    return _outcome(
        "Debian packages", faults, f"{len(installed)}, as in dpkg-list.txt; {len(locked)} of them from debian.lock"
    )


def _deb_lock(lock: str) -> dict[str, str]:
    """Name to version without epoch, from the names of the files."""
    files = (line.rpartition("/")[2].split("_") for line in lock.splitlines() if not line.startswith("#"))
    return {parts[0]: parts[1].rpartition(":")[2] for parts in files if len(parts) == 3}


def _same_file(
    what: str,
    contents: Contents,
    kept: str,
    containers: Path,
    argument: str | None,
    labels: Mapping[str, str],
    label: str,
) -> Check:
    """The lock in the image, the hash that its label tells, and the checkout's file that it was built from."""
    has = _sha256(contents.kept[kept])
    path = containers / Path(argument or "").name
    faults = []
    if labels.get(label) != has:
        faults.append(f"label {label} is {labels.get(label)}, /opt/sweepmark/{kept} has {has}")
    if argument is None or not path.is_file():
        faults.append(f"this checkout has no {argument}")
    elif _sha256(path.read_bytes()) != has:
        faults.append(f"{argument} of this checkout is another")
    return _outcome(what, faults, f"{argument} of this checkout")


def _definition(contents: Contents, containers: Path, profile: str) -> Check:
    has = contents.kept["definition"]
    path = containers / f"{profile}.def"
    faults = []
    if contents.text("definition.sha256").strip() != _sha256(has):
        faults.append("definition.sha256 in the image is not that of its definition")
    # The label comes from the image: a name, and no path.
    if not profile.isalnum() or not path.is_file():
        faults.append(f"this checkout has no containers/{profile}.def")
    elif path.read_bytes() != has:
        faults.append(f"containers/{profile}.def of this checkout is another")
    return _outcome("definition", faults, f"containers/{profile}.def of this checkout")


def _embedded(values: Mapping[str, str] | None) -> Check:
    faults = ["the definition in the image file is not the one in /opt/sweepmark"] if values is None else []
    return _outcome("embedded definition", faults, "the same, its arguments filled in")


def _inputs(defaults: Mapping[str, str], values: Mapping[str, str] | None) -> Check:
    """The arguments that it was built with. A base may come from another registry, since its digest is the same."""
    if values is None:
        return _outcome("inputs", ["unknown, since the definitions differ"], "")
    changed = {name: value for name, value in values.items() if name not in FREE and value != defaults.get(name)}
    base, wanted = (found.partition("@")[2] for found in (values.get("base", ""), defaults.get("base", "")))
    if base and base == wanted:
        changed.pop("base", None)
    faults = [f"{name} is {value}, not {defaults.get(name)}" for name, value in sorted(changed.items())]
    return _outcome("inputs", faults, "the definition's own")


def _selftest(contents: Contents, containers: Path) -> Check:
    path = containers / "selftest.py"
    same = path.is_file() and path.read_bytes() == contents.kept["selftest.py"]
    return _outcome("self-test", [] if same else ["containers/selftest.py of this checkout is another"], path.name)


def _commit(label: str, folder: Path) -> Check:
    state = git_state(folder)
    faults = []
    if label.endswith(UNCLEAN):
        faults.append(f"built from {label.removesuffix(UNCLEAN)} with changes that no commit has")
    elif state is None:
        faults.append(f"the image is of {label}; this checkout's commit is unknown")
    elif state["commit"] != label:
        faults.append(f"the image is of {label}, this checkout of {state['commit']}")
    return _outcome("commit", faults, label)


def _differing(wanted: Mapping[str, str], found: Mapping[str, str | None]) -> list[str]:
    """Where two lists of versions differ, in words, by name. None is as good as absent."""
    names = sorted(wanted.keys() | {name for name, value in found.items() if value is not None})
    return [
        f"{name} {found.get(name) or 'is missing'} instead of {wanted.get(name) or 'nothing'}"
        for name in names
        if found.get(name) != wanted.get(name)
    ]


def _outcome(name: str, faults: list[str], well: str) -> Check:
    return Check(name=name, passed=not faults, said=_few(faults) if faults else well)


def _few(faults: list[str]) -> str:
    """The first faults, in one line that a terminal can show: they quote the image."""
    more = len(faults) - MENTIONED
    said = "; ".join(fault[:LONGEST] for fault in faults[:MENTIONED]) + (f"; and {more} more" if more > 0 else "")
    return "".join(letter if letter.isprintable() else "?" for letter in said)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
