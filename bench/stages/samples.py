"""What one training's processes wrote of their memory, put together: peaks, means, energy, and a thinned series."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.hf.sampling import FIELDS, samples_path
from bench.stages.result import Memory, Series, Usage

if TYPE_CHECKING:
    import numpy as np

POINTS = 240
"""Spans of a thinned series."""
MIB = 2**20
DEVICE_FIELDS = ("allocated", "reserved", "used")


@dataclass(frozen=True, kw_only=True)
class Seen:
    """`energy_j`: None where no device counts it."""

    memory: Memory = field(default_factory=Memory)
    series: Series | None = None
    energy_j: float | None = None


def gather(folder: Path, processes: int, *, training_since_s: float | None) -> Seen:
    """What the processes' samples say. `training_since_s`: Unix time of the first training step, by the first process's
    clock; None for never. A process that wrote none counts as nothing."""
    import numpy as np

    tables = [t for rank in range(processes) if len(t := _read(samples_path(folder, rank)))]
    if not tables:
        return Seen()
    training_s = None if training_since_s is None else training_since_s - float(tables[0][0, 0])
    # By each one's own clock: those of nodes differ.
    clocks = [t[:, 0] - t[0, 0] for t in tables]
    end_s = max(clock[-1] for clock in clocks)
    spans = np.linspace(0.0, end_s, POINTS + 1)
    host = np.sum([_most(c, t[:, 1], spans) for c, t in zip(clocks, tables, strict=True)], axis=0)
    memory: dict[str, Usage] = {"host": _usage(_together(clocks, [t[:, 1] for t in tables]), training_s)}
    series: dict[str, tuple[float, ...]] = {"host": _mib(host)}
    for name in DEVICE_FIELDS:
        column = FIELDS.index(name)
        known = [(c, t[:, column]) for c, t in zip(clocks, tables, strict=True) if not math.isnan(t[0, column])]
        if known:
            fullest = max(known, key=lambda each: float(each[1].max()))
            memory[name] = _usage(fullest, training_s)
            series[name] = _mib(_most(*fullest, spans))
    return Seen(
        memory=Memory(**memory),
        series=Series(at_s=tuple(round(float(s), 3) for s in spans[:-1]), **series),
        energy_j=_energy_j(tables),
    )


def _read(path: Path) -> Any:
    """A row a sample; of a process that was killed, those that it wrote whole."""
    import numpy as np

    data = path.read_bytes() if path.is_file() else b""
    whole = len(data) // (8 * len(FIELDS)) * len(FIELDS)
    return np.frombuffer(data, dtype=np.float64, count=whole).reshape(-1, len(FIELDS))


def _most(clock: np.ndarray, values: np.ndarray, spans: np.ndarray) -> Any:
    """The most within each span; in one without a sample, the last before it."""
    import numpy as np

    found = np.zeros(len(spans) - 1)
    number = np.clip(np.searchsorted(spans, clock, side="right") - 1, 0, len(found) - 1)
    np.maximum.at(found, number, values)
    seen = np.isin(np.arange(len(found)), number)
    last = np.maximum.accumulate(np.where(seen, np.arange(len(found)), 0))
    return np.where(np.arange(len(found)) <= number.max(), found[last], 0.0)  # it has ended


def _together(clocks: list[Any], values: list[Any]) -> tuple[Any, Any]:
    """The sum over processes, at the first one's times."""
    import numpy as np

    rest = [np.interp(clocks[0], c, v, right=0.0) for c, v in zip(clocks[1:], values[1:], strict=True)]
    return clocks[0], np.sum([values[0], *rest], axis=0)


def _usage(seen: tuple[Any, Any], training_s: float | None) -> Usage:
    clock, values = seen
    training = values[clock >= training_s] if training_s is not None else values[:0]
    return Usage(
        peak_mib=round(float(values.max()) / MIB, 3),
        mean_mib=round(float(training.mean()) / MIB, 3) if len(training) else None,
    )


def _energy_j(tables: list[Any]) -> float | None:
    """The counters' growth: of all devices, since each process has one."""
    column = FIELDS.index("energy_mj")
    grown = [float(t[-1, column] - t[0, column]) / 1000 for t in tables]
    return None if any(map(math.isnan, grown)) else round(sum(grown), 3)


def _mib(values: Any) -> tuple[float, ...]:
    return tuple(round(float(v) / MIB, 2) for v in values)
