"""The pages' templates: all text is escaped, and what a template asks for must be there."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.tables import clean

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

    from bench.pictures import Picture
    from bench.table_html import HtmlRow, Link
    from bench.tables import Table

HERE = Path(__file__).parent
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' file:",
        "style-src 'self' file:",
        "img-src 'self' file: data: blob:",
        "base-uri 'none'",
        "form-action 'none'",
    )
)
"""What a page may load: its own files. `file:` is how a browser calls them where a page was opened from a file."""


def render(template: str, **values: Any) -> str:
    """The page. Raises jinja2.UndefinedError where a value is missing."""
    return _environment().get_template(template).render(policy=POLICY, **values)


def markup(
    table: Table,
    *,
    anchor: str = "",
    links: dict[str, Link] | None = None,
    lead: str = "",
    rows: tuple[HtmlRow, ...] = (),
) -> Markup:
    """A table for a template; the table escapes its text itself."""
    from markupsafe import Markup

    return Markup(table.to_html(anchor=anchor, links=links, lead=lead, rows=rows))


def run_pictures() -> list[Picture]:
    """Those of one run, in the order in which its page shows them."""
    from bench.pictures import PICTURES, RUN_PICTURES

    return [PICTURES[name] for name in RUN_PICTURES]


def comparing_pictures() -> list[Picture]:
    """Those of several runs together."""
    from bench.pictures import COMPARING_PICTURES, PICTURES

    return [PICTURES[name] for name in COMPARING_PICTURES]


def board_pictures() -> list[Picture]:
    from bench.pictures import PICTURES, RUN_PICTURES

    return [picture for name, picture in PICTURES.items() if name not in RUN_PICTURES]


def _harmless(value: Any) -> Any:
    """Text without control characters and marks that reorder it; HTML that was made here as it is."""
    return clean(value) if type(value) is str else value


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
