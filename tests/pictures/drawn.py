"""What an SVG shows, and runs to draw."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from bench.events import Event
from bench.leaderboard import Board, Found, boards
from bench.record import build_record
from tests.builders import Run, journal, study

SVG = "{http://www.w3.org/2000/svg}"

MIXED = (
    Run(losses=[4.0, 3.5], lr=3e-5),
    Run(losses=[5.0], state="stopped", batch_size=2, lr=1e-4, weight_decay=0.01),
    Run(losses=[None], state="nan", lr=2e-4),
    Run(losses=[6.0], state="oom", lr=5e-6),
    Run(losses=[4.2, 3.2], lr=9e-6),
)
"""Trials that end in all sorts of ways; the fifth wins."""
FAILED = (Run(losses=[None], state="nan"), Run(losses=[], state="oom"), Run(losses=[4.0, None], state="nan", lr=2e-5))
GRID = (Run(losses=[5.0, 4.0]), Run(losses=[5.0, 3.5], lr=5e-6))


class Drawn:
    """An SVG document, read back. Raises where it is no XML or has no size that a page could show."""

    def __init__(self, text: str) -> None:
        self.root = ElementTree.fromstring(text)
        width, height = (float(self.root.attrib[name]) for name in ("width", "height"))
        assert 0 < width < 5_000
        assert 0 < height < 20_000

    def texts(self) -> list[str]:
        return [text for element in self.root.iter(f"{SVG}text") if (text := " ".join(element.itertext()))]

    def marks(self, role: str) -> list[ElementTree.Element]:
        """All that the renderer calls so to a screen reader: `bar`."""
        return [e for e in self.root.iter() if e.get("aria-roledescription") == role]

    def shapes(self, kind: str) -> list[ElementTree.Element]:
        """All that marks of that kind draw, legends apart: `symbol`, `rule`."""
        groups = [g for g in self.root.iter(f"{SVG}g") if f"mark-{kind} role-mark" in g.get("class", "")]
        return [shape for group in groups for shape in group if shape.tag != f"{SVG}g"]


def place(shape: ElementTree.Element) -> tuple[float, float]:
    """Where a symbol or text stands in its picture."""
    found = re.match(r"translate\(([-\d.e]+),([-\d.e]+)\)", shape.attrib["transform"])
    assert found is not None
    return float(found[1]), float(found[2])


def found(runs: tuple[Run, ...], strategy: str = "asha", seed: int = 0) -> Found:
    record = build_record(events(runs, strategy, seed))
    return Found(folder=Path("nowhere"), record=record, name=record.run_id)


def events(runs: tuple[Run, ...], strategy: str = "asha", seed: int = 0) -> list[Event]:
    return journal(runs, study(strategy, seed=seed))


def board(*runs: Found) -> Board:
    made = boards(runs)
    assert len(made) == 1
    return made[0]


def full_board() -> Board:
    """A grid, a strategy that is cheaper, one that reaches the target under most seeds, and one that never does."""
    seeds = range(6)
    return board(
        *(found(GRID, "manual", seed) for seed in seeds),
        *(found((Run(losses=[5.0, 3.4]),), "asha", seed) for seed in seeds[:2]),
        *(found((Run(losses=[5.0, 3.4 if seed else 3.9]),), "tpe", seed) for seed in seeds),
        *(found((Run(losses=[5.0, 3.9]),), "bohb", seed) for seed in seeds),
    )
