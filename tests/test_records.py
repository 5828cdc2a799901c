"""The committed records are what their journals say, and the README says what the records say."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.journal import JOURNAL_NAME, read_journal
from bench.record import RECORD_NAME, build_record, encode_record, journal_sha256, load_record
from bench.report import compare
from bench.resources import PACKAGE

ROOT = PACKAGE.parent
FOLDERS = sorted(path.parent for path in (ROOT / "results" / "records").glob(f"*/{RECORD_NAME}"))


def test_there_are_records() -> None:
    assert {folder.name.split("-")[0] for folder in FOLDERS} >= {"manual", "random", "asha", "bohb", "pbt"}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_record_is_made_again_from_its_journal(folder: Path) -> None:
    path = folder / JOURNAL_NAME
    made = encode_record(build_record(read_journal(path), journal_sha256(path)))
    assert made == (folder / RECORD_NAME).read_bytes()
    record = load_record(folder / RECORD_NAME)
    assert record.status == "finished"
    assert record.provenance["git"]["clean"] is True
    assert record.provenance["lock"]["differences"] == []
    assert str(ROOT) not in path.read_text()


def test_the_readme_shows_the_costs_of_the_records() -> None:
    table = compare([load_record(folder / RECORD_NAME) for folder in FOLDERS]).table("costs").to_markdown()
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert "\n".join(rows) in (ROOT / "README.md").read_text(), "copy the table from `sweepmark report --markdown`"
