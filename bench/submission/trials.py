"""The trials of a run: none missing, none beyond the study, each trained as its journal says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from bench.events import (
    FINAL_TRIAL,
    EpochFinished,
    Event,
    FinalScored,
    RunInterrupted,
    SearchFinished,
    TrialCreated,
    TrialEnded,
    TrialReconfigured,
    TrialStarted,
    TrialSummarised,
)
from bench.hyperparameters import Value
from bench.simulate_scores import MANUAL
from bench.submission.findings import Findings, quoted
from bench.submission.run import Run


def check_trials(run: Run, findings: Findings) -> None:
    """Findings about trials, their configurations and epochs, the winner and its retrain."""
    _Walk(run, findings).all()
    _check_end(run, findings)
    _check_count(run, findings)
    _check_final(run, findings)


@dataclass
class _Progress:
    """A trial up to now. `at`: epochs of the weights that it goes on from. `most`: the last epoch it ever finished."""

    config: Mapping[str, Value]
    started: bool = False
    at: int = 0
    most: int = 0
    donor_epoch: int | None = None
    ended: bool = False


class _Walk:
    """Looks at the events one by one."""

    def __init__(self, run: Run, findings: Findings) -> None:
        self._run = run
        self._findings = findings
        self._trials: dict[str, _Progress] = {}
        self._created: list[Mapping[str, Value]] = []

    def all(self) -> None:
        for line, event in self._run.lines:
            self._look(self._run.at(line), event)
        self._check_grid()

    def _look(self, where: str, event: Event) -> None:
        match event:
            case TrialCreated():
                self._look_created(where, event)
            case TrialStarted():
                self._look_started(where, event)
            case TrialReconfigured():
                self._look_reconfigured(where, event)
            case EpochFinished():
                self._look_epoch(where, event)
            case TrialEnded():
                trial = self._trials.get(event.trial)
                if trial is not None:
                    self._refuse_after_end(where, event.trial, trial)
                    trial.ended = True
            case TrialSummarised():
                self._findings.add("totals-only", where, "A trial of which only totals are given cannot be checked.")
            case SearchFinished():
                winner = self._run.record.winner
                right = None if winner is None else winner.trial
                if event.winner != right:
                    self._findings.add(
                        "wrong-winner", where, f"The winner is given as {quoted(event.winner)}; it is {quoted(right)}."
                    )
            case _:
                pass

    def _look_created(self, where: str, event: TrialCreated) -> None:
        self._trials[event.trial] = _Progress(event.config)
        if event.trial == FINAL_TRIAL or event.purpose == "final":
            if (event.trial, event.purpose) != (FINAL_TRIAL, "final"):
                self._findings.add(
                    "trial-numbering", where, "The final retrain, and no other trial, is called 'final'."
                )
            return
        self._created.append(event.config)
        right = f"{len(self._created):04d}"
        if event.trial != right:
            self._findings.add(
                "trial-numbering", where, f"The trial is called {quoted(event.trial)}; expected {right}."
            )
        self._check_space(where, event.config)

    def _check_space(self, where: str, config: Mapping[str, Value]) -> None:
        space = self._run.study.space
        if set(config) != set(space.names):
            self._findings.add(
                "outside-space",
                where,
                f"It sets {quoted(sorted(config), 120)}; the space has {', '.join(space.names)}.",
            )
            return
        for name, value in config.items():
            if not space[name].contains(value):
                self._findings.add("outside-space", where, f"{name} is {value}, which the study's space does not hold.")

    def _look_started(self, where: str, event: TrialStarted) -> None:
        trial = self._trials.get(event.trial)
        if trial is None:
            return
        self._refuse_after_end(where, event.trial, trial)
        most = trial.most if trial.donor_epoch is None else max(trial.most, trial.donor_epoch)
        if not 0 <= event.epoch <= most:
            self._findings.add(
                "epoch-order", where, f"The trial starts after epoch {event.epoch}, and has finished {most}."
            )
        trial.started, trial.at = True, event.epoch

    def _look_reconfigured(self, where: str, event: TrialReconfigured) -> None:
        trial, donor = self._trials.get(event.trial), self._trials.get(event.donor)
        if trial is None:
            return
        if donor is None or not 0 < event.donor_epoch <= donor.most:
            self._findings.add(
                "epoch-order",
                where,
                f"The donor {quoted(event.donor)} has not finished epoch {event.donor_epoch}.",
            )
        self._check_space(where, event.config)
        trial.config, trial.donor_epoch = event.config, event.donor_epoch

    def _look_epoch(self, where: str, event: EpochFinished) -> None:
        trial = self._trials.get(event.trial)
        if trial is None:
            return
        self._refuse_after_end(where, event.trial, trial)
        study = self._run.study
        most = study.final_epochs if event.trial == FINAL_TRIAL else study.epochs
        if not 1 <= event.epoch <= most:
            self._findings.add("epoch-beyond", where, f"Epoch {event.epoch}; trials of this study have up to {most}.")
        if not trial.started:
            self._findings.add("epoch-order", where, "The trial finished an epoch and never started.")
        elif event.eval_loss is not None and event.epoch != trial.at + 1:
            self._findings.add("epoch-order", where, f"Epoch {event.epoch} follows epoch {trial.at}.")
        if dict(event.config) != dict(trial.config):
            self._findings.add("config-changed", where, "The epoch was not trained with the trial's configuration.")
        trial.at = event.epoch
        trial.most = max(trial.most, event.epoch)

    def _refuse_after_end(self, where: str, name: str, trial: _Progress) -> None:
        if trial.ended:
            self._findings.add("state-mismatch", where, f"The trial {quoted(name)} goes on after its end.")

    def _check_grid(self) -> None:
        study = self._run.study
        if study.strategy != MANUAL or study.strategy_file is not None:
            return
        points = math.prod(len(dimension.grid) for dimension in study.space.dimensions)
        wanted = f"The grid of the study's space has {points} configurations, which are trained in its order"
        if study.samples != points:
            self._findings.add("not-the-grid", self._run.place, f"{wanted}; the study has {study.samples} trials.")
        elif [dict(config) for config in self._created] != study.space.grid()[: len(self._created)]:
            self._findings.add("not-the-grid", self._run.place, f"{wanted}; these are others.")


def _check_end(run: Run, findings: Findings) -> None:
    if run.record.status == "running":
        findings.add(
            "unfinished", run.at(run.lines[-1][0]), "The journal ends in the middle: finish it by `sweepmark resume`."
        )
    elif run.record.status == "interrupted":
        reason = next((e.reason for _, e in reversed(run.lines) if isinstance(e, RunInterrupted)), "")
        findings.add("interrupted", run.place, f"The run ended early, so it will not be ranked: {quoted(reason, 200)}.")
    for trial in run.record.trials:
        name = quoted(trial.trial)
        if run.record.status == "finished" and not trial.ended:
            findings.add("trial-not-ended", run.place, f"The trial {name} is {trial.state}, and the run has finished.")
        full = run.study.final_epochs if trial.purpose == "final" else run.study.epochs
        whole = trial.epochs >= full
        # A search that ran out of time stops trials whatever they have finished.
        if (trial.state == "completed" and not whole) or (
            trial.state == "stopped" and whole and not _has_time_budget(run)
        ):
            findings.add(
                "state-mismatch", run.place, f"The trial {name} is {trial.state} after {trial.epochs} of {full} epochs."
            )
        if trial.state == "completed" and trial.last_loss is None:
            findings.add("state-mismatch", run.place, f"The trial {name} is completed, and its last loss is no number.")


def _check_count(run: Run, findings: Findings) -> None:
    count, study = len(run.record.search_trials), run.study
    if count > study.samples:
        findings.add("too-many-trials", run.place, f"There are {count} trials; the study allows {study.samples}.")
    if count >= study.samples or _has_time_budget(run) or run.record.status != "finished":
        return
    sentence = f"There are {count} trials; the study has {study.samples}."
    findings.add("missing-trials" if study.strategy_file is None else "fewer-trials", run.place, sentence)


def _has_time_budget(run: Run) -> bool:
    return run.study.simulation is not None and run.study.simulation.time_budget_s is not None


def _check_final(run: Run, findings: Findings) -> None:
    final = next((t for t in run.record.trials if t.purpose == "final"), None)
    scored = sum(isinstance(event, FinalScored) for _, event in run.lines)
    winner, study = run.record.winner, run.study
    if scored > 1:
        findings.add("missing-final", run.place, f"The test split was scored {scored} times; once is the rule.")
    if final is not None and (winner is None or dict(final.config) != dict(winner.config)):
        findings.add("missing-final", run.place, "What was retrained is not the winner's configuration.")
    if run.record.status != "finished" or winner is None:
        return
    if not study.final_epochs:
        if final is not None:
            findings.add("missing-final", run.place, "The study asks for no final retrain, and there is one.")
    elif final is None or (final.state == "completed" and run.measured and not scored):
        findings.add("missing-final", run.place, "The winner's retrain, or its score on the test split, is missing.")
