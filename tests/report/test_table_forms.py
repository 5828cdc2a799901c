"""The forms that a table takes on a terminal: few runs beside each other, many below each other."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from bench.tables import Column, Table


def shown(table: Table, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    table.to_terminal(console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def many(rows: int) -> Table:
    columns = (
        Column(key="run", header="run type", align="left", wraps=True),
        *(Column(key=f"k{i}", header=f"number{i}", spec=".2f") for i in range(8)),
    )
    return Table(name="m", title="Many", columns=columns, rows=tuple((f"run {r}", *[1.0] * 8) for r in range(rows)))


def test_few_rows_become_columns_and_many_stay_rows() -> None:
    assert shown(many(2), 40).splitlines()[-1].startswith("number7")
    lines = shown(many(4), 40).splitlines()
    # Three pieces, each with all runs under a header of its own.
    assert sum(line.startswith("run type") for line in lines) == 3
    assert [line.split()[1] for line in lines if line.startswith("run ") and "type" not in line] == list("0123" * 3)


@pytest.mark.parametrize("width", [20, 40, 80])
def test_lines_end_without_blanks(width: int) -> None:
    for table in (many(2), many(5)):
        assert not any(line != line.rstrip() for line in shown(table, width).splitlines())
