"""What to use in practice: each strategy beside the manual grid, and what that decides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from bench.metrics import EVAL_LOSS
from bench.report.sides import Side
from bench.report.target import first_hit
from bench.report.warnings import SEEDS_FOR_A_CLAIM
from bench.report.wording import count, some
from bench.trials import Clock

QUESTION = "What to use in practice?"
BESIDE = 3
"""So many strategies are set beside the grid in words, those that were soonest as good; the tables hold all."""

Standing = Literal["cheaper", "dearer", "order", "rarer", "unknown"]
"""Of a strategy against the grid, in the cost to its winner's loss: `order`: cheaper or dearer, as the grid is ordered;
`rarer`: fewer of its runs got there."""


def in_practice(sides: Sequence[Side], manual: Side, clock: Clock) -> list[str]:
    """The answer, with the first strategy beside the grid, and a sentence for each of the next ones."""
    others = sorted(
        (s for s in sides if s is not manual), key=lambda s: (_or_infinite(s.expected), _or_infinite(s.cost))
    )
    first, *more = [_beside(side, manual, clock) for side in others[:BESIDE]]
    return [f"{QUESTION} {_conclusion(others, manual)} {first}", *more]


def standing(side: Side, manual: Side) -> Standing:
    """How a strategy stands against the grid."""
    as_run, random_order = _target_ratios(side, manual)
    if side.successes * len(manual.entries) < manual.successes * len(side.entries) or not side.successes:
        return "rarer"
    if as_run is None:
        return "unknown"
    if random_order is not None and (as_run < 1) != (random_order < 1):
        return "order"
    return "cheaper" if as_run < 1 else "dearer"


def fewest_seeds(sides: Sequence[Side]) -> int:
    return min(side.seeds for side in sides)


def said_seeds(number: int) -> str:
    return "one seed" if number == 1 else f"{number} seeds"


def _conclusion(others: Sequence[Side], manual: Side) -> str:
    seeds = fewest_seeds([manual, *others])
    if seeds < SEEDS_FOR_A_CLAIM:
        return f"That cannot be decided on {said_seeds(seeds)}."
    stands = [(side, standing(side, manual)) for side in others]
    cheaper = [side for side, how in stands if how == "cheaper"]
    if cheaper:
        return f"On this evidence {cheaper[0].label}."
    open_ = [side.label for side, how in stands if how in ("order", "unknown")]
    if open_:
        return f"It cannot be told of {some(open_)}; no other was as good as the grid for less."
    return f"On this evidence the manual grid: nothing reached its {manual.metric.noun} as often and for less."


def _beside(side: Side, manual: Side, clock: Clock) -> str:
    random = " (random sampling: its model suggested nothing)" if side.was_random else ""
    facts = [_whole(side, clock), _to_target(side, manual), _result(side, manual), _test_loss(side, manual)]
    return f"{side.label}{random} beside the manual grid: {'; '.join(f for f in facts if f)}."


def _whole(side: Side, clock: Clock) -> str:
    if side.cost_ratio is None:
        return ""
    said = f"{side.cost_ratio:.2f}"
    how = "as much" if said == "1.00" else "cheaper" if side.cost_ratio < 1 else "dearer"
    return f"its whole search cost {said} of the grid's ({how}, {clock})"


def _to_target(side: Side, manual: Side) -> str:
    how = standing(side, manual)
    if how == "rarer" and len(side.entries) == len(manual.entries) == 1:
        return "it was never as good as the grid's winner"
    if how == "rarer":
        return f"it was as good as the grid's winner in {side.of_runs(side.successes)}, the grid itself in " + (
            manual.of_runs(manual.successes)
        )
    as_run, random_order = _target_ratios(side, manual)
    if as_run is None:
        return "what it cost to be as good as the grid's winner is not known"
    got = f"it was as good as the grid's winner {_for_what(side, manual, as_run)}"
    if random_order is None:
        return got
    if how == "order":
        return (
            f"{got} in its own order{_luck(manual)}, but for {random_order:.2f} of what it would spend in a random "
            "order: which is cheaper cannot be told, it depends on the order of the grid"
        )
    return f"{got} ({random_order:.2f} of what it would spend in a random order)"


def _for_what(side: Side, manual: Side, as_run: float) -> str:
    if side.successes == len(side.entries) and manual.successes == len(manual.entries):
        return f"for {as_run:.2f} of what the grid spent to get there"
    return (
        f"in {side.of_runs(side.successes)}, the grid in {manual.of_runs(manual.successes)}, for {as_run:.2f} of what "
        "the grid spent for each success"
    )


def _luck(manual: Side) -> str:
    return f" (with {first_hit(manual.entries[0])})" if len(manual.entries) == 1 and manual.successes else ""


def _result(side: Side, manual: Side) -> str:
    if side.score is None or manual.score is None:
        return "" if side.score is not None else "it found no winner at full fidelity"
    how, metric = _better(side.score, manual.score), side.metric
    own, grid = (metric.shown(metric.value(score)) for score in (side.score, manual.score))
    return f"in the search it found the {how} {metric.noun} ({own} against {grid})"


def _test_loss(side: Side, manual: Side) -> str:
    if side.test_loss is None or manual.test_loss is None:
        return ""
    if side.final_epochs != manual.final_epochs:
        epochs = f"{side.final_epochs} against {count(manual.final_epochs, 'epoch')}"
        return f"the losses of the retrained winners do not compare ({epochs})"
    how = _better(side.test_loss, manual.test_loss)
    said = f"retrained, its winner has the {how} test loss ({side.test_loss:.4f} against {manual.test_loss:.4f})"
    if side.score is None or manual.score is None or side.metric.name != EVAL_LOSS:
        return said
    if {how, _better(side.score, manual.score)} != {"better", "worse"}:
        return said
    return f"{said}: what the search found did not carry over to the test split"


def _better(value: float, reference: float) -> str:
    return "same" if value == reference else "better" if value < reference else "worse"


def _target_ratios(side: Side, manual: Side) -> tuple[float | None, float | None]:
    """Cost to the target over the grid's as it ran and in a random order: seed by seed where all got there, else of the
    expected costs."""
    if side.target_ratio is not None:
        return side.target_ratio, side.random_ratio
    return _over(side.expected, manual.expected), _over(side.expected, manual.expected_random)


def _over(cost: float | None, reference: float | None) -> float | None:
    return None if cost is None or math.isinf(cost) or not reference else cost / reference


def _or_infinite(value: float | None) -> float:
    return math.inf if value is None else value
