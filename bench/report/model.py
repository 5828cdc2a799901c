"""A report: tables, warnings and a written comparison, and the four forms in which it is shown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.tables import Table, clean, escape_markdown, print_trimmed

if TYPE_CHECKING:
    from rich.console import Console

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Report:
    """`head`: under which conditions it was measured; `facts`: the same for machines, where no table holds them.
    `csv_table`: the name of the table that CSV holds; a report is several tables, a CSV file one."""

    title: str
    tables: tuple[Table, ...]
    warnings: tuple[str, ...]
    comparison: tuple[str, ...]
    csv_table: str
    head: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def table(self, name: str) -> Table:
        """The table of that name. Raises KeyError where there is none."""
        for table in self.tables:
            if table.name == name:
                return table
        raise KeyError(name)

    def to_terminal(self, console: Console) -> None:
        """Print it: title and head, tables, then warnings, then the comparison."""
        from rich.padding import Padding
        from rich.text import Text

        print_trimmed(console, Text(clean(self.title), style="bold underline"))
        for line in self.head:
            print_trimmed(console, Text(clean(line)))
        for table in self.tables:
            console.print()
            table.to_terminal(console)
        for heading, mark, lines, style in (
            ("Warnings", "! ", self.warnings, "yellow"),
            ("Comparison", "- ", self.comparison, ""),
        ):
            if lines:
                console.print()
                console.print(Text(heading, style="bold"))
            for line in lines:
                print_trimmed(console, Padding(Text(mark + clean(line), style=style), (0, 0, 0, 2)))

    def to_dict(self) -> dict[str, Any]:
        """The whole report as plain data."""
        return {
            "schema_version": SCHEMA_VERSION,
            "title": self.title,
            "head": list(self.head),
            "facts": dict(self.facts),
            "tables": {table.name: table.to_dict() for table in self.tables},
            "warnings": list(self.warnings),
            "comparison": list(self.comparison),
        }

    def to_json(self) -> str:
        """The whole report; missing values are null. Ends with a newline."""
        return json.dumps(self.to_dict(), allow_nan=False, ensure_ascii=False, indent=2) + "\n"

    def to_csv(self) -> str:
        """The one table named by `csv_table`: the trials of one run, the costs of several."""
        return self.table(self.csv_table).to_csv()

    def to_markdown(self) -> str:
        """The whole report."""
        parts = [f"## {escape_markdown(self.title)}\n"]
        parts += [f"{escape_markdown(line)}\n" for line in self.head]
        parts += [table.to_markdown() for table in self.tables]
        for heading, lines in (("Warnings", self.warnings), ("Comparison", self.comparison)):
            if lines:
                parts.append(f"### {heading}\n\n" + "\n".join(f"- {escape_markdown(line)}" for line in lines) + "\n")
        return "\n".join(parts)
