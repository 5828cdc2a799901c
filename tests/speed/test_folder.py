"""Nothing that was measured is written over, and a page links to what is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import UserError
from bench.speed import startup
from bench.speed.folder import document_link, new_folder
from bench.speed.page import page, write_page
from bench.speed.record import load_ladder
from bench.speed.summary import rows
from tests.speed.ladders import a_ladder


def test_the_next_free_name_is_taken(tmp_path: Path) -> None:
    for expected in ("x", "x-2", "x-3"):
        with new_folder(None, tmp_path / "speed", "x") as folder:
            assert folder == tmp_path / "speed" / expected
            write_page(folder, a_ladder(name=expected))
    assert load_ladder(tmp_path / "speed" / "x").name == "x"


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


def test_a_page_links_to_the_document_where_that_is(tmp_path: Path) -> None:
    assert document_link(Path("results/speed/new")) == "[docs/speed.md](../../../docs/speed.md)"
    assert document_link(Path("elsewhere")) == document_link(Path("/x")) == "docs/speed.md"
    write_page(tmp_path / "out", a_ladder())
    text = (tmp_path / "out" / "README.md").read_text()
    assert "device. docs/speed.md says" in text


def test_the_pages_kept_are_made_of_their_records() -> None:
    found = sorted(Path("results/speed").glob("*/README.md"))
    assert found
    for path in found:
        folder = path.parent
        if (folder / startup.STARTUP_NAME).exists():
            made = startup.page(startup.load_startup(folder), folder)
        else:
            made = page(ladder := load_ladder(folder), rows(ladder), folder)
        assert made == path.read_text(), folder
