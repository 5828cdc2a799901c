"""The files through which the nodes of a submitted measurement meet, and tell the login node what they found."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from bench.cluster.site import Site
from bench.files import write_together
from bench.stages.result import MAX_BYTES, Inputs, Row, StagesStudy

T = TypeVar("T")
_STRICT = {"extra": "forbid"}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What every node is told. `meet_s`: how long they wait for each other. `results`: a shared folder."""

    study: StagesStudy
    site: Site
    results: Path
    meet_s: float

    __pydantic_config__: ClassVar = _STRICT


@dataclass(frozen=True, kw_only=True)
class Begun:
    """The first node has read everything. `provenance`: its software and machine."""

    inputs: Inputs
    provenance: dict[str, Any]

    __pydantic_config__: ClassVar = _STRICT


@dataclass(frozen=True, kw_only=True)
class Where:
    """Where the processes of one row's training meet."""

    host: str
    port: int

    __pydantic_config__: ClassVar = _STRICT


@dataclass(frozen=True, kw_only=True)
class Left:
    """A node's processes of one row have ended; `exit_codes`: negative for a signal."""

    exit_codes: tuple[int, ...]

    __pydantic_config__: ClassVar = _STRICT


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A node cannot take part: the sentence for the user."""

    sentence: str

    __pydantic_config__: ClassVar = _STRICT


class Gathering:
    """The folder, which all nodes must share. Tasks count from 1, rows from 0."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self, plan: Plan) -> None:
        _write(self.folder / "plan.json", plan)

    def plan(self) -> Plan | None:
        return _read(self.folder / "plan.json", Plan)

    def come(self, task: int) -> None:
        (self.folder / f"present-{task}").touch()

    def absent(self, nodes: int) -> list[int]:
        """The tasks that have not come yet."""
        return [task for task in range(1, nodes + 1) if not (self.folder / f"present-{task}").exists()]

    def begin(self, begun: Begun) -> None:
        _write(self.folder / "begun.json", begun)

    def begun(self) -> Begun | None:
        return _read(self.folder / "begun.json", Begun)

    def work(self, row: int) -> Path:
        """For what the row's training writes."""
        return self.folder / f"work-{row}"

    def announce(self, row: int, where: Where) -> None:
        _write(self.folder / f"where-{row}.json", where)

    def where(self, row: int) -> Where | None:
        return _read(self.folder / f"where-{row}.json", Where)

    def leave(self, row: int, task: int, left: Left) -> None:
        _write(self.folder / f"left-{row}-{task}.json", left)

    def left(self, row: int, task: int) -> Left | None:
        return _read(self.folder / f"left-{row}-{task}.json", Left)

    def write_row(self, number: int, row: Row) -> None:
        _write(self.folder / f"row-{number}.json", row)

    def row(self, number: int) -> Row | None:
        return _read(self.folder / f"row-{number}.json", Row)

    def refuse(self, sentence: str) -> None:
        _write(self.folder / "refused.json", Refused(sentence=sentence))

    def refused(self) -> Refused | None:
        return _read(self.folder / "refused.json", Refused)

    def log_tail(self, length: int = 200) -> str:
        """The last line that a job printed."""
        lines: list[str] = []
        for path in sorted(self.folder.glob("log-*.out")):
            lines += [line.strip() for line in path.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1][:length] if lines else "it printed nothing"


def _write(path: Path, value: Any) -> None:
    write_together({path: json.dumps(asdict(value), default=str, sort_keys=True).encode()})


def _read(path: Path, cls: type[T]) -> T | None:
    """None where there is no such file, or it is of another kind."""
    from pydantic import TypeAdapter, ValidationError

    try:
        with path.open("rb") as file:
            kind: Any = cls
            value: T = TypeAdapter(kind).validate_json(file.read(MAX_BYTES))
            return value
    except (OSError, ValidationError):
        return None
