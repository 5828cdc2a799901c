"""What an engine is given, and the few events that every engine emits alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from bench.clock import Clock
from bench.events import (
    FINAL_TRIAL,
    EpochFinished,
    Event,
    GrantClosed,
    GrantOpened,
    Note,
    Purpose,
    TrialStarted,
)
from bench.strategy import Strategy
from bench.study import Study
from bench.training import EpochResult, TrainingTask
from bench.trials import RunState, Trial

TRIAL_RETRIES = 2
"""How often a trial whose process died is started again from its last checkpoint, before it counts as failed."""
WAITING_SHOWN = 6
"""So many trials of a search that has stalled are named."""


class SearchStalled(Exception):
    """Trials wait for something that will not come; says which."""


def told_waiting(trials: Sequence[Any]) -> str:
    """What Tune's trials, of which none has ended, are doing: 0002 is paused, 0003 is saving."""
    shown = (f"{trial} is {'saving' if trial.is_saving else trial.status.lower()}" for trial in trials[:WAITING_SHOWN])
    more = f" and {len(trials) - WAITING_SHOWN} more" if len(trials) > WAITING_SHOWN else ""
    return ", ".join(shown) + more


class RayCluster(Protocol):
    """Where a search under Ray runs. `retries`: how often a trial is started again whose process died. `single_node`:
    whether all of a trial's processes must lie on one node."""

    retries: int
    single_node: bool

    def connected(self, session: Session) -> AbstractContextManager[Path]:
        """Ray is connected, and what is held is announced, until the end. Gives a folder for Tune's own files, which
        every node sees."""
        ...

    def waiting(self) -> bool:
        """Whether no devices have joined: nothing can happen, and nothing has stalled."""
        ...


@dataclass(frozen=True, kw_only=True)
class Venue:
    """Which part of a run this process does, and where.

    `cluster`: nodes that a search under Ray runs on (None: this machine alone). `trial`: the number of the one trial to
    train (None: the whole search). `retrain`: whether to go on with the winner's retrain. `held_since_s`: the Unix time
    since which the devices are held (None: since they are first used).
    """

    cluster: RayCluster | None = None
    trial: int | None = None
    retrain: bool = True
    held_since_s: float | None = None


HERE = Venue()
"""All of a run, on this machine."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """One attempt at a run: what to do, where, and what an earlier attempt has done already.

    `folder`: the run's. `state`: folded from the journal, kept up to date by `emit`. `emit` writes an event to disk
    before it returns.
    """

    study: Study
    strategy: Strategy
    task: TrainingTask
    folder: Path
    state: RunState
    emit: Callable[[Event], None]
    clock: Clock
    venue: Venue = HERE
    _granted: list[str] = field(default_factory=list)

    def trial_folder(self, trial: str) -> Path:
        return self.folder / "checkpoints" / trial

    def trial(self, name: str) -> Trial:
        """The trial as it stands after the last event. Raises KeyError for one that was never created."""
        found = self.state.get(name)
        if found is None:
            raise KeyError(name)
        return found

    def open_grant(self, devices: int, purpose: Purpose) -> str:
        """Announce that devices are held from now on (the first ones: since the venue has held them); returns the
        grant's name."""
        grant = f"{purpose}-{len(self.state.resumed) + 1}"
        now_s = self.clock.now_s()
        since_s = None if self._granted or self.venue.held_since_s is None else min(self.venue.held_since_s, now_s)
        self._granted.append(grant)
        self.emit(GrantOpened(at_s=now_s, grant=grant, devices=devices, purpose=purpose, held_since_s=since_s))
        return grant

    def close_grant(self, grant: str) -> None:
        self.emit(GrantClosed(at_s=self.clock.now_s(), grant=grant))

    def start_trial(self, trial: str, epoch: int) -> None:
        devices = self.study.devices_per_trial if trial == FINAL_TRIAL else self.study.devices_of_a_trial
        self.emit(TrialStarted(at_s=self.clock.now_s(), trial=trial, epoch=epoch, devices=devices))

    def finish_epoch(self, trial: str, result: EpochResult, worker: str) -> None:
        self.emit(
            EpochFinished(
                at_s=self.clock.now_s(),
                trial=trial,
                epoch=result.epoch,
                eval_loss=_finite(result.eval_loss),
                train_loss=_finite(result.train_loss),
                phases=result.phases,
                samples_per_s=result.samples_per_s,
                tokens_per_s=result.tokens_per_s,
                device_memory_mib=result.device_memory_mib,
                host_memory_mib=result.host_memory_mib,
                config=dict(result.config),
                worker=worker,
            )
        )

    def warn(self, message: str) -> None:
        self.emit(Note(at_s=self.clock.now_s(), level="warning", message=message))


def _finite(loss: float) -> float | None:
    return loss if math.isfinite(loss) else None
