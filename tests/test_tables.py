"""The one table: every form of it, and what strangers' text may not do in any."""

from __future__ import annotations

import csv
import io
import math
from typing import Literal

import pytest
from rich.console import Console

from bench.tables import Cell, Column, Missing, Table, clean, escape_markdown

COLUMNS = (
    Column(key="name", header="name", align="left"),
    Column(key="cost_device_min", header="cost", unit="GPU-min", spec=".2f"),
    Column(key="ok", header="ok"),
    Column(key="why", header="what went wrong", align="left", wraps=True),
    Column(key="seed", header="seed", data_only=True),
)
ROWS: tuple[tuple[Cell, ...], ...] = (
    ("first", 1.2345678, True, "", 1),
    ("second", None, False, "a sentence of prose long enough that it has to go on in another line", None),
    ("third", Missing("oom"), False, "", 3),
    ("fourth", math.nan, False, "", math.inf),
)
TABLE = Table(name="t", title="A table", columns=COLUMNS, rows=ROWS, notes=("A note.",), strong=frozenset({0}))


def shown(table: Table, width: int, *, terminal: bool = False) -> str:
    colours: Literal["standard"] | None = "standard" if terminal else None
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=colours)
    table.to_terminal(console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_missing_values_are_a_dash_or_their_reason() -> None:
    _, rows = TABLE.visible()
    assert [row[1] for row in rows] == ["1.23", "-", "oom", "-"]
    assert rows[0][2] == "yes"


def test_csv_has_keys_and_full_precision() -> None:
    rows = list(csv.reader(io.StringIO(TABLE.to_csv())))
    assert rows[0] == ["name", "cost_device_min", "ok", "why", "seed"]
    assert rows[1] == ["first", "1.2345678", "True", "", "1"]
    assert [row[1] for row in rows[2:]] == ["", "", ""]
    assert rows[4][4] == ""


def test_plain_data_has_no_nan() -> None:
    data = TABLE.to_dict()
    assert data["rows"][3] == {"name": "fourth", "cost_device_min": None, "ok": False, "why": "", "seed": None}
    assert data["columns"][1] == {"key": "cost_device_min", "header": "cost", "unit": "GPU-min"}
    assert data["notes"] == ["A note."]


def test_markdown() -> None:
    lines = TABLE.to_markdown().splitlines()
    assert lines[2] == "| name | cost (GPU-min) | ok | what went wrong |"
    assert lines[3] == "|:---|---:|---:|:---|"
    assert lines[4] == "| **first** | **1.23** | **yes** |  |"


@pytest.mark.parametrize("width", [20, 30, 40, 50, 60, 70, 80, 100, 140, 200])
def test_a_terminal_of_any_width_loses_nothing(width: int) -> None:
    text = shown(TABLE, width)
    assert all(len(line) <= width for line in text.splitlines())
    flat = "".join(text.split())
    for word in ["first", "second", "third", "fourth", "1.23", "oom", "cost", "note.", "prose", "another"]:
        assert word in flat
    assert "\x1b" not in text


def test_colour_only_on_a_terminal() -> None:
    assert "\x1b[" in shown(TABLE, 100, terminal=True)


def test_a_table_without_rows_says_so() -> None:
    assert "(none)" in shown(Table(name="t", title="Empty", columns=COLUMNS, rows=()), 80)


def test_columns_by_key() -> None:
    assert TABLE.column("ok") == [True, False, False, False]
    with pytest.raises(ValueError, match="nothing"):
        TABLE.column("nothing")


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="has 1 cells for 5"):
        Table(name="t", title="x", columns=COLUMNS, rows=(("a",),))


HOSTILE = [
    *("=HYPERLINK(1)", "+1", "-1+1", "@SUM(1)", " =1", "\t=1", "\r\n=1"),
    *("[bold]x[/bold]", "\x1b[31mred", "a|b\nc", "<b>&", "\u202eevil", "\x9b31m", "`code` [l](http://x)"),
]


@pytest.mark.parametrize("text", HOSTILE)
def test_strangers_text_is_harmless(text: str) -> None:
    columns = (Column(key="a", header=text, align="left"), Column(key="b", header="b"))
    table = Table(name="t", title=text, columns=columns, rows=((text, Missing(text)),), notes=(text,))
    cell = next(iter(list(csv.reader(io.StringIO(table.to_csv())))[1:]))[0]
    assert not cell.lstrip().startswith(("=", "+", "-", "@"))
    for width in (10, 100):
        out = shown(table, width)
        assert not set(out) & {"\x1b", "\x9b", "\u202e", "\r", "\t"}
    markdown = table.to_markdown()
    assert "<b>" not in markdown
    assert len([c for c in markdown.splitlines()[4].replace("\\|", "") if c == "|"]) == 3
    assert clean(text) in shown(table, 200)


def test_escapes() -> None:
    assert escape_markdown("a|b*c <x> & [y]") == r"a\|b\*c &lt;x&gt; &amp; \[y\]"
    assert clean("a\x1b[31mb\nc\u200b") == "a[31mb c"
