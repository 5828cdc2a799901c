"""The report of advice: what to run, what it is expected to cost, and how far that can be believed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean, median

from bench.advise import ADVISED, AS_IT_COMES, OTHER, REFERENCE, Advice, Row, costs_to, expected_cost, losses_within
from bench.advise_command import command
from bench.estimates import NEVER, cost_cell, estimate_cells, estimate_columns
from bench.report.model import Report
from bench.report.wording import count, listed
from bench.seeds import child_seed
from bench.simulate_head import facts, head, load_validation
from bench.simulate_many import Outcome
from bench.simulate_report import APPROXIMATE, SEEDS_FOR_A_ROW
from bench.simulate_scores import MANUAL, Score, cost_in_random_order, scores
from bench.simulate_targets import Targets
from bench.statistics import RESAMPLES, Estimate, Resamples, expected_running_cost, success_rate
from bench.strategy import load_strategy
from bench.tables import Cell, Column, Table

AIM = 0.1
"""Of the manual grid's device-minutes, at its quality."""
ROLES = {REFERENCE: "reference", ADVISED: "advised", AS_IT_COMES: "its defaults", OTHER: "another strategy's best"}


def advise_report(advice: Advice, *, validation: Path | None = None) -> Report:
    """`validation`: folder of comparisons to real runs (None: this installation's). CSV holds the table of advice."""
    return _Report(advice).report(validation)


@dataclass(frozen=True)
class _Report:
    advice: Advice

    def report(self, validation: Path | None) -> Report:
        advice, unit = self.advice, self.unit
        best = self.advised
        doubt = " (approximate)" if best.study.strategy in self.approximate else ""
        title = f"Advice for profile {advice.profile.name}: {best.candidate.label}{doubt}"
        return Report(
            title=title,
            tables=(self._advice_table(), self._optimism_table(), self._choice_table()),
            warnings=tuple(self._warnings()),
            comparison=tuple(self._comparison()),
            csv_table="advice",
            head=(
                f"Run it with: {command(best.study)}",
                self._asked(),
                f"Chosen on {advice.choosing.said}, under seeds {_span(advice.choosing_seeds)}; all that is reported "
                f"is on {advice.reporting.said}, under seeds {_span(advice.reporting_seeds)}.",
                *head(
                    advice.reporting.curve_set,
                    {row.study.strategy: row.study for row in reversed(advice.rows)},
                    advice.reporting_seeds,
                    load_validation(advice.reporting.curve_set.name, validation),
                    self.approximate,
                    unit,
                ),
            ),
            facts=facts(
                advice.reporting.curve_set,
                {row.study.strategy: row.study for row in reversed(advice.rows)},
                advice.reporting_seeds,
            ),
        )

    @property
    def unit(self) -> str:
        return self.advice.profile.unit

    @property
    def minutes(self) -> str:
        return f"{self.unit}-minutes"

    @property
    def advised(self) -> Row:
        return self.advice.row(ADVISED)

    @cached_property
    def approximate(self) -> list[str]:
        return list(
            dict.fromkeys(r.study.strategy for r in self.advice.rows if load_strategy(r.candidate.strategy).copies)
        )

    @cached_property
    def resamples(self) -> Resamples:
        return Resamples.draw(len(self.advice.reporting_seeds), seed=child_seed(0, "bootstrap"))

    @cached_property
    def scores(self) -> dict[str, Score]:
        """By what `_key` says of a row."""
        goal = Targets(grid=self.advice.grid_target, hard=self.advice.target)
        keyed = [replace(o, strategy=_key(row)) for row in self.advice.rows for o in row.outcomes]
        return {score.strategy: score for score in scores(keyed, goal)}

    @cached_property
    def grid_device_min(self) -> float:
        """What the whole grid costs, on average."""
        return fmean(o.allocated_device_min for o in self.advice.rows[0].outcomes)

    @property
    def spec(self) -> str:
        """The format of device-minutes: three digits or more of a tenth of the grid."""
        return f".{max(0, 3 - math.floor(math.log10(self.grid_device_min)))}f"

    def expected(self, outcomes: Sequence[Outcome], target: float) -> Estimate:
        return self.resamples.expected_running_cost(
            costs_to(outcomes, target), [o.allocated_device_min for o in outcomes]
        )

    def _asked(self) -> str:
        goal, target = self.advice.goal, self.advice.target
        tried = "; then ".join(
            f"{count(r.candidates, 'candidate')} under {count(r.seeds, 'seed')}" for r in self.advice.rungs
        )
        if goal.budget_device_min is not None:
            wanted = (
                f"the lowest median loss within {goal.budget_device_min:g} {self.minutes}, then the cheapest search"
            )
        elif goal.target_loss is not None:
            wanted = f"the least expected cost (ERT) to a loss of {target:g}, then the cheapest whole search"
        else:
            wanted = (
                "the least expected cost (ERT) to be as good as the manual grid, then the cheapest whole search; on "
                f"the curves of the choice that is a loss of {self.advice.choosing_target:.4f}, on those of the "
                f"report {target:.4f}"
            )
        return f"Chosen for {wanted}: {tried}."

    def _advice_table(self) -> Table:
        advice, budget = self.advice, self.advice.goal.budget_device_min
        within = estimate_columns("loss_within_budget", f"loss within {budget:g}") if budget is not None else ()
        unit = self.unit
        return Table(
            name="advice",
            title=f"Expected under fresh seeds, to a loss of {advice.target:.4f} or less",
            columns=(
                Column(key="label", header="search", align="left", wraps=True),
                Column(key="role", header="role", align="left"),
                Column(key="success_rate", header="reached", spec=".0%"),
                *estimate_columns("expected_device_min", f"{unit}-min a success"),
                *estimate_columns("to_target_device_min", f"{unit}-min to target"),
                *within,
                *estimate_columns("share_of_grid", "of the whole grid"),
                Column(key="random_order_ratio", header="over shuffled", spec=".2f"),
                *estimate_columns("p_over_manual", "P cheaper than manual"),
                Column(key="best_loss", header="loss at the end", spec=".4f"),
                Column(key="search_device_min", header=f"{unit}-min whole search", spec=self.spec),
                Column(key="model_share", header="model", spec=".0%"),
                Column(key="stalls", header="stalls", spec="d"),
                Column(key="strategy", header="strategy", data_only=True),
                Column(key="settings", header="settings", data_only=True),
                Column(key="wall_s", header="wall time", unit="s", data_only=True),
                Column(key="samples", header="trials at most", data_only=True),
                Column(key="devices", header="devices", data_only=True),
                Column(key="seeds", header="seeds", data_only=True),
                Column(key="target_loss", header="target loss", data_only=True),
                Column(key="approximate", header="approximate", data_only=True),
                Column(key="command", header="command", data_only=True),
            ),
            rows=tuple(map(self._cells, advice.rows)),
            strong=frozenset({[row.role for row in advice.rows].index(ADVISED)}),
            notes=(
                f"A success: what all seeds spent until they got to the target or ended, over those that did (ERT). To "
                f"target: median. Both end at the target; a search that is not ended there costs the whole. Of the "
                f"whole grid: ERT over what the manual grid costs in all, {format(self.grid_device_min, self.spec)} "
                f"{self.minutes}. Over shuffled: cost to target over what the grid costs to it in a random order, "
                f"median over seeds. Model: share of suggestions that a model made. In brackets: 95 % percentile "
                f"bootstrap over {count(len(advice.reporting_seeds), 'seed')}, {RESAMPLES} resamples.",
            ),
        )

    def _cells(self, row: Row) -> tuple[Cell, ...]:
        advice, score = self.advice, self.scores[_key(row)]
        budget, to = advice.goal.budget_device_min, score.hard
        expected = self.expected(row.outcomes, advice.target)
        within: tuple[Cell, ...] = ()
        if budget is not None:
            within = estimate_cells(self.resamples.median(losses_within(row.outcomes, budget)), ".4f")
        approximate = row.study.strategy in self.approximate
        return (
            row.candidate.label + (APPROXIMATE if approximate else ""),
            ROLES[row.role],
            to.success_rate,
            *estimate_cells(expected, self.spec),
            *estimate_cells(self.resamples.median(costs_to(row.outcomes, advice.target)), self.spec),
            *within,
            *estimate_cells(_over(expected, self.grid_device_min), ".3f"),
            cost_cell(to.random_order_ratio),
            *estimate_cells(to.over_manual),
            cost_cell(score.best_loss),
            median(o.allocated_device_min for o in row.outcomes),
            score.model_based / score.suggestions if score.suggestions else None,
            score.stalls,
            row.study.strategy,
            " ".join(f"{name}={value}" for name, value in row.study.settings.items()),
            median(o.wall_s for o in row.outcomes),
            row.study.samples,
            row.study.devices if not load_strategy(row.candidate.strategy).serial else row.study.devices_per_trial,
            len(row.outcomes),
            advice.target,
            approximate,
            command(row.study),
        )

    def _optimism_table(self) -> Table:
        """The objective of the advice where it was chosen, and where it was not."""
        advice, best = self.advice, self.advised
        parts = [("by which it was chosen", advice.choosing, advice.choice.outcomes, advice.choosing_target)]
        if advice.again is not None:
            parts.append(("fresh seeds, the same curves", advice.choosing, advice.again, advice.choosing_target))
        fresh = "fresh seeds" if advice.again is None else "fresh seeds, curves held out"
        parts.append((fresh, advice.reporting, best.outcomes, advice.target))
        budget = advice.goal.budget_device_min
        header = f"{self.unit}-min a success" if budget is None else f"loss within {budget:g}"
        rows: list[tuple[Cell, ...]] = []
        for said, ground, outcomes, target in parts:
            resamples = Resamples.draw(len(outcomes), seed=child_seed(0, "bootstrap"))
            whole = [o.allocated_device_min for o in outcomes]
            found = (
                resamples.expected_running_cost(costs_to(outcomes, target), whole)
                if budget is None
                else resamples.median(losses_within(outcomes, budget))
            )
            spec = self.spec if budget is None else ".4f"
            rows.append(
                (
                    said,
                    ground.said,
                    len(outcomes),
                    target,
                    success_rate(costs_to(outcomes, target)),
                    *estimate_cells(found, spec),
                )
            )
        return Table(
            name="optimism",
            title="Optimism of the choice: the same search where it was chosen, and where it was not",
            columns=(
                Column(key="seeds_said", header="seeds", align="left"),
                Column(key="curves", header="curves", align="left", wraps=True),
                Column(key="seeds", header="number"),
                Column(key="target_loss", header="target loss", spec=".4f"),
                Column(key="success_rate", header="reached", spec=".0%"),
                *estimate_columns("objective", header),
            ),
            rows=tuple(rows),
        )

    def _choice_table(self) -> Table:
        """The halving, rung by rung."""
        return Table(
            name="rungs",
            title="How it was chosen",
            columns=(
                Column(key="rung", header="rung"),
                Column(key="candidates", header="candidates"),
                Column(key="seeds", header="seeds each"),
            ),
            rows=tuple((i, r.candidates, r.seeds) for i, r in enumerate(self.advice.rungs, 1)),
        )

    def _warnings(self) -> list[str]:
        advice, seeds = self.advice, len(self.advice.reporting_seeds)
        found = []
        if seeds < SEEDS_FOR_A_ROW:
            found.append(f"Provisional: {count(seeds, 'seed')} reported; {SEEDS_FOR_A_ROW} or more make a row.")
        if advice.choosing == advice.reporting:
            found.append(
                f"Nothing of {advice.reporting.curve_set.name} was held out: seeds are fresh, but the advice was tuned "
                "on the curves that it is reported on."
            )
        elif advice.again is not None and len(advice.reporting.curve_set.seeds) == 1:
            found.append(
                f"The held-out curves are one seed of {advice.reporting.curve_set.name} and show no noise between "
                "runs: it was taken from the whole set."
            )
        per_trial = self.advised.study.devices_per_trial
        if per_trial != advice.profile.devices_per_trial:
            found.append(
                f"The curves are of trials on {count(per_trial, 'device')}; a real run on profile "
                f"{advice.profile.name} gives a trial {advice.profile.devices_per_trial}, so the command will not "
                "cost what was simulated."
            )
        for row in advice.rows:
            score = self.scores[_key(row)]
            if score.suggestions and not score.model_based:
                found.append(
                    f"{row.candidate.label}: 0 model-based suggestions of {score.suggestions}; its configurations are "
                    "random sampling."
                )
            if score.stalls:
                first = next(o.stalled for o in row.outcomes if o.stalled)
                found.append(f"{row.candidate.label} stalled under {score.stalls} of {seeds} seeds; the first: {first}")
        return found

    def _comparison(self) -> list[str]:
        advice, best = self.advice, self.advised
        to, expected = self.scores[_key(best)].hard, self.expected(best.outcomes, advice.target)
        lines = [
            f"{best.candidate.label}: {_shown(expected, self.spec)} {self.minutes} a success, {to.success_rate:.0%} of "
            f"{count(len(best.outcomes), 'seed')} reach a loss of {advice.target:.4f}; the manual grid: "
            f"{_shown(self.expected(advice.rows[0].outcomes, advice.target), self.spec)} a success, "
            f"{self.scores[MANUAL].hard.success_rate:.0%}.",
            self._aim(),
        ]
        if advice.goal.budget_device_min is not None:
            lines.insert(1, self._within_budget(advice.goal.budget_device_min))
        better = [
            row.candidate.label
            for row in advice.rows
            if row.role != ADVISED
            and advice.goal.rank(row.outcomes, advice.target) < advice.goal.rank(best.outcomes, advice.target)
        ]
        if better:
            lines.append(
                f"Under the fresh seeds {listed(better)} did better than what was advised; the advice stays, since "
                "choosing by them would make them seeds of the choice."
            )
        return lines

    def _within_budget(self, budget: float) -> str:
        losses = [(row.candidate.label, median(losses_within(row.outcomes, budget))) for row in self.advice.rows[:3]]
        said = [f"{label} {_loss(loss)}" for label, loss in losses]
        return f"Median loss when {budget:g} {self.minutes} are allocated: {listed(said)}."

    def _aim(self) -> str:
        """What was reached of a tenth, at the grid's quality and so at theta_1, whatever was asked for."""
        advice, best, spec = self.advice, self.advised, self.spec
        manual, theta = advice.rows[0].outcomes, advice.grid_target
        found = _over(self.expected(best.outcomes, theta), self.grid_device_min)
        said = f"Aim: as good as the manual grid (loss {theta:.4f}) for a tenth of its {self.minutes}. "
        if math.isinf(found.value):
            return f"{said}Not reached: no search got to that loss."
        shuffled = expected_running_cost(
            [cost_in_random_order(o, theta) for o in manual], [o.allocated_device_min for o in manual]
        )
        over_shuffled = expected_cost(best.outcomes, theta) / shuffled
        whole = fmean(o.allocated_device_min for o in best.outcomes) / self.grid_device_min
        verdict = (
            "reached"
            if found.high <= AIM
            else "not reached"
            if found.low > AIM
            else "neither reached nor missed for certain"
        )
        first = median(o.trace[0].allocated_device_min or 0.0 if o.trace else math.inf for o in best.outcomes)
        return (
            f"{said}Found: {_shown(found, '.3f')} of the {format(self.grid_device_min, spec)} that the whole grid "
            f"costs, so the tenth is {verdict}; and {_ratio(over_shuffled)} of what the grid costs a success in a "
            f"random order. The first trial alone ends after {_ratio(first / self.grid_device_min)} of the grid in "
            f"the median, and a search that is not ended at the target costs {_ratio(whole)}."
        )


def _key(row: Row) -> str:
    """The references by their strategies' names, which `scores` wants."""
    return row.study.strategy if row.role == REFERENCE else f"{row.role}: {row.candidate.label}"


def _over(estimate: Estimate, cost: float) -> Estimate:
    return Estimate(estimate.value / cost, estimate.low / cost, estimate.high / cost)


def _shown(estimate: Estimate, spec: str) -> str:
    return str(estimate_cells(estimate, spec)[0])


def _ratio(value: float) -> str:
    return NEVER if math.isinf(value) else f"{value:.3f}"


def _loss(value: float) -> str:
    return "none" if math.isinf(value) else f"{value:.4f}"


def _span(seeds: range) -> str:
    return f"{seeds[0]} to {seeds[-1]}"
