"""The files through which a submitted check's nodes meet, and tell the login node what they found."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from bench.cluster.site import Site
from bench.doctor.line import Line
from bench.doctor.ports import Listener
from bench.files import write_together

SHARED_BYTES = 2**20
MAX_BYTES = 4 * 2**20
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What every node is told. `nodes`: how many take part. `meet_s`: how long they wait for each other. `asked_s`:
    Unix time of the submission. `by_files_s`: how far the login node's clock is ahead of the file system's. `sha256`:
    of the file beside it."""

    profile: str
    workload: str
    site: Site
    results: Path
    nodes: int
    meet_s: float
    asked_s: float
    by_files_s: float
    sha256: str

    __pydantic_config__: ClassVar = {"extra": "forbid"}


@dataclass(frozen=True, kw_only=True)
class Present:
    """A node that has come. `backend`: of its all-reduce. `listener`: None where it has no address to listen on."""

    task: int
    node: str
    began_s: float
    backend: str
    listener: Listener | None = None

    __pydantic_config__: ClassVar = {"extra": "forbid"}


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that a node found. Times and `by_files_s`: by its own clock."""

    task: int
    node: str
    began_s: float
    reported_s: float
    by_files_s: float
    lines: tuple[Line, ...]

    __pydantic_config__: ClassVar = {"extra": "forbid"}


class Gathering:
    """The folder, which all nodes must share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = folder / "lock"
        self.exchange = folder / "exchange"
        self.shared = folder / "shared"
        self._plan = folder / "plan.json"

    def share(self) -> str:
        """Write a file that all nodes are to see; its sha256."""
        content = os.urandom(SHARED_BYTES)
        write_together({self.shared: content})
        return hashlib.sha256(content).hexdigest()

    def open(self, plan: Plan) -> None:
        self.exchange.mkdir()
        self.lock.touch()
        _write(self._plan, plan)

    def plan(self) -> Plan | None:
        return _read(self._plan, Plan)

    def come(self, present: Present) -> None:
        _write(self._present(present.task), present)

    def everybody(self, nodes: int) -> list[Present]:
        """Those that have come, by task."""
        found = (_read(self._present(task), Present) for task in range(1, nodes + 1))
        return [present for present in found if present is not None]

    def leave(self, task: int) -> None:
        """This node needs no other one any more."""
        self._left(task).touch()

    def all_left(self, nodes: int) -> bool:
        return all(self._left(task).exists() for task in range(1, nodes + 1))

    def write_report(self, report: Report) -> None:
        _write(self._report(report.task), report)

    def report(self, task: int) -> Report | None:
        return _read(self._report(task), Report)

    def log_tail(self, task: int, length: int = 200) -> str:
        """The last line that a task's job printed."""
        lines: list[str] = []
        for path in self.folder.glob(f"log-*_{task}.out"):
            lines += [line.strip() for line in path.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1][:length] if lines else "it printed nothing"

    def _present(self, task: int) -> Path:
        return self.folder / f"present-{task}.json"

    def _left(self, task: int) -> Path:
        return self.folder / f"left-{task}"

    def _report(self, task: int) -> Path:
        return self.folder / f"report-{task}.json"


def missing(nodes: int, present: list[Present]) -> Iterator[int]:
    come = {each.task for each in present}
    return (task for task in range(1, nodes + 1) if task not in come)


def _write(path: Path, value: Any) -> None:
    write_together({path: json.dumps(asdict(value), default=str, sort_keys=True).encode()})


def _read(path: Path, cls: type[T]) -> T | None:
    """None where there is no such file, or it is of another kind."""
    from pydantic import TypeAdapter, ValidationError

    kind: Any = cls
    try:
        with path.open("rb") as file:
            value: T = TypeAdapter(kind).validate_json(file.read(MAX_BYTES))
            return value
    except (OSError, ValidationError):
        return None
