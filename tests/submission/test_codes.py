"""Every finding is explained in docs/submit.md, and can be caused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.resources import PACKAGE
from bench.submission import check
from bench.submission.check import check_submission
from bench.submission.codes import CODES
from tests.submission import (
    test_across,
    test_board,
    test_defects,
    test_files,
    test_simulated,
    test_texts,
)
from tests.submission.planted import copied

PAGE = PACKAGE.parent / "docs" / "submit.md"
ELSEWHERE = {"provisional", "no-statement", "leaderboard-unchecked", "check-failed"}
"""Caused by tests that are no rows of a table: in test_across, in test_files, in test_board and here."""


def test_every_code_is_in_the_page_with_its_level_and_meaning() -> None:
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (.+) \|$", PAGE.read_text(), re.MULTILINE))
    assert rows == {name: f"{code.level} | {code.meaning}" for name, code in CODES.items()}


def test_every_code_can_be_caused() -> None:
    caused = set(ELSEWHERE)
    for _, _, codes in test_defects.DEFECTS.values():
        caused |= codes
    for _, codes in (*test_defects.OF_OWN_DATA.values(), *test_files.DEFECTS.values(), *test_texts.DEFECTS.values(),
                     *test_across.DEFECTS.values(), *test_board.DEFECTS.values()):  # fmt: skip
        caused |= codes
    for _, errors, warnings in test_simulated.DEFECTS.values():
        caused |= errors | warnings
    caused |= {code for _, code in (*test_defects.WARNINGS.values(), *test_texts.WARNINGS.values())}
    caused |= {code for _, code in test_defects.RESUMED.values()}
    assert caused == set(CODES)


def test_a_check_that_breaks_is_a_finding_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> None:
        raise RecursionError("\x1b[31mtoo deep")

    monkeypatch.setattr(check, "check_trials", broken)
    root = copied(tmp_path, "random").parent
    copied(tmp_path, "asha")
    verdict = check_submission(root)
    assert verdict.errors == 2
    assert [f.code for f in verdict.findings if f.level == "error"] == ["check-failed"] * 2
    assert all(str(finding).isprintable() for finding in verdict.findings)
