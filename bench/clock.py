"""One clock protocol. Time is passed in; nothing else in the core reads the machine's clock."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Seconds since the Unix epoch on a wall clock, since the start of the run on a virtual one."""

    def now_s(self) -> float: ...


class WallClock:
    """Unix time that never goes back: anchored once, then advanced by the monotonic clock.

    `not_before_s` is the last instant already written to a journal that is being continued.
    """

    def __init__(self, not_before_s: float = 0.0) -> None:
        self._anchor_s = max(time.time(), not_before_s)
        self._started_s = time.monotonic()

    def now_s(self) -> float:
        return self._anchor_s + (time.monotonic() - self._started_s)
