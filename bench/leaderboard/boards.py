"""Boards of runs that compare, and their rows: a strategy with its settings, over its seeds, on one machine."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from statistics import median
from typing import NamedTuple

from bench.leaderboard.collect import Found
from bench.metrics import DEFAULT, study_metrics
from bench.record import Record
from bench.report.entries import Entry, entries, search_cost
from bench.report.head import head
from bench.report.keys import KEY_FIELDS, Keyed, said, search_is_over
from bench.report.machine import image, machine
from bench.report.warnings import SEEDS_FOR_A_CLAIM, TROUBLE
from bench.report.wording import count, device_of
from bench.seeds import child_seed
from bench.simulate_report import SEEDS_FOR_A_ROW
from bench.simulate_scores import RANDOM
from bench.statistics import (
    Estimate,
    Resamples,
    expected_minimum,
    expected_running_cost,
    geometric_median,
    headline_ratio,
    outperforming,
    paired_ratios,
    success_rate,
)
from bench.trials import cost_to_target

SEVERAL = "several"
TITLE_FIELDS = 3
"""So many parts of a study's comparison key name a board: workload, recipe, profile."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One strategy with its settings, over its seeds, on one machine. Costs are device-minutes of the search, medians
    over its runs; None where a run has none.

    `ratio`: the headline ratio, cost to the target over manual's, seed by seed; infinite where half of the seeds missed
    (None: there is no grid to compare with). `over_shuffled`: the same over what the grid would have cost in a random
    order. `better`: probability that it is cheaper to the target than the grid.
    `success_rate`, `cost_to_target`, `expected` (ERT): of reaching the target; costs may be infinite. `cost_ratio`: of
    the whole search over the whole grid. `rank`: by `ratio`, from 1 (None: not ranked). `paired`: whether each run is
    compared with the grid of its own seed. `eval_loss`: of the search's winner; `test_loss` (nats), `exact_match`, `f1`
    (per cent): of the winner retrained. `failures`: trials that ended in trouble. `machine`: as it was probed, empty
    for a simulation. `image`: digest of the container's image, empty without one, SEVERAL where runs differ. `date`:
    on which its last run ended (UTC; empty for a simulation). `commit`: empty where runs differ; `clean`: no run had
    changes beside it.
    """

    key: str
    label: str
    strategy: str
    runs: tuple[Found, ...]
    rank: int | None
    ratio: Estimate | None
    over_shuffled: float | None
    better: Estimate | None
    success_rate: float | None
    cost_to_target: float | None
    expected: float | None
    cost_ratio: float | None
    paired: bool
    allocated_device_min: float | None
    busy_device_min: float | None
    utilisation: float | None
    eval_loss: float | None
    test_loss: float | None
    exact_match: float | None
    f1: float | None
    seeds: int
    provisional: bool
    failures: int
    machine: str
    image: str
    date: str
    commit: str
    clean: bool


@dataclass(frozen=True, kw_only=True)
class Control:
    """What random search alone would find: E[min_n] of `drawn` losses out of the `finals` that its trials ended with,
    in nats."""

    drawn: int
    finals: int
    loss: float


@dataclass(frozen=True, kw_only=True)
class Board:
    """Runs that may be compared: of one workload, recipe, profile, data and plan, all measured or all simulated.

    `conditions`: sentences that hold for all of them. `minutes`: what costs are counted in. `target`: the loss that
    costs to target aim at, where it is the same on all machines (None: there is no grid, or there are several). `rows`:
    ranked ones first. `control`: None without enough trials of random search. `unfinished`: runs whose search is not
    over, which are in no row.
    """

    key: str
    title: str
    workload: str
    recipe: str
    profile: str
    simulated: bool
    conditions: tuple[str, ...]
    minutes: str
    target: float | None
    rows: tuple[Row, ...]
    control: Control | None
    unfinished: int


def boards(found: Sequence[Found]) -> list[Board]:
    """All boards, by their titles, measured before simulated, of the runs that optimised the loss alone. The same runs
    give the same boards, in whatever order they come. Raises UserError where a study cannot be read."""
    groups: dict[str, list[tuple[Found, Keyed]]] = {}
    for one in sorted((one for one in found if by_loss(one)), key=lambda f: f.name):
        keyed = Keyed.of(one.record)
        groups.setdefault(_conditions(keyed), []).append((one, keyed))
    made = [_board(members) for members in groups.values() if any(search_is_over(one.record) for one, _ in members)]
    made.sort(key=lambda b: (b.workload, b.recipe, b.profile, b.simulated, b.title, b.rows[0].key))
    return _named(made)


def by_loss(one: Found) -> bool:
    """Whether a run optimised the loss alone; others are on no board, whose targets are losses."""
    return study_metrics(one.record.study) == DEFAULT


def _conditions(keyed: Keyed) -> str:
    return json.dumps([list(keyed.key), keyed.hashes], sort_keys=True, default=str)


def _board(members: Sequence[tuple[Found, Keyed]]) -> Board:
    over = [one for one, _ in members if search_is_over(one.record)]
    by_machine: dict[str, list[Found]] = {}
    for one in over:
        by_machine.setdefault("" if _simulated(one.record) else machine(one.record), []).append(one)
    everything: list[Entry] = []
    rows: list[Row] = []
    targets: set[float | None] = set()
    for where, own in sorted(by_machine.items()):
        sides = entries([one.record for one in own])
        everything += sides
        targets.update(side.target for side in sides)
        rows += _rows(list(zip(own, sides, strict=True)), where)
    rows.sort(key=_place)
    ranked = [replace(row, rank=None if row.ratio is None else place) for place, row in enumerate(rows, 1)]
    study = everything[0].study
    return Board(
        key="",
        title=_title(members[0][1]),
        workload=study.workload,
        recipe=study.recipe,
        profile=study.profile,
        simulated=study.simulation is not None,
        conditions=head(everything),
        minutes=device_of(over[0].record).minutes,
        target=targets.pop() if len(targets) == 1 else None,
        rows=tuple(ranked),
        control=_control(everything),
        unfinished=len(members) - len(over),
    )


def _control(sides: Sequence[Entry]) -> Control | None:
    own = [side for side in sides if side.study.strategy == RANDOM]
    finals = [t.best_loss for side in own for t in side.record.search_trials if t.best_loss is not None]
    drawn = min((side.study.samples for side in own), default=0)
    if not 1 <= drawn < len(finals):
        return None
    return Control(drawn=drawn, finals=len(finals), loss=expected_minimum(finals, drawn))


def _place(row: Row) -> tuple[float, ...]:
    """Ranked rows by ratio, then by what a success cost; those without a grid last, by their whole search."""
    if row.ratio is None:
        return (1, _or_infinite(row.allocated_device_min))
    return (0, row.ratio.value, _or_infinite(row.expected), _or_infinite(row.allocated_device_min))


def _rows(pairs: Sequence[tuple[Found, Entry]], where: str) -> list[Row]:
    groups: dict[str, list[tuple[Found, Entry]]] = {}
    for found, entry in pairs:
        groups.setdefault(entry.group, []).append((found, entry))
    ordered = [sorted(members, key=lambda m: (m[1].study.seed, m[0].name)) for members in groups.values()]
    return sorted((_row(members, where) for members in ordered), key=lambda row: (row.label, row.key))


def _row(members: Sequence[tuple[Found, Entry]], where: str) -> Row:
    runs, sides = tuple(found for found, _ in members), [entry for _, entry in members]
    records = [side.record for side in sides]
    study = sides[0].study
    seeds = len({side.study.seed for side in sides})
    gits = [record.provenance.get("git") or {} for record in records]
    images = {image(record) for record in records}
    commits = {str(git.get("commit") or "") for git in gits}
    simulated = study.simulation is not None
    ended_s = max(record.ended_s for record in records)
    return Row(
        key=runs[0].name,
        label=sides[0].group_label,
        strategy=study.strategy,
        runs=runs,
        rank=None,
        **_scores(sides)._asdict(),
        cost_ratio=_ratio(side.ratio("allocated") for side in sides),
        paired=all(s.baseline is None or s.baseline.study["seed"] == s.study.seed for s in sides),
        allocated_device_min=_median(search_cost(r, "allocated") for r in records),
        busy_device_min=_median(search_cost(r, "busy") for r in records),
        utilisation=_median(r.costs.search.utilisation for r in records),
        eval_loss=_median(None if r.winner is None else r.winner.eval_loss for r in records),
        test_loss=_median(None if r.final is None else r.final.test_loss for r in records),
        exact_match=_median(None if r.final is None else r.final.exact_match for r in records),
        f1=_median(None if r.final is None else r.final.f1 for r in records),
        seeds=seeds,
        provisional=seeds < (SEEDS_FOR_A_ROW if simulated else SEEDS_FOR_A_CLAIM),
        failures=sum(t.state in TROUBLE for r in records for t in r.search_trials),
        machine=where,
        image=images.pop() if len(images) == 1 else SEVERAL,
        date="" if simulated else datetime.fromtimestamp(ended_s, UTC).date().isoformat(),
        commit=commits.pop() if len(commits) == 1 else "",
        clean=all(git.get("clean", False) for git in gits),
    )


class _Scores(NamedTuple):
    """What a row says about reaching the target; nothing where there is no grid or no known cost."""

    ratio: Estimate | None = None
    over_shuffled: float | None = None
    better: Estimate | None = None
    success_rate: float | None = None
    cost_to_target: float | None = None
    expected: float | None = None


def _scores(sides: Sequence[Entry]) -> _Scores:
    known: list[tuple[float, float, float, float]] = []
    for side in sides:
        cost, spent = side.to_target("allocated"), search_cost(side.record, "allocated")
        if cost is None or spent is None or side.baseline is None or side.target is None:
            return _Scores()
        if search_cost(side.baseline, "allocated") is None:
            return _Scores()
        shuffled = side.random_order("allocated")  # none: no trial of the grid got there
        grid = cost_to_target(side.baseline.trace, side.target, "allocated")
        known.append((cost, grid, math.inf if shuffled is None else shuffled, spent))
    costs, references, shuffles, spent_by_run = zip(*known, strict=True)
    resamples, is_manual = _resamples(len(known)), sides[0].is_manual
    return _Scores(
        ratio=Estimate(1.0, 1.0, 1.0) if is_manual else headline_ratio(costs, references, resamples),
        over_shuffled=geometric_median(paired_ratios(costs, shuffles)),
        better=None if is_manual else outperforming(costs, references, resamples),
        success_rate=success_rate(costs),
        cost_to_target=median(costs),
        expected=expected_running_cost(costs, spent_by_run),
    )


@cache
def _resamples(n: int) -> Resamples:
    return Resamples.draw(n, seed=child_seed(0, "bootstrap"))


def _median(values: Iterable[float | None]) -> float | None:
    known = list(values)
    finite = [value for value in known if value is not None]
    return median(finite) if len(finite) == len(known) else None


def _ratio(values: Iterable[float | None]) -> float | None:
    known = list(values)
    finite = [value for value in known if value is not None]
    return geometric_median(finite) if len(finite) == len(known) else None


def _or_infinite(value: float | None) -> float:
    return math.inf if value is None else value


def _simulated(record: Record) -> bool:
    return record.study.get("simulation") is not None


def _title(keyed: Keyed) -> str:
    """What tells the board's runs from all others: workload, recipe and profile, whether they were measured, and then
    the conditions that are not the workload's own."""
    study = keyed.study
    names = [study.workload, study.recipe, study.profile, "simulated" if study.simulation else "measured"]
    details = {name: value for name, value in zip(KEY_FIELDS, keyed.key, strict=True) if value is not None}
    for name in KEY_FIELDS[:TITLE_FIELDS]:
        details.pop(name, None)
    epochs, final, each = (details.pop(name) for name in ("epochs", "final epochs", "devices per trial"))
    names.append(f"{count(epochs, 'epoch')} and {final} for the winner" if final else count(epochs, "epoch"))
    if each != 1:
        names.append(f"{each} devices a trial")
    return ", ".join([*names, *(f"{name} {said(value)}" for name, value in details.items())])


def _named(made: Sequence[Board]) -> list[Board]:
    """Each with a key of its own; equal titles (other data or another model under one name) are numbered."""
    named: list[Board] = []
    titles: dict[str, int] = {}
    for board in made:
        number = titles[board.title] = titles.get(board.title, 0) + 1
        title = board.title if number == 1 else f"{board.title} ({number}: another model or other data by their hashes)"
        kind = "simulated" if board.simulated else "measured"
        base = f"{board.workload}-{board.recipe}-{board.profile}-{kind}"
        slug = re.sub(r"[^a-z0-9]+", "-", base.lower()).strip("-")
        same = sum(b.key == slug or b.key.startswith(f"{slug}--") for b in named)
        named.append(replace(board, title=title, key=f"{slug}--{same + 1}" if same else slug))
    return named
