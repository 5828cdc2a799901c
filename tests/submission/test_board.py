"""A leaderboard in a submission is made again from its runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.leaderboard import boards, collect
from bench.leaderboard.write import leaderboard_texts
from bench.submission.files import LEADERBOARD_NAME
from tests.submission.planted import copied, found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two runs and their leaderboard."""
    root = copied(tmp_path, "random").parent
    copied(tmp_path, "manual")
    (root / LEADERBOARD_NAME).write_text(leaderboard_texts(boards(collect([root])))[LEADERBOARD_NAME])
    return root


def changed(change: Callable[[Any], object]) -> Callable[[Path], None]:
    def plant(path: Path) -> None:
        board = json.loads(path.read_text())
        change(board)
        path.write_text(json.dumps(board))

    return plant


def first_table(board: Any) -> Any:
    return next(iter(board["tables"].values()))


def ratio(board: Any) -> None:
    first_table(board)["rows"][0]["allocated_device_min"] *= 0.9


DEFECTS: dict[str, tuple[Callable[[Path], object], set[str]]] = {
    "a cheaper row": (changed(ratio), {"leaderboard-differs"}),
    "another title": (changed(lambda board: board.update(title="Best")), {"leaderboard-differs"}),
    "a row left out": (changed(lambda board: first_table(board)["rows"].pop()), {"leaderboard-differs"}),
    "no JSON": (lambda path: path.write_text("[" * 100_000), {"bad-json"}),
}


def test_its_own_leaderboard_is_accepted(root: Path) -> None:
    assert not found(root)
    assert "leaderboard-unchecked" not in found(root, "warning")


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_forged_leaderboard_is_found(defect: str, root: Path) -> None:
    plant, codes = DEFECTS[defect]
    plant(root / LEADERBOARD_NAME)
    assert set(found(root)) == codes


def test_a_leaderboard_of_refused_runs_is_not_made_again(root: Path) -> None:
    (next(root.glob("random*")) / "notes.txt").touch()
    assert set(found(root)) == {"unexpected-file"}
    assert "leaderboard-unchecked" in found(root, "warning")
