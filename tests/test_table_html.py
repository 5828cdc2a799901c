"""The table as HTML: what people read, what scripts sort by, and text that stays text."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest

from bench.table_html import HtmlRow, Link
from bench.tables import Cell, Column, Missing, Table

COLUMNS = (
    Column(key="rank", header="rank", spec="d"),
    Column(key="name", header="name", align="left"),
    Column(key="cost_shown", header="cost", unit="GPU-min"),
    Column(key="cost", header="cost", data_only=True),
    Column(key="loss", header="loss", spec=".2f"),
    Column(key="why", header="why", align="left", wraps=True),
)
ROWS: tuple[tuple[Cell, ...], ...] = (
    (1, "first", "0.50 [0.4, 0.6]", 0.5, 1.2345678, ""),
    (2, "second", "never", math.inf, math.nan, "prose"),
    (None, "third", Missing(), None, Missing("oom"), ""),
)
TABLE = Table(
    name="t", title="A title", columns=COLUMNS, rows=ROWS, notes=("A note.",), strong=frozenset({0}), identity=2
)


def parsed(html: str) -> ElementTree.Element:
    """As XML: what is not well-formed is refused."""
    return ElementTree.fromstring(f"<page>{html}</page>")


def texts(html: str, path: str) -> list[str]:
    return ["".join(element.itertext()) for element in parsed(html).iterfind(path)]


def test_people_read_what_a_terminal_shows() -> None:
    html = TABLE.to_html()
    rows = parsed(html).findall(".//tbody/tr")
    assert [["".join(cell.itertext()) for cell in row] for row in rows] == TABLE.visible()[1]
    assert texts(html, ".//caption") == ["A title"]
    assert texts(html, ".//thead//th") == ["rank", "name", "cost GPU-min", "loss", "why"]
    assert texts(html, ".//p") == ["A note."]


def test_scripts_sort_by_numbers_in_full_precision() -> None:
    def sorting(column: int) -> list[str | None]:
        return [row[column].get("data-sort") for row in parsed(TABLE.to_html()).findall(".//tbody/tr")]

    assert sorting(0) == ["1", "2", ""]
    assert sorting(1) == [None, None, None]
    assert sorting(2) == ["0.5", "Infinity", ""], "what is shown as text sorts by the number beside it"
    assert sorting(3) == ["1.2345678", "", ""]


def test_the_last_column_of_the_identity_heads_the_rows() -> None:
    rows = parsed(TABLE.to_html()).findall(".//tbody/tr")
    assert [[cell.tag for cell in row] for row in rows] == [["td", "th", "td", "td", "td"]] * 3
    assert [row.find("th[@scope='row']") is not None for row in rows] == [True] * 3
    assert [row.get("class") for row in rows] == ["strong", None, None]


def test_a_box_that_scrolls_can_be_reached_by_keyboard_and_has_a_name() -> None:
    box = parsed(TABLE.to_html(anchor="own")).find("div")
    assert box is not None
    assert (box.get("role"), box.get("tabindex"), box.get("aria-labelledby")) == ("region", "0", "own-caption")
    assert box.find(".//caption[@id='own-caption']") is not None


def test_links_attributes_and_cells_of_a_page() -> None:
    rows = [HtmlRow(attributes={"data-x": '"<'}, lead="<b>L</b>", more="<i>M</i>") for _ in ROWS]
    html = TABLE.to_html(links={"loss": Link(href="terms.html#loss", title='Mean "loss"')}, lead="pick", rows=rows)
    page = parsed(html)
    assert [row.get("data-x") for row in page.findall(".//tbody/tr")] == ['"<'] * 3
    assert len(page.findall(".//tbody/tr/td[@class='choose']/b")) == 3
    assert len(page.findall(".//tbody/tr/th/i")) == 3
    (link,) = page.findall(".//thead//a")
    assert (link.get("href"), link.get("aria-label")) == ("terms.html#loss", 'loss: Mean "loss"')


def test_rows_of_html_must_be_as_many_as_the_table_has() -> None:
    with pytest.raises(ValueError, match="3 rows and 1 of HTML"):
        TABLE.to_html(lead="pick", rows=[HtmlRow()])


def test_a_table_without_rows_says_so() -> None:
    empty = Table(name="t", title="Empty", columns=COLUMNS, rows=())
    assert texts(empty.to_html(), ".//td") == ["none"]


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "a\" onclick='x'", "&lt;", "\u202eevil", "\x1b[31m"])
def test_strangers_text_is_harmless_everywhere(text: str) -> None:
    columns = (Column(key=text, header=text, unit=text, align="left"), Column(key="b", header="b"))
    table = Table(name=text, title=text, columns=columns, rows=((text, Missing(text)),), notes=(text,))
    html = table.to_html(links={text: Link(href=text, title=text)}, rows=[HtmlRow(attributes={"data-x": text})])
    page = parsed(html)
    assert {element.tag for element in page.iter()} == {
        "page", "div", "table", "caption", "span", "thead", "tr", "th", "a", "tbody", "td", "p"
    }  # fmt: skip
    assert not any(name.startswith("on") for element in page.iter() for name in element.attrib)
    assert not re.search("[\x1b\u202e]", html)
    assert not text.isprintable() or text in texts(html, ".//tbody//th")
