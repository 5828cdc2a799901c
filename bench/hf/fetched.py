"""What `sweepmark fetch` left in the hub's cache: a list of files with checksums, which can be verified offline.

Loads neither torch nor datasets.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from bench.errors import UserError
from bench.files import write_together
from bench.progress import OnDone
from bench.workload import Workload

SCHEMA_VERSION = 1
MAX_BYTES = 16 * 2**20
CHUNK = 4 * 2**20
Place = Literal["hub", "datasets"]


@dataclass(frozen=True, kw_only=True)
class Repository:
    """One of the hub's, at a pinned revision."""

    kind: Literal["model", "dataset"]
    name: str
    revision: str

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    def __str__(self) -> str:
        return f"{self.name} at revision {self.revision[:12]}"


@dataclass(frozen=True, kw_only=True)
class CachedFile:
    """`path`: under the cache of that `place`: the hub's own, or that of `datasets`."""

    place: Place
    path: str
    size: int
    sha256: str

    __pydantic_config__: ClassVar = {"extra": "forbid"}


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """All that a workload needs of the hub."""

    schema_version: int = SCHEMA_VERSION
    workload: str
    repositories: tuple[Repository, ...]
    files: tuple[CachedFile, ...]

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


def repositories(workload: Workload) -> tuple[Repository, ...]:
    """Those that the workload's model and data come from; none where both are made here. Raises UserError where a
    revision is not pinned."""
    model, data = workload.model, workload.data
    found = []
    if model.hub is not None:
        found.append(Repository(kind="model", name=model.hub, revision=str(model.revision)))
    if data.hub is not None:
        if data.revision is None:
            raise UserError(f"The revision of {data.hub} is not pinned: give it in the workload {workload.name}.")
        found.append(Repository(kind="dataset", name=data.hub, revision=data.revision))
    return tuple(found)


def home() -> Path:
    """Of the hub's libraries (HF_HOME)."""
    from huggingface_hub import constants

    return Path(constants.HF_HOME)


def folder(place: Place) -> Path:
    """The cache's folder, by the libraries' own rules."""
    from huggingface_hub import constants

    if place == "hub":
        return Path(constants.HF_HUB_CACHE)
    return Path(os.environ.get("HF_DATASETS_CACHE") or home() / "datasets").expanduser()


def manifest_path(workload: Workload) -> Path:
    return home() / f"sweepmark-{workload.name}.json"


def save(workload: Workload, manifest: Manifest) -> None:
    """Raises UserError where it cannot be written."""
    from pydantic import TypeAdapter

    data = TypeAdapter(Manifest).dump_json(manifest, indent=1)
    write_together({manifest_path(workload): data + b"\n"})


def load(workload: Workload) -> Manifest | None:
    """None where there is none that can be read."""
    from pydantic import TypeAdapter, ValidationError

    try:
        with manifest_path(workload).open("rb") as file:
            return TypeAdapter(Manifest).validate_json(file.read(MAX_BYTES))
    except (OSError, ValidationError):
        return None


def faults(workload: Workload, on_done: OnDone | None = None) -> list[str]:
    """What an offline node would miss, in words; nothing where all that the workload needs is there and unchanged.
    `on_done` is told MiB."""
    needed = repositories(workload)
    if not needed:
        return []
    manifest = load(workload)
    if manifest is None:
        name = manifest_path(workload).name
        return [f"{name} is missing in {home()}, or damaged, so that nothing can be verified"]
    if manifest.repositories != needed:
        return [f"what was fetched is not {' and '.join(map(str, needed))}"]
    done, found = 0, []
    for file in manifest.files:
        if problem := fault(file):
            found.append(problem)
        done += file.size
        if on_done is not None:
            on_done(done >> 20, manifest.size >> 20)
    return [*found, *(problem for each in needed for problem in overshadowed(each, manifest))]


def fault(file: CachedFile) -> str:
    """What is wrong with one file; empty where nothing is."""
    path = folder(file.place) / file.path
    name = f"{path.name} in {Path(file.path).parts[0]}"
    try:
        if path.stat().st_size == file.size and sha256(path) == file.sha256:
            return ""
    except FileNotFoundError:
        return f"{name} is missing"
    except OSError as error:
        return f"{name} cannot be read ({error.strerror})"
    return f"{name} has changed"


def overshadowed(repository: Repository, manifest: Manifest) -> Iterator[str]:
    """Offline, `datasets` takes the copy of a data set that was made last, whatever its revision."""
    if repository.kind != "dataset":
        return
    ours = {(folder("datasets") / file.path).parent for file in manifest.files if file.place == "datasets"}
    for own in ours:
        made = [other for other in own.parents[2].glob("*/*/*") if other.is_dir() and other not in ours]
        for other in made:
            if own.is_dir() and other.stat().st_mtime > own.stat().st_mtime:
                yield f"an offline node would take {other.name[:12]} in {other.parents[2].name}, a newer copy"


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
