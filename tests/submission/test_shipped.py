"""Submissions that this repository holds are those that its own checks accept."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.submission.files import STATEMENT_NAME
from tests.submission.planted import SUBMISSIONS, found

SHIPPED = sorted(path for path in SUBMISSIONS.glob("*") if path.is_dir())


def test_there_are_some() -> None:
    assert SHIPPED


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda path: path.name)
def test_it_is_accepted_and_somebody_answers_for_it(folder: Path) -> None:
    assert not found(folder)
    assert (folder / STATEMENT_NAME).is_file()
