"""The project's one table: built once, shown on a terminal, as Markdown, as HTML, as CSV or as plain data for JSON.

Text in cells is anybody's (a strategy's name, an error's message): each renderer makes it harmless for its reader.
"""

from __future__ import annotations

import csv
import io
import math
import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table as RichTable

    from bench.table_html import HtmlRow, Link

MISSING = "-"
WRAPPED_WIDTH = 24
"""Characters that a column of prose is given at least."""
SWAPPED_MOST = 3
"""So many rows may become columns on a narrow terminal; more stay rows."""
GAP = 2
"""Characters between two columns on a terminal; rich counts its padding after the last one too."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A value that is not there; `why` is shown in its place (a trial's state, or a dash)."""

    why: str = MISSING


Cell = str | int | float | bool | None | Missing


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """`key` names it in CSV and JSON, with its unit; `header` and `unit` are for people. `spec`: format of numbers.
    `wraps`: holds prose. `data_only`: too much for people, in CSV and JSON alone."""

    key: str
    header: str
    unit: str = ""
    align: Literal["left", "right"] = "right"
    spec: str = ""
    wraps: bool = False
    data_only: bool = False

    @property
    def label(self) -> str:
        return f"{self.header} ({self.unit})" if self.unit else self.header

    def show(self, cell: Cell) -> str:
        """The cell as people read it."""
        if isinstance(cell, Missing):
            return clean(cell.why)
        if cell is None or (isinstance(cell, float) and math.isnan(cell)):
            return MISSING
        if isinstance(cell, bool):
            return "yes" if cell else "no"
        return clean(cell) if isinstance(cell, str) else format(cell, self.spec)


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """`name` identifies it in JSON. `strong`: indices of rows that stand out, which a cell's text must say too.
    `notes`: sentences below it. `identity`: so many leading columns name a row."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    strong: frozenset[int] = frozenset()
    identity: int = 1

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row of {self.name} has {len(row)} cells for {len(self.columns)} columns")

    def column(self, key: str) -> list[Cell]:
        """The cells of one column. Raises ValueError where there is none of that key."""
        index = [c.key for c in self.columns].index(key)
        return [row[index] for row in self.rows]

    def without_empty(self) -> Table:
        """For people without the columns of which no row has a value; CSV and JSON keep them."""
        empty = {c.key for c in self.columns if self.rows and all(cell is None for cell in self.column(c.key))}
        return replace(self, columns=tuple(replace(c, data_only=c.data_only or c.key in empty) for c in self.columns))

    def visible(self) -> tuple[list[Column], list[list[str]]]:
        """Columns and shown cells, without what is for machines alone."""
        kept = [i for i, c in enumerate(self.columns) if not c.data_only]
        columns = [self.columns[i] for i in kept]
        return columns, [[self.columns[i].show(row[i]) for i in kept] for row in self.rows]

    def to_dict(self) -> dict[str, Any]:
        """Plain data: missing values and numbers that are not finite are None."""
        return {
            "name": self.name,
            "title": self.title,
            "columns": [{"key": c.key, "header": c.header, "unit": c.unit} for c in self.columns],
            "rows": [{c.key: _plain(cell) for c, cell in zip(self.columns, row, strict=True)} for row in self.rows],
            "notes": list(self.notes),
        }

    def to_csv(self) -> str:
        """Header of keys, then rows; numbers in full precision, missing values empty. Text that a spreadsheet would
        take for a formula gets a leading apostrophe."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow([_inert(c.key) for c in self.columns])
        for row in self.rows:
            values = [_plain(cell) for cell in row]
            writer.writerow(["" if v is None else _inert(v) if isinstance(v, str) else v for v in values])
        return buffer.getvalue()

    def to_markdown(self) -> str:
        """Title, table and notes; text in cells cannot end a cell, start HTML or a link."""
        columns, rows = self.visible()
        lines = [f"### {escape_markdown(self.title)}", ""]
        lines.append("| " + " | ".join(escape_markdown(c.label) for c in columns) + " |")
        lines.append("|" + "|".join("---:" if c.align == "right" else ":---" for c in columns) + "|")
        for index, row in enumerate(rows):
            cells = [escape_markdown(text) for text in row]
            if index in self.strong:
                cells = [f"**{text}**" if text else text for text in cells]
            lines.append("| " + " | ".join(cells) + " |")
        lines += [f"\n{escape_markdown(note)}" for note in self.notes]
        return "\n".join(lines) + "\n"

    def to_html(
        self,
        *,
        anchor: str = "",
        links: Mapping[str, Link] | None = None,
        lead: str = "",
        rows: Sequence[HtmlRow] = (),
    ) -> str:
        """A box that scrolls sideways with the table in it, then its notes; all text escaped. See
        `bench.table_html.render`."""
        from bench.table_html import render

        return render(self, anchor=anchor or self.name, links=links or {}, lead=lead, rows=rows)

    def to_terminal(self, console: Console) -> None:
        """Print it in the width there is: as it is, or with rows and columns swapped, or in pieces below each other
        that share its first column, or row by row. Nothing is cut."""
        from rich.padding import Padding
        from rich.text import Text

        columns, rows = self.visible()
        print_trimmed(console, Text(clean(self.title), style="bold"))
        if not rows:
            console.print(Text("  (none)"))
        for part in self._parts(columns, rows, console.width) if rows else ():
            print_trimmed(console, part)
        for note in self.notes:
            print_trimmed(console, Padding(Text(clean(note)), (0, 0, 0, 2)))

    def _parts(self, columns: list[Column], rows: list[list[str]], available: int) -> list[RenderableType]:
        if _width(columns, rows) <= available:
            return [_upright(columns, rows, self.strong, available)]
        if len(rows) <= SWAPPED_MOST and _swapped_width(columns, rows) <= available:
            return [_swapped(columns, rows, self.strong, available)]
        pieces = _pieces(_widths(columns, rows), self.identity, available)
        if not pieces:
            return [_block(columns, row) for row in rows]
        parts: list[RenderableType] = []
        for kept in pieces:
            own = [[row[i] for i in kept] for row in rows]
            parts += ["", _upright([columns[i] for i in kept], own, self.strong, available)]
        return parts[1:]


def print_trimmed(console: Console, renderable: RenderableType) -> None:
    """Print without blanks at the ends of lines."""
    from rich.segment import Segment, Segments

    for line in console.render_lines(renderable, pad=False):
        while line and not line[-1].text.strip():
            line.pop()
        if line:
            line[-1] = Segment(line[-1].text.rstrip(), line[-1].style)
        console.print(Segments([*line, Segment.line()]), end="")


def clean(text: str) -> str:
    """Text without control characters (a terminal's escape sequences among them) and without marks that reorder it;
    line ends and tabs become spaces."""
    if text.isascii() and text.isprintable():
        return text
    flat = re.sub(r"[\r\n\t\v\f\u2028\u2029]+", " ", text)
    return "".join(c for c in flat if unicodedata.category(c) not in ("Cc", "Cf", "Cs"))


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it stands."""
    escaped = re.sub(r"([\\|`*_\[\]~])", r"\\\1", clean(text))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _plain(cell: Cell) -> str | int | float | bool | None:
    if isinstance(cell, Missing) or (isinstance(cell, float) and not math.isfinite(cell)):
        return None
    return clean(cell) if isinstance(cell, str) else cell


def _inert(text: str) -> str:
    return "'" + text if text.lstrip().startswith(("=", "+", "-", "@")) else text


def _word(text: str) -> int:
    return max((len(word) for word in text.split()), default=0)


def _column_width(column: Column, cells: Sequence[str]) -> int:
    longest = max((len(cell) for cell in cells), default=0)
    if column.wraps:
        longest = min(longest, max(WRAPPED_WIDTH, max(map(_word, cells), default=0)))
    return max(longest, _word(column.label))


def _widths(columns: list[Column], rows: list[list[str]]) -> list[int]:
    """Characters that each column needs at least: headers wrap between words, cells only where they hold prose."""
    return [_column_width(c, [row[i] for row in rows]) for i, c in enumerate(columns)]


def _width(columns: list[Column], rows: list[list[str]]) -> int:
    return _total(_widths(columns, rows))


def _pieces(widths: list[int], identity: int, available: int) -> list[list[int]]:
    """Columns shared out to as few tables as fit in the width, each beginning with the identity; none where one does
    not fit."""
    first = list(range(identity))
    pieces = [first]
    for i in range(identity, len(widths)):
        if _total([widths[k] for k in (*first, i)]) > available:
            return []
        if _total([widths[k] for k in (*pieces[-1], i)]) > available:
            pieces.append(first)
        pieces[-1] = [*pieces[-1], i]
    return pieces


def _swapped_width(columns: list[Column], rows: list[list[str]]) -> int:
    prose = {i for i, c in enumerate(columns) if i and c.wraps}
    return _total([max(_word(c.label) for c in columns), *(_swapped_cell_width(row, prose) for row in rows)])


def _swapped_cell_width(row: list[str], prose: set[int]) -> int:
    numbers = max((len(cell) for i, cell in enumerate(row) if i and i not in prose), default=0)
    return max([numbers, _word(row[0]), *(WRAPPED_WIDTH for _ in prose)])


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * len(widths) - 1


def _spread(needed: list[int], wanted: list[int], available: int, prose: Collection[int] = ()) -> list[int]:
    """The needed widths, widened towards the wanted ones as far as there is room: prose first, then the smallest wants.
    Without room prose wraps in many rows, others in the header alone."""
    widths = list(needed)
    room = available - _total(needed)
    more = [max(0, w - n) for w, n in zip(wanted, needed, strict=True)]
    for i in sorted(range(len(widths)), key=lambda i: (i not in prose, more[i])):
        widths[i] += min(more[i], room)
        room -= min(more[i], room)
    return widths


def _frame() -> RichTable:
    from rich import box
    from rich.table import Table as RichTable

    return RichTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)


def _upright(columns: list[Column], rows: list[list[str]], strong: frozenset[int], available: int) -> RichTable:
    from rich.text import Text

    table = _frame()
    wanted = [max([len(c.label), *(len(row[i]) for row in rows)]) for i, c in enumerate(columns)]
    prose = [i for i, c in enumerate(columns) if c.wraps]
    widths = _spread(_widths(columns, rows), wanted, available, prose)
    for column, width in zip(columns, widths, strict=True):
        table.add_column(Text(clean(column.label)), justify=column.align, width=width, overflow="fold")
    for index, row in enumerate(rows):
        style = "bold green" if index in strong else ""
        table.add_row(*(Text(cell, style=style, justify=c.align) for cell, c in zip(row, columns, strict=True)))
    return table


def _swapped(columns: list[Column], rows: list[list[str]], strong: frozenset[int], available: int) -> RichTable:
    from rich.text import Text

    prose = {i for i, c in enumerate(columns) if i and c.wraps}
    needed = [max(_word(c.label) for c in columns), *(_swapped_cell_width(row, prose) for row in rows)]
    wanted = [max(len(c.label) for c in columns), *(max(map(len, row)) for row in rows)]
    first, *others = _spread(needed, wanted, available)
    table = _frame()
    table.add_column(Text(clean(columns[0].label)), width=first)
    for index, (row, width) in enumerate(zip(rows, others, strict=True)):
        style = "bold green" if index in strong else ""
        table.add_column(Text(row[0], style=style), justify="right", width=width, overflow="fold")
    for i, column in enumerate(columns[1:], 1):
        table.add_row(Text(clean(column.label)), *(Text(row[i], justify="right") for row in rows))
    return table


def _block(columns: list[Column], row: list[str]) -> RichTable:
    from rich.table import Table as RichTable
    from rich.text import Text

    table = RichTable.grid(padding=(0, 1), pad_edge=False)
    table.add_column(overflow="fold", ratio=None)
    table.add_column(overflow="fold")
    for column, cell in zip(columns, row, strict=True):
        table.add_row(Text("  " + clean(column.label)), Text(cell))
    table.add_row("", "")
    return table
