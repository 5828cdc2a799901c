"""Splits a trial's wall time into phases, leaving nothing out."""

from __future__ import annotations

import time
from typing import Literal

from bench.events import Phases

Phase = Literal["startup", "train", "eval", "checkpoint", "restore"]


class PhaseClock:
    """Charges all time to the phase it is in, from its making until it is read. `charged_s`: start-up already past."""

    def __init__(self, charged_s: float = 0.0) -> None:
        self._spent_s: dict[Phase, float] = {"startup": max(0.0, charged_s)}
        self._phase: Phase = "startup"
        self._since_s = time.perf_counter()

    def enter(self, phase: Phase) -> None:
        """What goes by from now on is `phase`."""
        now_s = time.perf_counter()
        self._spent_s[self._phase] = self._spent_s.get(self._phase, 0.0) + now_s - self._since_s
        self._phase, self._since_s = phase, now_s

    def spent_s(self, phase: Phase) -> float:
        """Seconds in `phase` since the last `take`, without those of a stay that is not over."""
        return self._spent_s.get(phase, 0.0)

    def take(self) -> Phases:
        """The phases since the last call, up to now."""
        self.enter(self._phase)
        spent_s, self._spent_s = self._spent_s, {}
        return Phases(**{f"{phase}_s": seconds for phase, seconds in spent_s.items()})

    def skip(self) -> None:
        """Leaves the time since `take` out: it was the caller's."""
        self._spent_s, self._since_s = {}, time.perf_counter()
