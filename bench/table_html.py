"""The project's table as HTML: readable as it stands; a script may make it sortable."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.tables import Cell, Column, Missing, Table, clean

SHOWN = "_shown"
"""Ends the key of a column of text for people beside one of numbers for machines."""
LONG = 200
"""A table with more rows has the class `long`: where scripts run, a page may fold the rows beyond these."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """Where the explanation of a column is, and what it says in short."""

    href: str
    title: str


@dataclass(frozen=True, kw_only=True, slots=True)
class HtmlRow:
    """What a page adds to a row. `attributes`: of its element, as text. `lead`: HTML of a cell before all others;
    `more`: HTML after the text of the cell that names the row. Both are taken as they are."""

    attributes: Mapping[str, str] = field(default_factory=dict)
    lead: str = ""
    more: str = ""


def escape(text: str) -> str:
    """Text that HTML shows as it stands, in an attribute too."""
    return html.escape(clean(text))


def render(table: Table, *, anchor: str, links: Mapping[str, Link], lead: str, rows: Sequence[HtmlRow]) -> str:
    """`anchor`: the element's id, in the page once. `links`: from headers, by column key. `lead`: header of a leading
    column; its cells are in `rows`, one for each of the table's, or none.

    The last column of the table's identity heads the rows. `data-sort` of a cell is its number in full precision, empty
    where there is none; text has no such attribute, but in a column `x_shown` beside a column `x` that holds what is
    shown as a number. Raises ValueError on another number of rows.
    """
    if rows and len(rows) != len(table.rows):
        raise ValueError(f"{table.name} has {len(table.rows)} rows and {len(rows)} of HTML: give one for each")
    kept = [i for i, c in enumerate(table.columns) if not c.data_only]
    keys = [c.key for c in table.columns]
    sorting = {i: keys.index(k.removesuffix(SHOWN)) if k.removesuffix(SHOWN) in keys else i for i, k in enumerate(keys)}
    naming = table.identity - 1
    head = [f'<th scope="col" class="choose">{escape(lead)}</th>'] if lead else []
    head += [_header(table.columns[i], links.get(table.columns[i].key), i == naming) for i in kept]
    body = []
    for index, row in enumerate(table.rows):
        own = rows[index] if rows else HtmlRow()
        cells = [f'<td class="choose">{own.lead}</td>'] if lead else []
        cells += [
            _cell(table.columns[i], row[i], row[sorting[i]], own.more if i == naming else "", naming=i == naming)
            for i in kept
        ]
        attributes = ({"class": "strong"} if index in table.strong else {}) | dict(own.attributes)
        said = "".join(f' {name}="{escape(value)}"' for name, value in attributes.items())
        body.append(f"<tr{said}>{''.join(cells)}</tr>")
    own_id, long = escape(anchor), " long" if len(table.rows) > LONG else ""
    lines = [
        f'<div class="table{long}" role="region" tabindex="0" aria-labelledby="{own_id}-caption">',
        f'<table id="{own_id}">',
        f'<caption id="{own_id}-caption"><span>{escape(table.title)}</span></caption>',
        f"<thead><tr>{''.join(head)}</tr></thead>",
        "<tbody>",
        *(body or [f'<tr><td class="left" colspan="{len(head)}">none</td></tr>']),
        "</tbody></table></div>",
        *(f'<p class="note">{escape(note)}</p>' for note in table.notes),
    ]
    return "\n".join(lines) + "\n"


def _header(column: Column, link: Link | None, naming: bool) -> str:
    """The label stands in an element of its own, which a script may make a button."""
    hidden = "" if column.header else " unseen"
    text = f'<span class="label{hidden}">{escape(column.header or column.key)}</span>'
    if column.unit:
        text += f' <span class="unit">{escape(column.unit)}</span>'
    if link is not None:
        said = escape(f"{column.header}: {link.title}")
        text += f'<a class="term" href="{escape(link.href)}" title="{said}" aria-label="{said}">?</a>'
    return f'<th scope="col" data-key="{escape(column.key)}"{_class(column, naming)}>{text}</th>'


def _cell(column: Column, cell: Cell, sorts_by: Cell, more: str, *, naming: bool) -> str:
    number = "" if isinstance(sorts_by, str) else f' data-sort="{_number(sorts_by)}"'
    tag, scope = ("th", ' scope="row"') if naming else ("td", "")
    return f"<{tag}{scope}{_class(column, naming)}{number}>{escape(column.show(cell))}{more}</{tag}>"


def _class(column: Column, naming: bool) -> str:
    chosen = {"name": naming, "left": column.align == "left", "prose": column.wraps}
    names = " ".join(name for name, holds in chosen.items() if holds)
    return f' class="{names}"' if names else ""


def _number(cell: int | float | bool | Missing | None) -> str:
    """A number as scripts read it."""
    if cell is None or isinstance(cell, Missing) or math.isnan(cell):
        return ""
    if math.isinf(cell):
        return "Infinity" if cell > 0 else "-Infinity"
    return repr(int(cell) if isinstance(cell, bool) else cell)
