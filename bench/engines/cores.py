"""CPU cores that trials which share a device are kept on: else they would use more than the run holds (Linux)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path


def first_cores(number: int) -> tuple[int, ...]:
    """So many of the cores that this process may use."""
    return tuple(sorted(os.sched_getaffinity(0))[:number])


def keep_to(cores: Sequence[int]) -> None:
    """Have every thread of this process, and those that they start, run on these cores alone; on any, where none are
    named."""
    if not cores:
        return
    for thread in Path("/proc/self/task").iterdir():
        with suppress(ProcessLookupError):  # it ended meanwhile
            os.sched_setaffinity(int(thread.name), cores)
