"""What a run inside an image says of it, read from the image file itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.container.sif import Image
from bench.errors import UserError
from bench.progress import counter

IMAGE_FILE = Path("/sweepmark/image.sif")
"""Where a launch binds the image's own file."""

MARK = Path(".singularity.d")
KEPT = Path("opt/sweepmark")
IMAGE_LOCK = Path("/") / KEPT / "python.lock"
UNCLEAN = "+changes"
UNKNOWN = "unknown"


def image_facts(root: Path = Path("/"), file: Path = IMAGE_FILE) -> dict[str, Any] | None:
    """None outside an image, or in one that is not this project's. `digest`: `sha256:...` of the image's root (None:
    its file is not at hand, since it was not started by `sweepmark run --container`). `definition_sha256`: of the
    definition file that it was built from. `labels`: as it carries them. `debian`: the distribution's packages and
    their versions. `git`: commit of the project in it, and whether it was `clean`; None where that is not known.

    Raises UserError where the file is another image than the one that runs.
    """
    if not (root / MARK).is_dir() or not (root / KEPT / "definition.sha256").is_file():
        return None
    labels: dict[str, str] = json.loads((root / MARK / "labels.json").read_text(encoding="utf-8"))
    commit = labels.get("sweepmark.commit", "")
    clean = not commit.endswith(UNCLEAN)
    return {
        "digest": _digest(root, file, labels) if file.is_file() else None,
        "definition_sha256": (root / KEPT / "definition.sha256").read_text(encoding="utf-8").strip(),
        "labels": {key: value for key, value in sorted(labels.items()) if key.startswith("sweepmark.")},
        "debian": debian_packages((root / KEPT / "dpkg-list.txt").read_text(encoding="utf-8")),
        "git": None if commit in ("", UNKNOWN) else {"commit": commit.removesuffix(UNCLEAN), "clean": clean},
    }


def debian_packages(listed: str) -> dict[str, str]:
    """Name to version, from lines of name, version and architecture."""
    return {name: version for name, version, *_ in (line.split("\t") for line in listed.splitlines() if line)}


def _digest(root: Path, file: Path, labels: dict[str, str]) -> str:
    """Of the file, once it has been seen to be the one that runs: its definition and labels are those in the root."""
    image = Image.open(file)
    running = (root / MARK / "Singularity").read_text(encoding="utf-8")
    if image.definition.strip() != running.strip() or image.labels != labels:
        raise UserError(f"{file} is not the image that runs here: start it with sweepmark run --container.")
    with counter("MiB of the image read") as on_done:
        return image.digest(on_done)
