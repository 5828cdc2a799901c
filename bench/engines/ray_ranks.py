"""A trial's other processes under Ray: actors beside Tune's own, in the bundles of its placement group.

Rank 0 is Tune's trainable. It starts the others once and keeps them as long as its own process serves trials, so that
they pay for their imports once too. Ray ends them when it ends, whatever ends it.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray import tune
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from bench.training import TrainingTask

if TYPE_CHECKING:
    from bench.hf.meeting import Place

GPU_PARTS = 10_000
"""Ray counts a GPU in so many parts."""
LOST_EXIT = 1
"""How a process of a trial ends that has lost another: Tune then starts the trial again from its last checkpoint."""
WATCH_S = 1.0
"""How long one look at the other ranks may take; one that dies is seen at once."""
PART_S = 30.0
"""How long the other ranks may take to let go of a trial that has ended."""


def resources(
    task: TrainingTask, *, single_node: bool, sharing: int = 1
) -> tune.PlacementGroupFactory | dict[str, float]:
    """What Tune reserves for a trial: for each process its CPU threads and, on a GPU profile, a GPU.

    `single_node`: all processes lie on one node. Else Ray packs them on as few as it can. `sharing`: so many trials
    share a GPU (a CPU core is shared by having Ray count it so many times).
    """
    gpu = math.floor(GPU_PARTS / sharing) / GPU_PARTS  # rounded up, the last of them would not fit
    each: dict[str, float] = {"CPU": task.threads, **({"GPU": gpu} if task.device == "cuda" else {})}
    if task.processes == 1:
        return each
    return tune.PlacementGroupFactory([each] * task.processes, strategy="STRICT_PACK" if single_node else "PACK")


@contextlib.contextmanager
def gathered(task: TrainingTask, config: dict[str, Any], folder: Path, resume_from: Path | None) -> Iterator[Any]:
    """Rank 0's place while the other ranks train along; None where the trial has one process.

    Ends this process where another dies, since a rank that waits for it in a collective cannot be called back.
    """
    if task.processes == 1:
        yield None
        return
    from bench.hf.meeting import Meeting

    others = _others(task)
    meeting = Meeting(task.processes, ray.util.get_node_ip_address())
    following = [
        other.follow.remote(task, config, folder, resume_from, meeting.place(rank))
        for rank, other in enumerate(others, 1)
    ]
    watch = threading.Thread(target=_watch, args=(following,), name="watches the other ranks", daemon=True)
    watch.start()
    try:
        yield meeting.place(0)
    finally:
        watch.join(PART_S)
        if watch.is_alive():  # one of them hangs: the next trial could not have it
            os._exit(LOST_EXIT)
        meeting.close()


def _watch(following: list[Any]) -> None:
    while following:
        done, following = ray.wait(following, timeout=WATCH_S)
        try:
            ray.get(done)
        except ray.exceptions.RayError:
            os._exit(LOST_EXIT)


class _Rank:
    """One of the other ranks, for trial after trial."""

    def follow(
        self, task: TrainingTask, config: dict[str, Any], folder: Path, resume_from: Path | None, place: Place
    ) -> None:
        from bench.hf import follow_trial

        follow_trial(task, config, folder=folder, resume_from=resume_from, place=place)


_started: dict[Any, list[Any]] = {}
"""The other ranks that this process has started, by the placement group that they are in."""


def _others(task: TrainingTask) -> list[Any]:
    group = ray.util.get_current_placement_group()
    assert group is not None, "Tune gives every trial a placement group"
    if group.id not in _started:
        _started.clear()
        _started[group.id] = [
            ray.remote(_Rank)
            .options(
                num_cpus=task.threads,
                num_gpus=1 if task.device == "cuda" else 0,
                scheduling_strategy=PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=rank),
            )
            .remote()
            for rank in range(1, task.processes)
        ]
    return _started[group.id]
