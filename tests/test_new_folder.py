"""Nothing that was measured is written over."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import UserError
from bench.files import new_folder


def test_the_next_free_name_is_taken(tmp_path: Path) -> None:
    for expected in ("x", "x-2", "x-3"):
        with new_folder(None, tmp_path / "speed", "x") as folder:
            assert folder == tmp_path / "speed" / expected
            (folder / "kept").write_text(expected)
    assert (tmp_path / "speed" / "x" / "kept").read_text() == "x"


def test_what_holds_nothing_is_not_left(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), new_folder(None, tmp_path, "x"):
        raise KeyboardInterrupt
    assert not (tmp_path / "x").exists()


def test_a_folder_that_is_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for out, told in (
        (tmp_path, "exists: give a folder that does not"),
        (tmp_path / "file", "exists: give a folder that does not"),
        (tmp_path / "file" / "x", "Cannot make the folder"),
    ):
        with pytest.raises(UserError, match=told), new_folder(out, tmp_path / "speed", "x"):
            pytest.fail("it was given")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    with pytest.raises(UserError, match="give another --results"), new_folder(None, tmp_path / "file", "x"):
        pytest.fail("it was made")
