"""What start-up measured, as it lies on disk, and its table, picture and page."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from bench.errors import UserError
from bench.files import write_together
from bench.speed.document import document_link
from bench.tables import Cell, Column, Table, escape_markdown
from bench.training import FIRST_STEP

SCHEMA_VERSION = 1
STARTUP_NAME, PAGE, PICTURE = "startup.json", "README.md", "startup.svg"
EMPTY, COLD, WARM = "cold, data to be made", "cold", "warm"
KINDS = (EMPTY, COLD, WARM)
PROCESS, IMPORTS = "process", "imports"
MOST_PACKAGES = 12
MAX_BYTES = 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """One start of a trial. `parts_s`: seconds by part, in order; `FIRST_STEP` is what the first step takes longer than
    later ones, and is charged to training."""

    kind: str
    repeat: int
    parts_s: dict[str, float]

    @property
    def startup_s(self) -> float:
        """From the process's start (or the trial's, in one that is there) to the first step."""
        return sum(seconds for name, seconds in self.parts_s.items() if name != FIRST_STEP)


@dataclass(frozen=True, kw_only=True, slots=True)
class Startup:
    """A whole measurement. `imports_s`: by package, of a process that imports what trials do."""

    schema_version: int = SCHEMA_VERSION
    name: str
    workload: str
    data: str
    weights: str
    recipe: str
    profile: str
    threads: int
    repeats: int
    measured_at_s: float
    starts: tuple[Start, ...]
    imports_s: dict[str, float]
    provenance: dict[str, Any]

    def median_s(self, kind: str) -> float | None:
        """Start-up, the median over that kind's."""
        found = [start.startup_s for start in self.starts if start.kind == kind]
        return median(found) if found else None

    def parts(self) -> list[str]:
        """All parts, in the order in which they come."""
        return list(dict.fromkeys(name for kind in KINDS for s in self.starts if s.kind == kind for name in s.parts_s))

    def part_s(self, kind: str, part: str) -> float:
        """The median over that kind's; 0 where a start has no such part."""
        return median([start.parts_s.get(part, 0.0) for start in self.starts if start.kind == kind] or [0.0])


@cache
def _adapter() -> Any:
    from pydantic import ConfigDict, TypeAdapter, with_config

    for cls in (Start, Startup):
        with_config(ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))(cls)
    return TypeAdapter(Startup)


def load_startup(path: Path) -> Startup:
    """By its file or folder; the file may be anybody's. Raises UserError, in one sentence."""
    from pydantic import ValidationError

    if path.is_dir():
        path = path / STARTUP_NAME
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise UserError(f"{path} is larger than the {MAX_BYTES} bytes allowed: it was not made by this suite.")
        found: Startup = _adapter().validate_json(data)
    except OSError as error:
        raise UserError(f"Cannot read {path} ({error.strerror}): give the folder of a measured start-up.") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UserError(f"{path} is no measured start-up ({where}: {first['msg']}): measure it again.") from None
    if found.schema_version != SCHEMA_VERSION:
        raise UserError(
            f"{path} has schema {found.schema_version}; this version reads {SCHEMA_VERSION}: measure it again."
        )
    return found


def startup_table(found: Startup) -> Table:
    """Seconds of each part, by kind of start: medians."""
    kinds = [kind for kind in KINDS if found.median_s(kind) is not None]
    rows: list[tuple[Cell, ...]] = [
        (part, *(found.part_s(kind, part) for kind in kinds)) for part in found.parts() if part != FIRST_STEP
    ]
    first: tuple[Cell, ...] = (f"{FIRST_STEP}, beyond a later one", *(found.part_s(kind, FIRST_STEP) for kind in kinds))
    total: tuple[Cell, ...] = ("until the first step", *(found.median_s(kind) for kind in kinds))
    counts = ", ".join(f"{sum(start.kind == kind for start in found.starts)} {kind}" for kind in kinds)
    return Table(
        name="startup",
        title=f"From granted device to first step: {found.workload}, {found.recipe}",
        columns=(
            Column(key="part", header="part", align="left"),
            *(Column(key=re.sub(r"\W+", "_", kind), header=kind, unit="s", spec=".3f") for kind in kinds),
        ),
        rows=(*rows, total, first),
        strong=frozenset({len(rows)}),
        notes=(
            f"Medians of {counts} starts. Cold: a new process; warm: one that has trained before. What the first step "
            "takes longer than later ones is charged to training, and is not in the line above it.",
        ),
    )


def imports_table(found: Startup) -> Table:
    shown = list(found.imports_s.items())[:MOST_PACKAGES]
    others = sum(found.imports_s.values()) - sum(seconds for _, seconds in shown)
    return Table(
        name="imports",
        title="Imports by package, its own modules alone",
        columns=(
            Column(key="package", header="package", align="left"),
            Column(key="seconds", header="imports", unit="s", spec=".3f"),
        ),
        rows=(*shown, ("others", others), ("all", sum(found.imports_s.values()))),
        strong=frozenset({len(shown) + 1}),
        notes=("By -X importtime, in a process of its own, which that slows down somewhat.",),
    )


def write_startup(folder: Path, found: Startup) -> list[Path]:
    """The measurement, its page and its picture. Raises UserError where they cannot be written."""
    from bench.speed.pictures import stacked_svg

    rows = [
        {"bar": kind, "part": part, "seconds": max(0.0, found.part_s(kind, part))}
        for kind in KINDS
        if found.median_s(kind) is not None
        for part in found.parts()
    ]
    plain = _adapter().dump_python(found, mode="json")
    files = {
        STARTUP_NAME: json.dumps(plain, allow_nan=False, ensure_ascii=False, indent=1) + "\n",
        PAGE: page(found, folder),
        PICTURE: stacked_svg(rows, found.parts(), f"Start-up: {found.workload}"),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot make the folder {folder} ({error.strerror}): give another one as --out.") from None
    write_together({folder / name: text.encode() for name, text in files.items()})
    return [folder / name for name in files]


def page(found: Startup, folder: Path) -> str:
    """In Markdown, as it is to lie in that folder."""
    when = f"{datetime.fromtimestamp(found.measured_at_s, UTC):%Y-%m-%d}"
    told = f"{found.workload} ({found.data}; {found.weights}) under {found.recipe}, profile {found.profile}, {when}."
    lines = [
        f"# Start-up: {escape_markdown(found.name)}",
        "",
        escape_markdown(told),
        f"{document_link(folder)} says how it is measured.",
        "",
        startup_table(found).to_markdown(),
        f"![Seconds until the first step, by part, of each kind of start]({PICTURE})",
        "",
        imports_table(found).to_markdown(),
        f"All numbers are made from [{STARTUP_NAME}]({STARTUP_NAME}) by `sweepmark startup --show` with this "
        "folder's path.",
    ]
    return "\n".join(lines) + "\n"
