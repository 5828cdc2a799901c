"""The file of a measurement: what is written is read, and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.errors import UserError
from bench.stages.result import FILE_NAME, load, save
from tests.stages.rows import GPU, STUDY, full, measured, row


def test_what_is_written_is_read(tmp_path: Path) -> None:
    found = measured([row("plain", device_mib=10.0), full("zero1")], GPU)
    save(found, tmp_path / FILE_NAME)
    assert load(tmp_path) == load(tmp_path / FILE_NAME) == found
    before = (tmp_path / FILE_NAME).read_bytes()
    save(load(tmp_path), tmp_path / FILE_NAME)
    assert (tmp_path / FILE_NAME).read_bytes() == before


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"rows": 7}, "rows"),
        ({"more": 1}, "more"),
        ({"schema_version": 2}, "schema_version 2"),
        ({"study": {}}, "study.workload"),
    ],
)
def test_anything_else_is_refused_with_its_place(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    path = tmp_path / FILE_NAME
    save(measured([row("plain")]), path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change), encoding="utf-8")
    with pytest.raises(UserError, match=told):
        load(path)


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Cannot read .*stages.json"):
        load(tmp_path)
    (tmp_path / FILE_NAME).write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="JSON"):
        load(tmp_path)


def test_every_study_has_a_name_of_its_own() -> None:
    assert STUDY.name() != replace(STUDY, epochs=3).name() != replace(STUDY, only=("plain",)).name()
    assert STUDY.name().startswith("tiny-squad-qa-cpu-1x1-s0-")
