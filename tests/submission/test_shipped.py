"""Submissions that this repository holds are those that its own checks accept."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.submission.planted import SUBMISSIONS, found

SHIPPED = sorted(path for path in SUBMISSIONS.glob("*") if path.is_dir())


def test_there_are_some() -> None:
    assert SHIPPED


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda path: path.name)
def test_it_is_accepted(folder: Path) -> None:
    assert not found(folder)
