"""Runs of a submission beside each other: studies that repeat, journals that were copied, seeds that are too few."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from bench.events import EpochFinished
from bench.submission.findings import Findings, short
from bench.submission.run import Run

SEEDS_MEASURED = 5
SEEDS_SIMULATED = 200
COPIED_SHARE = 0.5
"""Two runs of which the shorter shares so much of its numbers with the other are one."""
COPIED_LEAST = 2


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What is kept of a run once it has been looked at. `conditions`: its study but for the seed. `losses`,
    `train_s`: of its epochs, as far as they tell anything."""

    place: str
    strategy: str
    seed: int
    measured: bool
    conditions: str
    losses: tuple[float, ...]
    train_s: tuple[float, ...]


def traits_of(run: Run) -> Traits:
    epochs = [event for _, event in run.lines if isinstance(event, EpochFinished)] if run.measured else []
    return Traits(
        place=run.place,
        strategy=run.study.strategy,
        seed=run.study.seed,
        measured=run.measured,
        conditions=json.dumps({**run.study.to_dict(), "seed": None}, sort_keys=True),
        losses=tuple({e.eval_loss for e in epochs if e.eval_loss}),
        train_s=tuple({e.phases.train_s for e in epochs if e.phases.train_s}),
    )


def check_across(runs: Sequence[Traits], findings: Findings) -> None:
    """Findings about runs that repeat each other, and about how many seeds there are."""
    first: dict[tuple[str, int], Traits] = {}
    groups: dict[str, list[Traits]] = defaultdict(list)
    for run in runs:
        groups[run.conditions].append(run)
        other = first.setdefault((run.conditions, run.seed), run)
        if other is not run:
            findings.add(
                "same-study", run.place, f"{other.place} is of the same study, seed {run.seed}: send one of the two."
            )
    measured = [run for run in runs if run.measured]
    _check_copied(measured, [run.losses for run in measured], "copied-losses", "losses", findings)
    _check_copied(measured, [run.train_s for run in measured], "copied-timings", "seconds of epochs", findings)
    for group in groups.values():
        least = SEEDS_MEASURED if group[0].measured else SEEDS_SIMULATED
        seeds = len({run.seed for run in group})
        if seeds < least:
            findings.add(
                "provisional",
                group[0].place,
                f"{short(group[0].strategy, 60)} has {seeds} of {least} seeds like this: its row is provisional, "
                "unless runs of the same machine in results have the others.",
            )


def _check_copied(
    runs: Sequence[Traits], numbers: Sequence[tuple[float, ...]], code: str, what: str, findings: Findings
) -> None:
    """Each number is held against the first run that has it. Strategies that draw alike under one seed have the same
    losses by right; no two runs have the same times."""
    owners: dict[float, list[int]] = {}
    for index, own in enumerate(numbers):
        shared: Counter[int] = Counter()
        for number in own:
            known = owners.setdefault(number, [])
            if code == "copied-losses":
                other = next((i for i in known if runs[i].seed != runs[index].seed), None)
            else:
                other = known[0] if known else None
            if other is not None:
                shared[other] += 1
            if len(known) < 2 and all(runs[i].seed != runs[index].seed for i in known):
                known.append(index)
        for other, count in shared.items():
            least = min(len(own), len(numbers[other]))
            if count >= max(COPIED_LEAST, COPIED_SHARE * least):
                findings.add(
                    code,
                    runs[index].place,
                    f"{count} of its {len(own)} {what} are those of {runs[other].place}: send the run itself.",
                )
