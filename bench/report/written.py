"""The written comparison: the guide's four questions answered from the data, with what one seed can and cannot say."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from bench.report.entries import Entry, geometric_median, search_cost
from bench.report.trials import SHORT
from bench.report.warnings import SEEDS_FOR_A_CLAIM
from bench.report.wording import Device, device_of_all, listed
from bench.trials import Clock


@dataclass(frozen=True, kw_only=True)
class Side:
    """One strategy over its seeds: medians, None where a run has no such number. Costs in device-minutes on the clock
    of the comparison; `to_target`: infinite where the median run never got there."""

    label: str
    entries: tuple[Entry, ...]
    loss: float | None
    cost: float | None
    wall_s: float | None
    to_target: float | None
    target_ratio: float | None

    @property
    def is_manual(self) -> bool:
        return self.entries[0].is_manual

    @property
    def was_random(self) -> bool:
        """Whether its strategy has a model that suggested nothing."""
        flags = [t.model_based for e in self.entries for t in e.record.search_trials if t.model_based is not None]
        return bool(flags) and not any(flags)


def written_comparison(entries: Sequence[Entry]) -> list[str]:
    """Five to seven sentences; none where fewer than two strategies can be compared.

    Only runs that share a manual baseline are compared, those of the baseline with most runs.
    """
    comparable = _largest_comparable(entries)
    clock: Clock = "allocated" if all(search_cost(e.record, "allocated") is not None for e in comparable) else "busy"
    sides = _sides(comparable, clock)
    manual = next((s for s in sides if s.is_manual), None)
    if manual is None or len(sides) < 2:
        return []
    device = device_of_all([e.record for e in comparable])
    lines = [
        _best_configuration(sides, manual),
        _fewest_hours(sides, manual, device, clock),
        _fastest(sides, manual),
        _target(sides, device, clock),
        _retrained(sides),
        _in_practice(sides, manual, clock),
        _hedge(sides) + _left_out(entries, comparable),
    ]
    return [line for line in lines if line]


def _largest_comparable(entries: Sequence[Entry]) -> list[Entry]:
    by_key: dict[tuple[object, ...], list[Entry]] = {}
    for entry in entries:
        if entry.baseline is not None:
            by_key.setdefault(entry.study.comparison_key(), []).append(entry)
    return max(by_key.values(), key=len, default=[])


def _sides(entries: Sequence[Entry], clock: Clock) -> list[Side]:
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.group, []).append(entry)
    return [_side(tuple(members), clock) for members in groups.values()]


def _side(members: tuple[Entry, ...], clock: Clock) -> Side:
    ratios = _all_known([e.target_ratio(clock) for e in members])
    return Side(
        label=members[0].group_label if len(members) > 1 else members[0].label,
        entries=members,
        loss=_median([None if e.record.winner is None else e.record.winner.eval_loss for e in members]),
        cost=_median([search_cost(e.record, clock) for e in members]),
        wall_s=_median([e.record.costs.search.wall_s for e in members]),
        to_target=_median([e.to_target(clock) for e in members]),
        target_ratio=geometric_median(ratios) if ratios and min(ratios) > 0 else None,
    )


def _all_known(values: Sequence[float | None]) -> list[float]:
    """The values, or none of them where one is missing: a run that missed must not flatter the rest."""
    known = [v for v in values if v is not None]
    return known if len(known) == len(values) else []


def _median(values: Sequence[float | None]) -> float | None:
    known = _all_known(values)
    return median(known) if known else None


def _lowest(sides: Sequence[Side], of: Callable[[Side], float | None]) -> list[tuple[float, Side]]:
    known = [(value, side) for side in sides if (value := of(side)) is not None]
    return sorted(known, key=lambda pair: pair[0])


def _best_configuration(sides: list[Side], manual: Side) -> str:
    ranked = _lowest(sides, lambda s: s.loss)
    without = [s.label for s in sides if s.loss is None]
    missed = f" Without a winner at full fidelity: {listed(without)}." if without else ""
    if not ranked:
        return f"Which found the best configuration? None: no trial is known to have reached full fidelity.{missed}"
    loss, best = ranked[0]
    tied = [side.label for value, side in ranked if value == loss]
    answer = f"Which found the best configuration? {listed(tied)}, with a loss of {loss:.4f}"
    answer += _config(best) if len(tied) == 1 else ""
    if best is not manual and manual.loss is not None and manual.label not in tied:
        answer += f"; the manual grid's best is {manual.loss:.4f}"
    elif len(ranked) > len(tied):
        value, second = ranked[len(tied)]
        answer += f"; next is {second.label} with {value:.4f}"
    return f"{answer}.{missed}"


def _config(side: Side) -> str:
    winner = side.entries[0].record.winner
    if len(side.entries) > 1 or winner is None:
        return " (median over its seeds)"
    return " (" + ", ".join(f"{SHORT.get(name, name)} {value:.6g}" for name, value in winner.config.items()) + ")"


def _fewest_hours(sides: list[Side], manual: Side, device: Device, clock: Clock) -> str:
    (cost, cheapest), *_ = _lowest(sides, lambda s: s.cost)
    answer = f"Which used fewer {device.hours}? {cheapest.label}: {cost / 60:.3g} {clock}"
    others = [
        f"{side.label} {value / manual.cost:.2f}"
        for value, side in _lowest(sides, lambda s: s.cost)
        if not side.is_manual and manual.cost
    ]
    manual_hours = "" if manual.cost is None else f"; the manual grid took {manual.cost / 60:.3g}"
    if clock == "busy":
        answer += " (what was allocated is not known for all)"
    return f"{answer}{manual_hours}. Over the manual grid: {', '.join(others)}."


def _fastest(sides: list[Side], manual: Side) -> str:
    ranked = _lowest(sides, lambda s: s.wall_s)
    if len(ranked) < len(sides):
        unknown = [s.label for s in sides if s.wall_s is None]
        return f"Which was faster overall? Not known: there is no wall time of {listed(unknown)}."
    wall_s, fastest = ranked[0]
    held = fastest.entries[0].record.costs.search.devices
    answer = f"Which was faster overall? {fastest.label}: {wall_s / 60:.3g} min to the end of the search on {held} held"
    if fastest is not manual and manual.wall_s is not None:
        manual_held = manual.entries[0].record.costs.search.devices
        answer += f", against the manual grid's {manual.wall_s / 60:.3g} min on {manual_held}"
    return answer + "."


def _target(sides: list[Side], device: Device, clock: Clock) -> str:
    target = sides[0].entries[0].target
    if target is None:
        return ""
    reached = [
        f"{side.label} after {cost:.3g} {device.minutes}{_ratio(side)}"
        for cost, side in _lowest(sides, lambda s: s.to_target)
        if not math.isinf(cost)
    ]
    never = [s.label for s in sides if s.to_target is not None and math.isinf(s.to_target)]
    answer = f"As good as the manual winner (loss {target:.4f} or less, {clock} cost): {listed(reached)}"
    return answer + (f"; never {listed(never)}." if never else ".")


def _ratio(side: Side) -> str:
    return f" ({side.target_ratio:.2f} of manual's)" if side.target_ratio is not None and not side.is_manual else ""


def _retrained(sides: list[Side]) -> str:
    finals = [
        (side, _median([None if e.record.final is None else e.record.final.test_loss for e in side.entries]))
        for side in sides
    ]
    said = [f"{side.label} {loss:.4f}" for side, loss in finals if loss is not None]
    return f"Loss of the retrained winners on the test split: {', '.join(said)}." if len(said) > 1 else ""


def _in_practice(sides: list[Side], manual: Side, clock: Clock) -> str:
    question = "What to use in practice?"
    good = [(r, s) for r, s in _lowest(sides, lambda s: s.target_ratio) if not s.is_manual]
    if good and good[0][0] < 1:
        ratio, side = good[0]
        random = " (as random sampling: its model suggested nothing)" if side.was_random else ""
        return (
            f"{question} On this evidence {side.label}{random}: as good as the manual grid for {ratio:.2f} of the "
            f"{clock} cost to get there."
        )
    if good:
        return f"{question} On this evidence the manual grid: nothing reached its loss for less."
    cheaper = [s for _, s in _lowest(sides, lambda s: s.cost) if not s.is_manual and s.cost and manual.cost]
    cheaper = [s for s in cheaper if (s.cost or 0) < (manual.cost or 0)]
    if cheaper:
        return (
            f"{question} The manual grid where its loss is needed: no other reached it; {cheaper[0].label} where "
            "a worse loss will do, since it is the cheapest."
        )
    return f"{question} On this evidence the manual grid: no other reached its loss, and none was cheaper."


def _hedge(sides: list[Side]) -> str:
    fewest = min(len({e.study.seed for e in side.entries}) for side in sides)
    simulated = " The runs are simulated from recorded curves." if sides[0].entries[0].study.engine == "virtual" else ""
    if fewest >= SEEDS_FOR_A_CLAIM:
        return f"Based on {fewest} seeds or more of each strategy, by medians.{simulated}"
    seeds = "one seed" if fewest == 1 else f"{fewest} seeds"
    return (
        f"Provisional: with {seeds} none of this can be told from chance, the target (itself a single winner's loss "
        f"where there is one manual run) included; {SEEDS_FOR_A_CLAIM} seeds or more make a claim.{simulated}"
    )


def _left_out(entries: Sequence[Entry], comparable: Sequence[Entry]) -> str:
    compared = {id(e) for e in comparable}
    left = [e.label for e in entries if id(e) not in compared]
    return f" Not compared, being measured under other conditions: {listed(left)}." if left else ""
