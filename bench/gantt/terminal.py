"""A schedule as text: one line a device, as wide as the terminal.

A trial's stretch begins with its number; what fills the rest tells the phases apart without colour too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from string import ascii_letters, digits
from typing import TYPE_CHECKING

from bench.gantt.schedule import WORDS, Kind, Schedule, name_of, time_unit
from bench.tables import clean, print_trimmed

if TYPE_CHECKING:
    from rich.console import Console

MOST_ROWS = 24
"""Slots that are shown; more are counted."""

TICK_CELLS = 9
"""Cells between two numbers of the time axis, at least."""

MARKS: Mapping[Kind, tuple[str, str, str]] = {
    "queue": ("~", "~", "bright_black"),
    "startup": ("▄", "-", "yellow"),
    "restore": ("▀", "+", "cyan"),
    "train": ("█", "#", "green"),
    "eval": ("▒", "%", "blue"),
    "checkpoint": ("▌", "|", "magenta"),
    "lost": ("x", "x", "red"),
    "unsplit": ("█", "#", "green"),
    "idle": ("·", ".", "bright_black"),
}
"""What fills a cell of a terminal, what does where there is ASCII alone, and its colour."""


def print_schedule(what: Schedule, console: Console, *, until_s: float | None = None) -> None:
    """Print it in the width there is. `until_s`: where the time axis ends, so that schedules can be compared."""
    from rich.text import Text

    print_trimmed(console, Text(clean(what.title), style="bold"))
    if not what.bars:
        console.print("  (nothing ran)")
        return
    picture = _Picture(what, console.width, until_s or what.end_s, ascii_only=console.options.ascii_only)
    for line in picture.lines():
        print_trimmed(console, Text.assemble(*line))


def letter_of(trial: int | None) -> str:
    """One character for a trial: 1 to 9, then a to z and A to Z (without F); none from the 61st on."""
    known = digits[1:] + ascii_letters.replace("F", "")
    return name_of(trial) if not trial else known[trial - 1] if trial <= len(known) else ""


_Run = tuple[int, int, int | None]
"""First cell, cell after the last, and trial, of a stretch of one trial."""


@dataclass(frozen=True, slots=True)
class _Cell:
    kind: Kind | None = None
    trial: int | None = None


class _Picture:
    """A schedule as lines of styled text."""

    def __init__(self, what: Schedule, width: int, until_s: float, *, ascii_only: bool) -> None:
        self._what = what
        self._ascii = ascii_only
        self._margin = len(str(what.rows)) + 1
        self._cells = max(10, width - self._margin)
        self._cell_s = until_s / self._cells
        self._until_s = until_s

    def lines(self) -> Iterable[list[tuple[str, str]]]:
        shown = min(self._what.rows, MOST_ROWS)
        grid = self._grid(shown)
        runs = [_runs(cells) for cells in grid]
        numbers = all(
            end - start > len(name_of(trial)) for own in runs for start, end, trial in own if trial is not None
        )
        label = name_of if numbers else letter_of
        for row, (cells, own) in enumerate(zip(grid, runs, strict=True)):
            yield [(f"{row + 1:>{self._margin - 1}} ", "bold"), *self._row(cells, own, label)]
        if shown < self._what.rows:
            yield [(f"  and {self._what.rows - shown} more devices", "")]
        yield [(" " * self._margin + self._axis(), "bright_black")]
        yield from self._legend({cell.kind for cells in grid for cell in cells}, numbers)

    def _grid(self, rows: int) -> list[list[_Cell]]:
        """For each cell what fills most of it."""
        best: list[dict[int, tuple[float, _Cell]]] = [{} for _ in range(rows)]
        for bar in self._what.bars:
            if bar.row >= rows:
                continue
            first = int(bar.start_s / self._cell_s)
            last = min(self._cells - 1, int(bar.end_s / self._cell_s))
            for i in range(first, last + 1):
                share_s = min(bar.end_s, (i + 1) * self._cell_s) - max(bar.start_s, i * self._cell_s)
                if share_s > best[bar.row].get(i, (0.0, _Cell()))[0]:
                    best[bar.row][i] = (share_s, _Cell(bar.kind, bar.trial))
        return [[own.get(i, (0.0, _Cell()))[1] for i in range(self._cells)] for own in best]

    def _row(
        self, cells: Sequence[_Cell], runs: Sequence[_Run], label: Callable[[int | None], str]
    ) -> Iterator[tuple[str, str]]:
        for start, end, trial in runs:
            name = label(trial)
            for i in range(start, end):
                kind = cells[i].kind
                if kind is None:
                    yield " ", ""
                elif len(name) <= end - start and i - start < len(name):
                    yield name[i - start], f"bold reverse {MARKS[kind][2]}"
                else:
                    yield MARKS[kind][self._ascii], MARKS[kind][2]

    def _axis(self) -> str:
        unit, seconds = time_unit(self._until_s)
        step = _nice(self._until_s / seconds * TICK_CELLS / self._cells)
        line = ""
        for tick in range(int(self._until_s / seconds / step) + 1):
            at = round(tick * step * seconds / self._cell_s)
            text = f"{tick * step:g}" + (f" {unit}" if tick == 0 else "")
            if at + len(text) <= self._cells:
                line = line.ljust(at) + text
        return line

    def _legend(self, kinds: set[Kind | None], numbers: bool) -> Iterable[list[tuple[str, str]]]:
        parts = [("  ", "")]
        for kind, mark in MARKS.items():
            if kind in kinds:
                parts += [(mark[self._ascii], mark[2]), (f" {WORDS.get(kind, kind)}  ", "")]
        yield parts
        if not numbers:
            yield [("  Trials from 10 on are letters: 10 is a, 11 is b, ..., 36 is A.", "")]


def _runs(cells: Sequence[_Cell]) -> list[_Run]:
    runs: list[_Run] = []
    at = 0
    for trial, group in groupby(cells, key=lambda c: c.trial):
        length = len(list(group))
        runs.append((at, at + length, trial))
        at += length
    return runs


def _nice(at_least: float) -> float:
    """1, 2 or 5 times a power of ten, no smaller."""
    power = 10.0 ** math.floor(math.log10(at_least))
    return next(power * m for m in (1, 2, 5, 10) if power * m >= at_least * (1 - 1e-9))
