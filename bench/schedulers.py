"""Ray Tune's HyperBand and synchronous PBT, mended where they would wait for ever."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import HyperBandScheduler, PopulationBasedTraining


class HyperBand(HyperBandScheduler):
    """`HyperBandScheduler` of Ray Tune 2.60 whose brackets always end.

    A bracket that is over ends the trials that wait in it. Ray's passes over a trial whose checkpoint is still being
    saved so that it can wait, which then waits for ever: two trials that end within a save of each other are enough.
    Nor does Ray's look at a bracket again that has been halved once and then loses a trial to a failure, that loses the
    last one it waited for, or whose trials are all beyond its next milestone: one that a new process takes up joins the
    newest bracket, however far it is.
    """

    def _process_bracket(self, tune_controller: Any, bracket: Any) -> str:
        with _processing(bracket):
            action: str = super()._process_bracket(tune_controller, bracket)
            while bracket.current_trials() and bracket.cur_iter_done() and not bracket.finished():
                further = super()._process_bracket(tune_controller, bracket)
                action = action if action == self.STOP else further  # what the trial that has just reported is to do
            _stop_waiting(tune_controller, bracket)
        return action

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        super().on_trial_remove(tune_controller, trial)
        bracket, _ = self._trial_info[trial]
        if not bracket.is_being_processed:
            with _processing(bracket):
                _stop_waiting(tune_controller, bracket)


@contextmanager
def _processing(bracket: Any) -> Iterator[None]:
    """A trial that is stopped meanwhile does not have the bracket processed once more."""
    bracket.is_being_processed = True
    yield
    bracket.is_being_processed = False


def _stop_waiting(tune_controller: Any, bracket: Any) -> None:
    """Stop what waits, or is about to, in a bracket that is over."""
    if bracket.finished():
        for trial in bracket.current_trials():
            if trial.status == Trial.PAUSED or trial.is_saving:
                tune_controller.stop_trial(trial)


class Population(PopulationBasedTraining):
    """`PopulationBasedTraining` of Ray Tune 2.60, synchronous, that goes on without its dead.

    Ray's waits for ever for a member that has failed for good; so it does, in a run that is gone on with, for one that
    had failed before.
    """

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        return super().on_trial_result(_Survivors(tune_controller), trial, result)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        chosen = super().choose_trial_to_run(tune_controller)
        if chosen is not None:
            return chosen
        first = None
        for trial in tune_controller.get_trials():
            if trial.is_finished():
                continue
            if trial.status != Trial.PAUSED:
                return None
            first = first or trial
        if first is None:
            return None
        # All wait, and the one that they waited for is gone: they copy now.
        self.on_trial_result(tune_controller, first, self._trial_state[first].last_result)
        return super().choose_trial_to_run(tune_controller)


class _Survivors:
    """A controller without the trials that have failed for good, which Tune counts among the live ones."""

    def __init__(self, controller: Any) -> None:
        self._controller = controller

    def __getattr__(self, name: str) -> Any:
        return getattr(self._controller, name)

    def get_live_trials(self) -> Iterator[Trial]:
        return (trial for trial in self._controller.get_live_trials() if trial.status != Trial.ERROR)
