"""Virtual time: what will happen when. It goes from one event to the next and knows no other clock."""

from __future__ import annotations

import heapq
from collections.abc import Callable

Action = Callable[[], None]


class Agenda:
    """Events in the order of their times; those of one instant in the order in which they were planned."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self._count = 0
        self._heap: list[tuple[float, int]] = []
        self._actions: dict[int, Action] = {}

    def now_s(self) -> float:
        """Seconds since the start of the run."""
        return self._now_s

    def after(self, delay_s: float, action: Action) -> int:
        """Plan `action` for so many seconds from now. Returns a handle to cancel it by."""
        self._count += 1
        heapq.heappush(self._heap, (self._now_s + delay_s, self._count))
        self._actions[self._count] = action
        return self._count

    def cancel(self, handle: int) -> None:
        """Make nothing of it, if it has not happened yet."""
        self._actions.pop(handle, None)

    def next(self) -> bool:
        """Let the next event happen. False where nothing is planned."""
        while self._heap:
            at_s, handle = heapq.heappop(self._heap)
            action = self._actions.pop(handle, None)
            if action is not None:
                self._now_s = at_s
                action()
                return True
        return False
