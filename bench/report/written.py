"""The written comparison: the guide's four questions answered from the data, with what one seed can and cannot say."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.hyperparameters import short_name, shown
from bench.report.entries import Entry, ranking_clock
from bench.report.sides import Side, ranked, sides_of
from bench.report.target import first_hit
from bench.report.verdict import fewest_seeds, in_practice, said_seeds
from bench.report.warnings import SEEDS_FOR_A_CLAIM
from bench.report.wording import Device, count, device_of_all, listed, significant, some
from bench.trials import Clock


def written_comparison(entries: Sequence[Entry]) -> list[str]:
    """Five to nine sentences; none where fewer than two strategies can be compared.

    Only runs that share their manual baselines are compared, those of the baselines with most runs.
    """
    comparable = _largest_comparable(entries)
    clock = ranking_clock(comparable)
    sides = sides_of(comparable, clock)
    manual = _manual(sides)
    if manual is None or len(sides) < 2:
        return []
    device = device_of_all(e.record for e in comparable)
    lines = [
        _best_configuration(sides, manual),
        _fewest_hours(sides, manual, device, clock),
        _fastest(sides, manual, device),
        _target(sides, manual, device, clock),
        _retrained(sides),
        *in_practice(sides, manual, clock),
        _hedge(sides) + _left_out(entries, comparable),
    ]
    return [line for line in lines if line]


def _largest_comparable(entries: Sequence[Entry]) -> list[Entry]:
    by_key: dict[tuple[object, ...], list[Entry]] = {}
    for entry in entries:
        if entry.baseline is not None:
            by_key.setdefault((entry.search_key, entry.target), []).append(entry)
    return max(by_key.values(), key=len, default=[])


def _manual(sides: Sequence[Side]) -> Side | None:
    """The manual side that others are measured against; None where there is none."""
    baselines = [e.baseline for side in sides for e in side.entries if not e.is_manual]
    manuals = [s for s in sides if s.entries[0].is_manual]
    used = [s for s in manuals if any(e.record is b for e in s.entries for b in baselines)]
    return next(iter(used or manuals), None)


def _best_configuration(sides: list[Side], manual: Side) -> str:
    question = "Which found the best configuration?"
    order, metric = ranked(sides, lambda s: s.score), manual.metric
    missed = _missed(sides)
    if not order:
        return f"{question} None: no trial is known to have reached full fidelity.{missed}"
    score, best = order[0]
    tied = [side.label for value, side in order if value == score]
    answer = f"{question} {listed(tied)}, with {metric.said(score)}"
    answer += _config(best) if len(tied) == 1 else ""
    if best is not manual and manual.score is not None and manual.label not in tied:
        answer += f"; the manual grid's best is {metric.shown(metric.value(manual.score))}"
    elif len(order) > len(tied):
        value, second = order[len(tied)]
        answer += f"; next is {second.label} with {metric.shown(metric.value(value))}"
    return f"{answer}.{missed}"


def _missed(sides: Sequence[Side]) -> str:
    without = [
        s.label if len(s.entries) == 1 else f"{s.label} in {s.of_runs(s.without_winner)}"
        for s in sides
        if s.without_winner
    ]
    return f" Without a winner at full fidelity: {listed(without)}." if without else ""


def _config(side: Side) -> str:
    winner = side.entries[0].record.winner
    if len(side.entries) > 1 or winner is None:
        return " (median over its seeds)"
    return " (" + ", ".join(f"{short_name(name)} {shown(value, '.6g')}" for name, value in winner.config.items()) + ")"


def _fewest_hours(sides: list[Side], manual: Side, device: Device, clock: Clock) -> str:
    order = ranked(sides, lambda s: s.cost)
    cost, cheapest = order[0]
    answer = f"Which used fewer {device.hours}? {cheapest.label}: {significant(cost)} {device.minutes_said} {clock}"
    if clock == "busy":
        answer += " (what was allocated is not known for all)"
    if cheapest is not manual and manual.cost is not None:
        answer += f"; the manual grid took {significant(manual.cost)}"
    ratios = [f"{s.cost_ratio:.2f} by {s.label}" for _, s in order if s is not manual and s.cost_ratio is not None]
    return f"{answer}. Over the manual grid: {'; '.join(ratios)}." if ratios else f"{answer}."


def _fastest(sides: list[Side], manual: Side, device: Device) -> str:
    question = "Which was faster overall?"
    unknown = [s.label for s in sides if s.wall_s is None]
    if unknown:
        return f"{question} Not known: there is no wall time of {some(unknown)}."
    wall_s, fastest = ranked(sides, lambda s: s.wall_s)[0]
    answer = f"{question} {fastest.label}: {significant(wall_s / 60)} min to the end of the search"
    answer += f" on {count(fastest.held, device.one)}"
    if fastest is not manual and manual.wall_s is not None:
        answer += f", against the manual grid's {significant(manual.wall_s / 60)} min on {manual.held}"
    return answer + "."


def _target(sides: list[Side], manual: Side, device: Device, clock: Clock) -> str:
    target = manual.entries[0].target
    if target is None:
        return ""
    winner = "the manual winner" if len(manual.entries) == 1 else "the manual winners' median"
    reached = [_reached(side, device) for _, side in ranked(sides, lambda s: s.expected) if side.successes]
    never = [_failed(s) for s in sides if s.expected is not None and not s.successes]
    wanted = manual.metric.or_better(target)
    answer = f"As good as {winner} ({wanted}, {clock} cost): {'; '.join(reached) or 'none'}"
    answer += f"; never {listed(never)}." if never else "."
    if any(s.successes and s.to_target is None for s in sides):
        answer += " A success costs what all seeds spent until they got there or ended, over those that got there."
    return answer + _random_order(manual, device)


def _reached(side: Side, device: Device) -> str:
    if len(side.entries) == 1:
        return f"{side.label} after {significant(side.expected or 0.0)} {device.minutes_said}{_ratio(side)}"
    runs = f"{side.label} in {side.of_runs(side.successes)}"
    if side.to_target is not None:
        return f"{runs}, after {significant(side.to_target)} {device.minutes_said} in the median{_ratio(side)}"
    return f"{runs}, at {significant(side.expected or 0.0)} {device.minutes_said} a success"


def _failed(side: Side) -> str:
    return side.label if len(side.entries) == 1 else f"{side.label} ({side.of_runs(0)})"


def _ratio(side: Side) -> str:
    if side.target_ratio is None or side.entries[0].is_manual:
        return ""
    return f" ({side.target_ratio:.2f} of manual's)"


def _random_order(manual: Side, device: Device) -> str:
    """What the grid would have cost in another order: as it ran, its winner may have come early or late by chance."""
    expected = manual.expected_random
    if expected is None or math.isinf(expected):
        return ""
    spent = f"in a random order it would spend {significant(expected)} {device.minutes_said}"
    if len(manual.entries) > 1:
        return f" The grid ran in one order; {spent} {'a success' if manual.to_target is None else 'on average'}."
    return f" In its own order the grid got there with {first_hit(manual.entries[0])}; {spent} on average."


def _retrained(sides: list[Side]) -> str:
    known = [(s, s.test_loss) for s in sides if s.test_loss is not None]
    if len(known) < 2:
        return ""
    lengths = {s.final_epochs for s, _ in known}
    said = [
        f"{loss:.4f} by {s.label}" + (f" ({count(s.final_epochs, 'epoch')})" if len(lengths) > 1 else "")
        for s, loss in known
    ]
    apart = " Retrains of different length do not compare." if len(lengths) > 1 else ""
    return f"Loss of the retrained winners on the test split: {'; '.join(said)}.{apart}"


def _hedge(sides: list[Side]) -> str:
    fewest = fewest_seeds(sides)
    simulated = " The runs are simulated." if sides[0].entries[0].study.engine == "virtual" else ""
    if fewest >= SEEDS_FOR_A_CLAIM:
        return f"Based on {fewest} seeds or more of each strategy, by medians.{simulated}"
    return (
        f"Provisional: with {said_seeds(fewest)} none of this can be told from chance, the target (itself a single "
        f"winner's {sides[0].metric.noun} where there is one manual run) included; {SEEDS_FOR_A_CLAIM} seeds or more "
        f"make a claim.{simulated}"
    )


def _left_out(entries: Sequence[Entry], comparable: Sequence[Entry]) -> str:
    compared = {id(e) for e in comparable}
    left = [e.label for e in entries if id(e) not in compared]
    return f" Not compared, being unfinished or measured under other conditions: {some(left)}." if left else ""
