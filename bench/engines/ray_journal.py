"""Ray Tune's callbacks, turned into the suite's events."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import ray
from ray.tune import Callback
from ray.tune.experiment import Trial as TuneTrial

from bench.engines.ray_worker import FAILURE, REFUSAL, RESULT, WORKER, Pointer
from bench.engines.session import SearchStalled, Session, told_waiting
from bench.errors import UserError
from bench.events import (
    EpochFinished,
    State,
    TrialCreated,
    TrialEnded,
    TrialPaused,
    TrialReconfigured,
    WorkLost,
)
from bench.space import plain
from bench.training import EpochResult, TrialFailed

ASK_S = 2.0
"""How often a replay in which nothing happens is asked whether it is over."""

STALL_S = 120.0
"""A search in which no trial runs and nothing happens for so long has stalled."""


class JournalCallback(Callback):
    """Writes the journal of a search that Ray Tune runs.

    While recorded results are replayed, only what the journal does not hold yet is written. `discard`: called with a
    trial whose checkpoints nobody will ask for again. `waiting`: whether nothing can run for want of devices.
    `ended_by`: why the callback ended the search, where it did.
    """

    def __init__(
        self,
        session: Session,
        *,
        gate: Any | None,
        model_based: Mapping[str, bool] | None,
        waiting: Callable[[], bool],
        discard: Callable[[str], None],
    ) -> None:
        self._session = session
        self._gate = gate
        self._unacknowledged: TuneTrial | None = None
        self._caught_up = gate is None
        self._asked_s = time.monotonic()
        self._model_based = model_based
        self._waiting = waiting
        self._discard = discard
        self._created = 0
        self._running: dict[str, TuneTrial] = {}
        self._spent_until_s: dict[str, float] = {}
        self._progress_s = time.monotonic()
        self.ended_by: UserError | SearchStalled | None = None

    def __getstate__(self) -> dict[str, object]:
        return {}  # Tune pickles its callbacks to restore a run from; ours is restored from the journal

    @property
    def _replaying(self) -> bool:
        return not self._caught_up

    def on_step_begin(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        self._announce(trials)
        if self._gate is not None and self._unacknowledged is not None and not self._unacknowledged.is_saving:
            self._unacknowledged = None
            left = ray.get(self._gate.processed.remote())  # also of a trial that came late, for which nobody waits
            if self._replaying and not left:
                self._catch_up(trials)
        elif self._gate is not None and self._replaying and time.monotonic() - self._asked_s > ASK_S:
            self._asked_s = time.monotonic()
            if not ray.get(self._gate.awaited.remote()):
                self._catch_up(trials)

    def on_step_end(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        for name, trial in list(self._running.items()):
            if trial.status == TuneTrial.PAUSED:
                del self._running[name]
                self._progress_s = time.monotonic()
                if not self._replaying:
                    epoch = self._session.trial(name).epochs or 0
                    self._emit(TrialPaused(at_s=self._now_s(), trial=name, epoch=epoch))
        if self._waiting():
            self._progress_s = time.monotonic()
        if not self._running and time.monotonic() - self._progress_s > STALL_S:
            waiting = told_waiting([trial for trial in trials if not trial.is_finished()])
            self._end_search(
                SearchStalled(f"The search has stalled: nothing has happened for {STALL_S:.0f} s ({waiting})")
            )

    def on_trial_start(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        self._announce(trials)  # in a worker that is idle a trial may start in the step that suggested it
        self._running[str(trial)] = trial
        if not self._replaying:
            self._note_started(trial)

    def on_trial_result(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, result: dict[str, Any], **info: Any
    ) -> None:
        self._progress_s = time.monotonic()
        if REFUSAL in result:
            self._end_search(UserError(result[REFUSAL]))
        epoch: EpochResult | None = result.pop(RESULT, None)
        failure: TrialFailed | None = result.pop(FAILURE, None)
        if epoch is None and failure is None:
            self._unacknowledged = trial
            return
        if self._replaying:
            self._session.warn(
                f"Resuming could not repeat every decision: trial {trial} went another way than recorded; where epochs "
                "are trained anew, what was spent on them before stays charged."
            )
            self._catch_up(trials)
        worker = str(result[WORKER])
        if epoch is not None:
            self._session.finish_epoch(str(trial), epoch, worker)
        elif failure is not None and self._session.strategy.copies:
            self._emit_failed_epoch(trial, failure, int(result["training_iteration"]), worker)
        elif failure is not None:
            self._end(trial, TrialEnded(**self._now(trial), state=failure.state, detail=failure.detail,
                                        phases=failure.phases))  # fmt: skip
        self._spent_until_s[str(trial)] = self._now_s()

    def on_trial_recover(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        self._lose(trial, "its worker process died")

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        self._lose(trial, "its worker process died")
        detail = _last_line(trial)
        state: State = "oom" if "OutOfMemory" in detail else "failed"
        self._end(trial, TrialEnded(**self._now(trial), state=state, detail=detail))

    def on_trial_complete(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        if self._replaying:
            self._running.pop(str(trial), None)
            if self._session.strategy.copies and self._session.trial(str(trial)).ended:
                self._unacknowledged = trial  # that it ended was its next result
            return
        row = self._session.trial(str(trial))
        state: State = "completed" if (row.epochs or 0) >= self._session.study.epochs else "stopped"
        if row.epochs and row.last_loss is None:
            self._end(trial, TrialEnded(**self._now(trial), state="nan", detail="its last loss was not finite"))
        else:
            self._end(trial, TrialEnded(**self._now(trial), state=state))

    def _announce(self, trials: list[TuneTrial]) -> None:
        for trial in trials[self._created :]:
            self._note_created(trial)
        self._created = len(trials)

    def _note_created(self, trial: TuneTrial) -> None:
        if self._session.state.get(str(trial)) is None:
            chose = None if self._model_based is None else self._model_based.get(trial.trial_id)
            self._emit(TrialCreated(**self._now(trial), config=plain(trial.config), model_based=chose))

    def _note_started(self, trial: TuneTrial) -> None:
        name = str(trial)
        if self._session.trial(name).ended:  # a failed one that is resumed finishes at once
            return
        pointer = Pointer.read(Path(trial.checkpoint.path)) if trial.checkpoint else Pointer(name, 0)
        epoch = pointer.epoch
        if self._gate is not None and not self._session.strategy.copies:
            epoch = max(epoch, self._session.trial(name).epochs)  # it may have recorded results to ask for yet
        if pointer.trial != name:
            self._emit(
                TrialReconfigured(
                    **self._now(trial), donor=pointer.trial, donor_epoch=pointer.epoch, config=plain(trial.config)
                )
            )
        self._session.start_trial(name, epoch)
        self._spent_until_s[name] = self._now_s()
        self._progress_s = time.monotonic()

    def _catch_up(self, trials: list[TuneTrial]) -> None:
        """The replay is over: say what goes on now, and end in the journal what has ended meanwhile."""
        self._caught_up = True
        for trial in trials:
            if trial.status == TuneTrial.RUNNING:
                self._note_started(trial)
            elif trial.status == TuneTrial.TERMINATED:
                self.on_trial_complete(0, trials, trial)

    def _emit_failed_epoch(self, trial: TuneTrial, failure: TrialFailed, epoch: int, worker: str) -> None:
        """A failed member of a population stays in it until a better one takes its place."""
        if failure.phases.total_s:  # it failed just now; later it only waits
            self._session.warn(f"Trial {trial} failed in epoch {epoch} ({failure.state}: {failure.detail}).")
        self._emit(
            EpochFinished(
                **self._now(trial),
                epoch=epoch,
                eval_loss=None,
                train_loss=None,
                phases=failure.phases,
                samples_per_s=None,
                tokens_per_s=None,
                device_memory_mib=None,
                host_memory_mib=None,
                config=plain(trial.config),
                worker=worker,
            )
        )

    def _lose(self, trial: TuneTrial, reason: str) -> None:
        name = str(trial)
        self._running.pop(name, None)
        spent_s = self._now_s() - self._spent_until_s.get(name, self._now_s())
        self._emit(
            WorkLost(**self._now(trial), busy_s=spent_s, devices=self._session.study.devices_of_a_trial, reason=reason)
        )

    def _end(self, trial: TuneTrial, event: TrialEnded) -> None:
        name = str(trial)
        self._running.pop(name, None)
        self._progress_s = time.monotonic()
        if not self._session.trial(name).ended:
            self._emit(event)
            self._discard(name)

    def _end_search(self, error: UserError | SearchStalled) -> NoReturn:
        self.ended_by = error  # Tune wraps what is raised from here in an error of its own
        raise error

    def _emit(self, event: Any) -> None:
        self._session.emit(event)

    def _now_s(self) -> float:
        return self._session.clock.now_s()

    def _now(self, trial: TuneTrial) -> dict[str, Any]:
        return {"at_s": self._now_s(), "trial": str(trial)}


def _last_line(trial: TuneTrial) -> str:
    error = trial.get_pickled_error() or trial.get_error()
    lines = str(error).strip().splitlines()
    return lines[-1][:300] if lines else "it ended without a result"
