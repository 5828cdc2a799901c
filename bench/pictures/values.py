"""Values as pictures show them: numbers that JSON has, configurations as a line of text."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.hyperparameters import Value
from bench.tables import clean
from bench.trials import Config, Trial

if TYPE_CHECKING:
    from bench.leaderboard.boards import Board

Rows = list[dict[str, Any]]
"""Plain JSON: None where a number is not finite or not known."""

MOST_POINTS = 10_000
"""Points or bars of one picture; beyond them it is thinned, and says so."""


def finite(value: float | None) -> float | None:
    """The number, or None where JSON has none for it."""
    return value if value is not None and math.isfinite(value) else None


def words(name: str) -> str:
    """A hyperparameter's name as people write it."""
    return clean(name).replace("_", " ")


def short(value: Value) -> str:
    """Four significant digits, fractions with an exponent where that is shorter: 2e-4, 0.01, 16; words as they are."""
    if isinstance(value, str):
        return clean(value)
    digits, _, exponent = f"{value:.3e}".partition("e")
    scientific = f"{digits.rstrip('0').rstrip('.')}e{int(exponent)}"
    plain = f"{value:.4g}"
    return scientific if "e" in plain or (abs(value) < 1 and len(scientific) < len(plain)) else plain


def told(config: Mapping[str, Value]) -> str:
    """`learning rate 2e-4, batch size 8`."""
    return ", ".join(f"{words(name)} {short(value)}" for name, value in config.items())


def row_labels(board: Board) -> list[str]:
    """What the board's rows are called, numbered where they would be called alike."""
    counts, seen = Counter(row.label for row in board.rows), Counter[str]()
    found = []
    for row in board.rows:
        seen[row.label] += 1
        found.append(clean(row.label) + (f" ({seen[row.label]})" if counts[row.label] > 1 else ""))
    return found


def config_at(trial: Trial, epoch: int) -> Config:
    """The configuration in force when the trial finished its `epoch`-th epoch."""
    return next((change.previous for change in trial.history if change.epoch >= epoch), trial.config)
