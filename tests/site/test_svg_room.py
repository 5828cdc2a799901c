"""Static pictures in a browser whose font is wider than the one that they were measured with."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from bench.pictures import board_rows, run_rows, to_svg
from bench.record import build_record
from tests.pictures.drawn import MIXED, SVG, Drawn, events, full_board

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WIDE = "DejaVu Sans, Verdana, sans-serif"
"""About a sixth wider than the font that widths were measured with."""
LONG = "Ray best (BOHB), tiny-squad, data SQuAD v1.1 (XQuAD-en subset), 24 trials, learning rate 1e-6..2e-4"
OUTSIDE = """() => {
  const svg = document.querySelector("svg"), paper = svg.getBoundingClientRect();
  return [...svg.querySelectorAll("text")].filter((text) => text.textContent.trim()).filter((text) => {
    const box = text.getBoundingClientRect();
    return box.left < paper.left || box.right > paper.right || box.top < paper.top || box.bottom > paper.bottom;
  }).map((text) => text.textContent);
}"""


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    yield page
    page.close()


@pytest.fixture(scope="module")
def pictures() -> dict[str, list[dict[str, Any]]]:
    """With labels as long as any that is not cut."""
    runs = run_rows(build_record(events(MIXED)), events(MIXED))
    boards = board_rows(full_board())
    return runs | {name: [row | {"label": f"{row['label']}, {LONG}"} for row in rows] for name, rows in boards.items()}


def outside(page: Page, svg: str) -> list[str]:
    wide = re.sub('font-family="[^"]*"', f'font-family="{WIDE}"', svg)
    page.set_content(f"<!doctype html><body>{wide}")
    return page.evaluate(OUTSIDE)  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", ["trace", "curves", "schedule", "space", "phases", "ratios", "quality"])
def test_no_text_leaves_the_paper(name: str, page: Page, pictures: dict[str, list[dict[str, Any]]]) -> None:
    assert outside(page, to_svg(name, pictures[name], title=f"{name}: {LONG}, {LONG}")) == []
    if name in ("trace", "space", "phases"):
        several = [row | {"run": f"{LONG}, seed {seed}"} for seed in range(3) for row in pictures[name]]
        assert outside(page, to_svg(name, several, several=True)) == []


def test_a_text_that_leaves_the_paper_is_found(page: Page) -> None:
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="50" height="50"><text y="20">Far too long</text></svg>'
    assert outside(page, svg) == ["Far too long"]


def test_a_long_title_has_lines(pictures: dict[str, list[dict[str, Any]]]) -> None:
    drawn = Drawn(to_svg("trace", pictures["trace"], title=f"{LONG}, {LONG}"))
    lines = [line.text or "" for line in drawn.root.iter(f"{SVG}tspan")]
    assert " ".join(lines) == f"{LONG}, {LONG}"
    assert max(map(len, lines)) < len(LONG)
