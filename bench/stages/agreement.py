"""Whether all rows trained the same model: their losses, and the tolerances that they are held to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.stages.result import Epoch, Row
from bench.training import Precision


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """Relative differences of losses: of the first epoch, and of later ones, since training amplifies rounding."""

    first: float
    later: float


TOLERANCES: dict[Precision, Tolerance] = {
    "fp32": Tolerance(first=1e-5, later=1e-3),
    "bf16": Tolerance(first=1e-2, later=1e-1),
    "fp16": Tolerance(first=1e-2, later=1e-1),
}
"""In 32 bits rows differ in the order of sums alone. In 16 they also round elsewhere: DeepSpeed multiplies weights that
it keeps in 16 bits, the plain Trainer those that it rounds as it goes (autocast)."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The `largest` relative difference, of the row `at`."""

    largest: float
    at: str
    tolerance: float

    def __str__(self) -> str:
        return f"{self.largest:.1e} ({self.at}; tolerance {self.tolerance:.0e})"


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """`reference`: the row that others are compared with. `later`: of the epochs after the first; None where there are
    none. `outside`: rows beyond a tolerance."""

    reference: str
    first: Difference
    later: Difference | None
    outside: tuple[str, ...]

    def __str__(self) -> str:
        later = f", later {self.later}" if self.later is not None else ""
        verdict = "within tolerance" if not self.outside else f"beyond tolerance: {', '.join(self.outside)}"
        what = f"Largest relative difference of losses from {self.reference}'s"
        return f"{what}: first epoch {self.first}{later}: {verdict}."


def agreement(rows: Sequence[Row], precision: Precision) -> Agreement | None:
    """Of the epochs that rows have in common with the first that completed; None where fewer than two rows have any."""
    reference = next((row for row in rows if row.completed), None)
    others = [row for row in rows if row is not reference and row.epochs]
    if reference is None or not others:
        return None
    tolerance = TOLERANCES[precision]
    first = {row.name: _difference(row.epochs[:1], reference.epochs[:1]) for row in others}
    later = {row.name: _difference(row.epochs[1:], reference.epochs[1:]) for row in others if len(row.epochs) > 1}
    beyond = [name for name, found in first.items() if found > tolerance.first]
    beyond += [name for name, found in later.items() if found > tolerance.later]
    return Agreement(
        reference=reference.name,
        first=_largest(first, tolerance.first),
        later=_largest(later, tolerance.later) if later else None,
        outside=tuple(name for name in first if name in beyond),
    )


def _largest(found: dict[str, float], tolerance: float) -> Difference:
    at = max(found, key=lambda name: found[name])
    return Difference(largest=found[at], at=at, tolerance=tolerance)


def _difference(own: Sequence[Epoch], theirs: Sequence[Epoch]) -> float:
    return max(
        abs(one - other) / abs(other)
        for mine, reference in zip(own, theirs, strict=False)
        for one, other in ((mine.eval_loss, reference.eval_loss), (mine.train_loss, reference.train_loss))
    )
