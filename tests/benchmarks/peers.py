"""Clocks that count in units of a fixed work, measured again before each round, so that numbers hold across machines.

A benchmark under `@pytest.mark.benchmark(timer=PYTHON.clock)` gives ratios: how many times as much as the peer's work
it takes on the machine, and under the load, of that moment.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any


def cpu_s() -> float:
    """Seconds of CPU time of this thread and of processes that it waited for: other processes' work is not in it."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.thread_time() + children.ru_utime + children.ru_stime


class Peer:
    """A fixed work and the clock that counts in it. `now`: seconds, by default of CPU time. `unit_s`: how long it last
    took, the median of three."""

    def __init__(self, name: str, work: Callable[[], object], now: Callable[[], float] = cpu_s) -> None:
        self.name = name
        self.unit_s = float("nan")
        self.units_s: list[float] = []
        self._work = work
        self._now = now

    def renew(self) -> None:
        """Measure the unit anew."""
        taken = []
        for _ in range(3):
            began = self._now()
            self._work()
            taken.append(self._now() - began)
        self.unit_s = statistics.median(taken)
        self.units_s.append(self.unit_s)

    def clock(self) -> float:
        """Time in units."""
        return self._now() / self.unit_s

    def measure(self, benchmark: Any, work: Callable[[], object], *, rounds: int, per: int = 1) -> None:
        """Benchmark `work` in this peer's units, and print how long each of the `per` things takes that it does."""
        self.units_s = []
        benchmark.extra_info["unit"] = self.name
        benchmark.pedantic(work, setup=self.renew, rounds=rounds, warmup_rounds=1 if rounds > 3 else 0)
        ratio = benchmark.stats.stats.median
        each_s = ratio * statistics.median(self.units_s) / per
        print(f"{benchmark.name}: {each_s * 1000:.4g} ms, {1 / each_s:.4g} a second, {ratio:.4g} times {self.name}")


def _python() -> None:
    """What an interpreter does all day, some milliseconds of it: dictionaries, sorting, JSON, calls."""
    rows: list[dict[str, Any]] = [
        {"trial": f"{n:04d}", "loss": (n * 7919 % 1009) / 7, "phases": {"train": n, "eval": 1.5}} for n in range(900)
    ]
    for _ in range(2):
        rows = json.loads(json.dumps(sorted(rows, key=lambda row: (row["loss"], row["trial"]))))
    sum(max(row["phases"].values()) for row in rows)


def _start() -> None:
    """Imports of the standard library: like any start, mostly finding and reading compiled modules."""
    subprocess.run([sys.executable, "-c", "import asyncio, http.client, unittest.mock, xml.dom.minidom"], check=True)


PYTHON = Peer("a fixed work in Python", _python)
START = Peer("a start with imports of the standard library", _start)
