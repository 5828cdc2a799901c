"""The report of a simulated comparison: a row a strategy, with what must be known to believe it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from bench.estimates import cost_cell, estimate_cells, estimate_columns
from bench.profile import load_profile
from bench.report.model import Report
from bench.report.wording import count, some
from bench.simulate_head import facts, head, load_validation
from bench.simulate_many import Outcome
from bench.simulate_scores import MANUAL, RANDOM, Score, TargetScore, scores
from bench.simulate_targets import HARD_DRAWS, HARD_QUANTILE, RERUNS, Targets, targets
from bench.statistics import RESAMPLES, Estimate, win_is_claimed
from bench.strategy import load_strategy
from bench.study import Study
from bench.tables import Cell, Column, Table

if TYPE_CHECKING:
    from bench.curve_model import CurveModel

SEEDS_FOR_A_ROW = 200
APPROXIMATE = " (approximate)"


def simulate_report(
    outcomes: Sequence[Outcome], studies: Sequence[Study], model: CurveModel, *, validation: Path | None = None
) -> Report:
    """The strategies over their seeds, against manual and random, which must be among them.

    `outcomes`: one for each of the `studies`. `model`: of the curves that they were simulated on. `validation`: folder
    of comparisons to real runs (None: this installation's). CSV holds the table of strategies. Raises UserError where
    the manual grid has no winner.
    """
    by_strategy = {study.strategy: study for study in reversed(studies)}
    manual = by_strategy[MANUAL]
    goal = targets([o for o in outcomes if o.strategy == MANUAL], model, manual.space, epochs=manual.epochs)
    rows = scores(outcomes, goal)
    unit = load_profile(manual.profile).unit
    approximate = [s.strategy for s in rows if _copies(by_strategy[s.strategy])]
    curve_set = model.curve_set
    return Report(
        title=f"Simulated comparison of {count(len(rows), 'strategy').replace('strategys', 'strategies')}",
        tables=(_strategy_table(rows, goal, unit, approximate), _hard_table(rows, goal, unit, approximate)),
        warnings=tuple(_warnings(rows)),
        comparison=tuple(_claims(rows, unit)),
        csv_table="strategies",
        head=head(
            curve_set,
            {s.strategy: by_strategy[s.strategy] for s in rows},
            [o.seed for o in rows[0].outcomes],
            load_validation(curve_set.name, validation),
            approximate,
            unit,
        ),
        facts=facts(curve_set, {s.strategy: by_strategy[s.strategy] for s in rows}, [o.seed for o in rows[0].outcomes]),
    )


def _copies(study: Study) -> bool:
    return load_strategy(study.strategy_file or study.strategy).copies


def _strategy_table(rows: Sequence[Score], goal: Targets, unit: str, approximate: Sequence[str]) -> Table:
    return Table(
        name="strategies",
        title=f"As good as the manual grid: loss {goal.grid:.4f} or less",
        columns=(*_target_columns(unit), *_search_columns(unit)),
        rows=tuple(
            (*_target_cells(s, s.grid, goal.grid, approximate), *_search_cells(s, s.strategy in approximate))
            for s in rows
        ),
        notes=(
            f"Target: median of {RERUNS} re-runs of each seed's winner of the grid. To target: median of the cost at "
            "which a search first got there; never: half of the seeds or more did not. A success: what all seeds spent "
            "until they got there or ended, over those that did (ERT). Over manual: exp(median ln T/T_manual), seed by "
            "seed; a miss is infinite (never), and where the grid missed the ratio is 0. P: share of seeds in which it "
            "is cheaper to the target, ties one half. In brackets: 95 % percentile bootstrap over seeds, "
            f"{RESAMPLES} resamples.",
            "The grid comes in one order, and where in it the winner lies is chance. Over shuffled: the same ratio to "
            "what the grid costs to the target in a random order, on average. Loss beside manual: the incumbent's "
            "minus the grid's when the whole grid is paid for, median (negative is better). Whole search: its cost "
            "over that of the whole grid. Model: share of suggestions that a model made.",
        ),
    )


def _hard_table(rows: Sequence[Score], goal: Targets, unit: str, approximate: Sequence[str]) -> Table:
    return Table(
        name="hard_target",
        title=f"As good as the best {HARD_QUANTILE:.0%} of random search: loss {goal.hard:.4f} or less",
        columns=_target_columns(unit),
        rows=tuple(_target_cells(s, s.hard, goal.hard, approximate) for s in rows),
        notes=(f"Target: the {HARD_QUANTILE:.0%} quantile of {HARD_DRAWS} configurations drawn at random.",),
    )


def _target_columns(unit: str) -> tuple[Column, ...]:
    return (
        Column(key="label", header="strategy", align="left"),
        Column(key="strategy", header="strategy", align="left", data_only=True),
        Column(key="seeds", header="seeds", data_only=True),
        Column(key="target_loss", header="target loss", data_only=True),
        Column(key="success_rate", header="reached", spec=".0%"),
        Column(key="to_target_device_min", header=f"{unit}-min to target", spec=".2f"),
        Column(key="expected_device_min", header=f"{unit}-min a success", spec=".2f"),
        *estimate_columns("ratio", "over manual"),
        Column(key="random_order_ratio", header="over shuffled", spec=".2f"),
        *estimate_columns("p_over_manual", "P cheaper than manual"),
        *estimate_columns("p_over_random", "P cheaper than random"),
    )


def _target_cells(score: Score, to: TargetScore, target: float, approximate: Sequence[str]) -> tuple[Cell, ...]:
    return (
        score.strategy + (APPROXIMATE if score.strategy in approximate else ""),
        score.strategy,
        len(score.outcomes),
        target,
        to.success_rate,
        cost_cell(to.cost),
        cost_cell(to.expected),
        *estimate_cells(to.ratio),
        cost_cell(to.random_order_ratio),
        *estimate_cells(to.over_manual),
        *estimate_cells(to.over_random),
    )


def _search_columns(unit: str) -> tuple[Column, ...]:
    return (
        *estimate_columns("loss_difference", "loss beside manual"),
        Column(key="cost_ratio", header="whole search", spec=".2f"),
        Column(key="model_share", header="model", spec=".0%"),
        Column(key="stalls", header="stalls", spec="d"),
        Column(key="search_device_min", header=f"{unit}-min of the search", data_only=True),
        Column(key="busy_device_min", header=f"{unit}-min busy", data_only=True),
        Column(key="wall_s", header="wall time", unit="s", data_only=True),
        Column(key="trials", header="trials", data_only=True),
        Column(key="stopped", header="stopped trials", data_only=True),
        Column(key="best_loss", header="best loss", data_only=True),
        Column(key="approximate", header="approximate", data_only=True),
    )


def _search_cells(score: Score, approximate: bool) -> tuple[Cell, ...]:
    runs = score.outcomes
    return (
        *estimate_cells(score.loss_difference, ".4f"),
        cost_cell(score.cost_ratio),
        score.model_based / score.suggestions if score.suggestions else None,
        score.stalls,
        _median([o.allocated_device_min for o in runs]),
        _median([o.busy_device_min for o in runs]),
        _median([o.wall_s for o in runs]),
        _median([o.trials for o in runs]),
        _median([o.stopped for o in runs]),
        cost_cell(score.best_loss),
        approximate,
    )


def _median(values: Sequence[float]) -> float:
    return float(median(values))


def _warnings(rows: Sequence[Score]) -> list[str]:
    found = []
    seeds = len(rows[0].outcomes)
    if seeds < SEEDS_FOR_A_ROW:
        found.append(f"Provisional: {count(seeds, 'seed')}; {SEEDS_FOR_A_ROW} or more make a row.")
    found += [
        f"{s.strategy} has a model of earlier results, but none of its {s.suggestions} suggestions came from it at "
        "this number of trials: its configurations are random sampling."
        for s in rows
        if s.suggestions and not s.model_based
    ]
    found += [
        f"{s.strategy} stalled under {s.stalls} of {seeds} seeds; the first: {next(filter(None, stalls))}"
        for s in rows
        if any(stalls := [o.stalled for o in s.outcomes])
    ]
    empty = {s.strategy: sum(not o.trace for o in s.outcomes) for s in rows}
    without = [f"{name} under {number} of {seeds}" for name, number in empty.items() if number]
    if without:
        found.append(f"No trial got to full fidelity with a finite loss: {some(without)} seeds.")
    return found


def _claims(rows: Sequence[Score], unit: str) -> list[str]:
    """What the intervals allow to be said of the cost to the first target; of the others nothing is."""
    lines, unsaid = [], []
    for s in rows:
        for name, found in ((MANUAL, s.grid.over_manual), (RANDOM, s.grid.over_random)):
            if found is None or s.strategy == MANUAL:  # that pair is told in random's row
                continue
            against = Estimate(1 - found.value, 1 - found.high, 1 - found.low)
            if win_is_claimed(found) or win_is_claimed(against):
                better, worse = (s.strategy, name) if win_is_claimed(found) else (name, s.strategy)
                shown = found if win_is_claimed(found) else against
                lines.append(
                    f"{better} needs fewer {unit}-minutes than {worse} to be as good as the grid's winner: in "
                    f"{shown.value:.0%} of seeds [{shown.low:.0%}, {shown.high:.0%}]."
                )
            else:
                unsaid.append(f"{s.strategy} and {name}")
    if unsaid:
        lines.append(
            f"Nothing is claimed of {'; '.join(unsaid)}: a claim needs P of 0.75 or more and an interval above 0.5."
        )
    return lines
