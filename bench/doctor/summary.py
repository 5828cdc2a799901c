"""The lines as a table for people and as plain data for machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from bench.doctor.line import Line, Status
from bench.tables import Column, Table

WORDS: dict[Status, tuple[str, str]] = {
    "pass": ("passed", "passed"),
    "warn": ("warning", "warnings"),
    "fail": ("failed", "failed"),
}


def table(lines: Sequence[Line], title: str) -> Table:
    """What can be done stands behind what was found. A column tells the node where any line has one; what several nodes
    say alike shares a row."""
    several = any(line.node for line in lines)
    nodes: dict[Line, list[str]] = {}
    for line in lines:
        nodes.setdefault(replace(line, node=""), []).append(line.node or "here")
    columns = (
        *((Column(key="node", header="node", align="left", wraps=True),) if several else ()),
        Column(key="check", header="check", align="left"),
        Column(key="status", header="status", align="left"),
        Column(key="found", header="found", align="left", wraps=True),
    )
    rows = [
        (*((", ".join(dict.fromkeys(where)),) if several else ()), line.check, line.status, _told(line))
        for line, where in nodes.items()
    ]
    return Table(name="doctor", title=title, columns=columns, rows=tuple(rows), identity=len(columns) - 2)


def _told(line: Line) -> str:
    return f"{line.found} → {line.remedy}" if line.remedy else line.found


def counts(lines: Sequence[Line]) -> dict[Status, int]:
    return {status: sum(line.status == status for line in lines) for status in WORDS}


def last_line(lines: Sequence[Line]) -> str:
    """`12 passed, 1 warning, 1 failed`."""
    return ", ".join(f"{count} {WORDS[status][count != 1]}" for status, count in counts(lines).items())


def worst(lines: Sequence[Line]) -> Status:
    found = counts(lines)
    return "fail" if found["fail"] else "warn" if found["warn"] else "pass"


def to_dict(lines: Sequence[Line]) -> dict[str, Any]:
    return {"lines": [asdict(line) for line in lines], "counts": counts(lines), "status": worst(lines)}
