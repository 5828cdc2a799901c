"""How much a run will write, by the workload's own numbers."""

from __future__ import annotations

from dataclasses import dataclass

from bench.workload import Workload

BYTES_A_PARAMETER = 12
"""Of a checkpoint: 32-bit weights and AdamW's two moments."""

KEPT = 3
"""Checkpoints of a trial that stay on disk (`TrainingTask.keep_checkpoints`)."""

UNKNOWN_PARAMETERS = 1_000_000_000
FILES_A_CHECKPOINT = 10


@dataclass(frozen=True, kw_only=True)
class Need:
    """`mib`: of disk. `files`: how many. `assumed`: how that was reckoned."""

    mib: float
    files: int
    assumed: str


def of_run(workload: Workload) -> Need:
    """Of one run in which every trial of the workload's grid keeps its checkpoints."""
    parameters = next((known.parameters for known in workload.known if known.parameters), None)
    trials = len(workload.search_space.grid())
    checkpoint_mib = (parameters or UNKNOWN_PARAMETERS) * BYTES_A_PARAMETER / 2**20
    return Need(
        mib=KEPT * trials * checkpoint_mib,
        files=KEPT * trials * FILES_A_CHECKPOINT,
        assumed=(
            f"{KEPT} checkpoints of {size(checkpoint_mib)} for each of {trials} trials"
            + ("" if parameters else ", a model of a billion parameters")
        ),
    )


def size(mib: float) -> str:
    """`6.2 GiB`."""
    for unit, factor in (("TiB", 2**20), ("GiB", 2**10)):
        if mib >= factor:
            return f"{mib / factor:,.1f} {unit}"
    return f"{mib:,.0f} MiB" if mib >= 10 else f"{mib:.1f} MiB"
