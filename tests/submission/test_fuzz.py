"""Whatever the bytes: no traceback, no check that breaks, no line that could steer a terminal, and no change unseen."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import UserError
from bench.record import RECORD_NAME, record_run
from bench.submission import Verdict, check_submission
from tests.submission.planted import NOW_S, RECORDS

EXAMPLES = settings(max_examples=100, deadline=None)
VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 0, -1, 1, 2, 0.5, -0.0, 1e-320, 1e15, -1e15, 10**15, "", "x" * 300, "final", "0001", "completed",
     "<script>alert(1)</script>", "\x1b[2J\u202e", "../../etc/passwd", [], [[]], [1, "a"], {}, {"": {}}, {"a": [0]}]
)  # fmt: skip
SHARE = st.floats(0, 1)
EDITS = st.lists(
    st.tuples(SHARE, st.sampled_from(["flip", "insert", "drop", "cut"]), st.integers(0, 255)), min_size=1, max_size=4
)
KINDS = ["set", "set", "set", "delete", "double", "drop", "swap"]
CHANGES = st.lists(st.tuples(st.sampled_from(KINDS), SHARE, SHARE, VALUES), min_size=1, max_size=3)


@cache
def source() -> Path:
    return next(RECORDS.glob("pbt-*"))


@cache
def texts() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in source().iterdir()}


def checked(**changed: bytes) -> Verdict:
    """The verdict on the run with these files changed (by the name before the dot)."""

    def plant(run: Path) -> None:
        for name in texts():
            if (stem := name.partition(".")[0]) in changed:
                (run / name).write_bytes(changed[stem])

    return _checked(plant)


def _checked(plant: Callable[[Path], object]) -> Verdict:
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / source().name
        run.mkdir()
        for name, data in texts().items():
            (run / name).write_bytes(data)
        plant(run)
        verdict = check_submission(Path(folder), now_s=NOW_S)
    for finding in verdict.findings:
        assert finding.code != "check-failed", str(finding)
        assert str(finding).isprintable()
    return verdict


def edited(data: bytes, edits: list[tuple[float, str, int]]) -> bytes:
    for share, kind, byte in edits:
        at = int(share * max(0, len(data) - 1))
        match kind:
            case "flip":
                data = data[:at] + bytes([byte]) + data[at + 1 :]
            case "insert":
                data = data[:at] + bytes([byte]) + data[at:]
            case "drop":
                data = data[:at] + data[at + 1 + byte :]
            case _:
                data = data[:at]
    return data


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [p for key, child in children for p in [(*path, key), *paths(child, (*path, key))]]


def change(value: Any, kind: str, where: float, other: Any) -> None:
    """Set or delete one of the values anywhere in a JSON value."""
    places = paths(value)
    if not places:
        return
    *parents, key = places[int(where * (len(places) - 1))]
    for parent in parents:
        value = value[parent]
    if kind == "delete":
        del value[key]
    else:
        value[key] = copy.deepcopy(other)


@EXAMPLES
@given(EDITS)
def test_bytes_of_a_journal(edits: list[tuple[float, str, int]]) -> None:
    data = edited(texts()["events.jsonl"], edits)
    verdict = checked(events=data)
    whole = data[: data.rfind(b"\n") + 1]
    assert bool(verdict.errors) == (whole != texts()["events.jsonl"])


@EXAMPLES
@given(EDITS)
def test_bytes_of_a_record(edits: list[tuple[float, str, int]]) -> None:
    data = edited(texts()[RECORD_NAME], edits)
    assert bool(checked(record=data).errors) == (data != texts()[RECORD_NAME])


@EXAMPLES
@given(CHANGES)
def test_events_of_a_journal(changes: list[tuple[str, float, float, Any]]) -> None:
    """The record is made again where it can be, so that nothing but the checks themselves can tell."""
    events = [json.loads(line) for line in texts()["events.jsonl"].splitlines()]
    for kind, which, where, other in changes:
        at = int(which * (len(events) - 1))
        match kind:
            case "double":
                events.insert(at, json.loads(json.dumps(events[at])))
            case "drop":
                del events[at : at + 1 + int(where * 20)]
            case "swap":
                last = int(where * (len(events) - 1))
                events[at], events[last] = events[last], events[at]
            case _:
                change(events[0 if where < 0.3 else at], kind, where, other)
        if not events:
            return

    def plant(run: Path) -> None:
        (run / "events.jsonl").write_text("".join(f"{json.dumps(event)}\n" for event in events))
        with suppress(UserError, LookupError, ArithmeticError, ValueError):
            record_run(run)

    _checked(plant)


@EXAMPLES
@given(st.floats(0, 1), st.sampled_from(["set", "delete"]), VALUES)
def test_values_of_a_record(where: float, kind: str, other: Any) -> None:
    values = json.loads(texts()[RECORD_NAME])
    change(values, kind, where, other)
    data = (json.dumps(values, ensure_ascii=False, indent=1) + "\n").encode()
    assert bool(checked(record=data).errors) == (data != texts()[RECORD_NAME])


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_for_the_small_files(data: bytes) -> None:
    def plant(run: Path) -> None:
        for name in ("submission.toml", "README.md", "leaderboard.json", "mine.py"):
            (run.parent / name).write_bytes(data)

    assert _checked(plant).errors
