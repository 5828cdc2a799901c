"""A page links to what is there, and those that are kept are made of their records."""

from __future__ import annotations

from pathlib import Path

from bench.speed import startup
from bench.speed.document import document_link
from bench.speed.page import page, write_page
from bench.speed.record import load_ladder
from bench.speed.summary import rows
from tests.speed.ladders import a_ladder


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
