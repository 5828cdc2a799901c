"""How an interrupted search goes on: its decisions are made again from the journal, its training is not.

Ray cannot restore every searcher and scheduler (HyperBand's brackets hold trial objects, BOHB's model is saved only by
pickle). They need not be restored: they are deterministic given their seed and the order of results. A resumed run
makes them anew and hands them the recorded results in the recorded order; then each trial trains on from its last
checkpoint.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bench.events import FINAL_TRIAL, EpochFinished, Event, State, TrialEnded
from bench.hyperparameters import Value

STUCK_S = 10.0
"""A trial that does not ask for so long for the result that is next is passed over: it runs later than it did."""


@dataclass(frozen=True)
class Recorded:
    """One result of the interrupted run. `config`: the trial's at that time (None: it never finished an epoch).
    `epoch`: what it measured (None: nothing). `failed`: how the trial ended with it, where it failed."""

    trial: str
    config: Mapping[str, Value] | None
    epoch: EpochFinished | None
    failed: tuple[State, str] | None = None


def recorded_results(events: Iterable[Event]) -> list[Recorded]:
    """What the scheduler and the searcher were told, in order."""
    results: list[Recorded] = []
    last: dict[str, EpochFinished] = {}
    for event in events:
        if isinstance(event, EpochFinished) and event.trial != FINAL_TRIAL:
            last[event.trial] = event
            failed: tuple[State, str] | None = ("nan", "its loss was not finite") if event.eval_loss is None else None
            results.append(Recorded(event.trial, event.config, event, failed))
        elif isinstance(event, TrialEnded) and event.state in ("nan", "oom", "failed", "timeout"):
            before = last.get(event.trial)
            if event.state == "nan" and before is not None and before.eval_loss is None:
                continue  # its last epoch has said so
            config = None if before is None else before.config
            results.append(Recorded(event.trial, config, None, (event.state, event.detail)))
    return results


class ReplayGate:
    """Hands recorded results to the trials that ask, one at a time and in the recorded order.

    Runs as a Ray actor: `next` is called by the trials, `processed` by the driver once a decision has been carried out.
    A trial that does not ask when it is its turn is passed over, and gets its results when it does: it may have no
    devices yet, where there are fewer than before.
    """

    def __init__(self, results: Iterable[Recorded]) -> None:
        self._left = list(results)
        self._absent: set[str] = set()
        self._in_flight = False
        self._changed = asyncio.Condition()

    async def next(self, trial: str, config: Mapping[str, Value]) -> Recorded | None:
        """The trial's next recorded result, when its turn has come; None once there are no more of anyone who is there,
        or where the trial now has another configuration than was recorded."""
        async with self._changed:
            self._absent.discard(trial)
            while (turn := self._turn()) is not None:
                if turn.trial == trial and not self._in_flight:
                    if turn.config is not None and dict(turn.config) != dict(config):
                        self._left = [r for r in self._left if r.trial != trial]
                        self._changed.notify_all()
                        return None
                    self._in_flight = True
                    self._left.remove(turn)
                    return turn
                try:
                    await asyncio.wait_for(self._changed.wait(), STUCK_S)
                except TimeoutError:
                    if self._turn() is turn and not self._in_flight:
                        self._absent.add(turn.trial)
                        self._changed.notify_all()
            return None

    async def processed(self) -> int:
        """The driver has carried out the decision on the last result. Returns how many results are left of trials that
        are there."""
        async with self._changed:
            self._in_flight = False
            self._changed.notify_all()
            return self._awaited()

    async def awaited(self) -> int:
        """How many results are left of trials that are there, one that is being carried out with them."""
        async with self._changed:
            return self._awaited() + self._in_flight

    def _awaited(self) -> int:
        return sum(result.trial not in self._absent for result in self._left)

    def _turn(self) -> Recorded | None:
        return next((result for result in self._left if result.trial not in self._absent), None)
