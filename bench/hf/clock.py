"""Splits a trial's wall time into phases, leaving nothing out."""

from __future__ import annotations

import statistics
import time
from typing import Literal

from bench.events import Phases

Phase = Literal["startup", "train", "eval", "checkpoint", "restore"]

BEFORE = "process and imports"
"""The part of start-up that was past when the clock was made."""


class PhaseClock:
    """Charges all time to the phase it is in, from its making until it is read, and start-up to its parts besides.
    `charged_s`: start-up already past."""

    def __init__(self, charged_s: float = 0.0) -> None:
        charged_s = max(0.0, charged_s)
        self._spent_s: dict[Phase, float] = {"startup": charged_s}
        self._phase: Phase = "startup"
        self._parts_s: dict[str, float] = {BEFORE: charged_s} if charged_s else {}
        self._part = "group"
        self._since_s = time.perf_counter()

    @property
    def startup_parts_s(self) -> dict[str, float]:
        """Seconds of start-up so far by part, in the order in which they began."""
        return dict(self._parts_s)

    def part(self, name: str) -> None:
        """Start-up that goes by from now on is `name`."""
        self.enter(self._phase)
        self._part = name

    def enter(self, phase: Phase) -> None:
        """What goes by from now on is `phase`."""
        now_s = time.perf_counter()
        spent_s = now_s - self._since_s
        self._spent_s[self._phase] = self._spent_s.get(self._phase, 0.0) + spent_s
        if self._phase == "startup":
            self._parts_s[self._part] = self._parts_s.get(self._part, 0.0) + spent_s
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


LATER_STEPS = 5
"""Steps after the first with which it is compared."""


class FirstSteps:
    """Times a trial's first steps, and costs the others nothing. On a GPU a step is over when the device is."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._taken_s: list[float] = []
        self._began_s: float | None = None

    @property
    def first_longer_s(self) -> float | None:
        """Seconds by which the first step was longer than the median of the next; None before there are any."""
        if len(self._taken_s) < 2:
            return None
        first, *later = self._taken_s
        return first - statistics.median(later)

    def begin(self) -> None:
        if len(self._taken_s) <= LATER_STEPS:
            self._began_s = self._now_s()

    def end(self) -> None:
        if self._began_s is not None:
            self._taken_s.append(self._now_s() - self._began_s)
            self._began_s = None

    def _now_s(self) -> float:
        if self._device == "cuda":
            import torch

            torch.cuda.synchronize()
        return time.perf_counter()
