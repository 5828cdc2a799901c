"""Ending a run from outside, such that it can be gone on with: SLURM's jobs, or the process that writes it here."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.cluster import slurm
from bench.cluster.meeting import poll
from bench.cluster.watch import Facts
from bench.errors import UserError
from bench.lock import is_held
from bench.runlog import LOCK_NAME

JOBS_GONE_S = 120.0
"""SLURM kills what has not ended half a minute after it was told to; then nodes are cleaned up."""

PROCESS_GONE_S = 60.0
POLL_S = 0.2
ASK_EVERY_S = 1.0


def active_ids(facts: Facts) -> list[str]:
    """The jobs of a run that may still do something, each array once."""
    return list(dict.fromkeys(job.id for job in facts.jobs if job.active))


def stop_jobs(ids: list[str]) -> None:
    """Cancel jobs and wait until none is left. Raises UserError where they do not go in time."""
    slurm.cancel(ids)
    left: list[str] = []

    def gone() -> bool:
        left[:] = dict.fromkeys(f"{state.id} ({state.state.lower()})" for state in slurm.states(ids) if state.active)
        return not left

    if not _wait(gone, JOBS_GONE_S, ASK_EVERY_S):
        raise UserError(
            f"The jobs {', '.join(left)} were told to end and are still there after {JOBS_GONE_S:.0f} s: look again "
            "with `squeue --me`, or tell the site's support."
        )


def stop_here(facts: Facts) -> None:
    """Send SIGTERM to this host's process that writes the run, and wait until it has let go. Raises UserError where
    there is none that may be told, or it does not go in time."""
    lock = facts.folder / LOCK_NAME
    process = writer(lock, facts.holder.process if facts.holder else None)
    if process is None:
        if not is_held(lock):
            return  # it has ended by itself
        raise UserError(
            f"The process that writes {facts.name} cannot be seen on this host: cancel it as the user who started it."
        )
    try:
        os.kill(process, signal.SIGTERM)
    except ProcessLookupError:
        return
    except PermissionError:
        raise UserError(f"Process {process} is another user's: cancel {facts.name} as that user.") from None
    if not _wait(lambda: not is_held(lock), PROCESS_GONE_S, POLL_S):
        raise UserError(
            f"Process {process} was told to end and is still there after {PROCESS_GONE_S:.0f} s: `kill -9 {process}` "
            "loses nothing but the epochs in progress."
        )


def writer(lock: Path, signed: int | None) -> int | None:
    """The process of this host that has the lock open: the one that signed it or, where that number is one of a
    container's own, the first that is found. None where there is none that may be looked at."""
    try:
        file = lock.stat()
    except OSError:
        return None
    others = sorted(int(path.name) for path in Path("/proc").glob("[0-9]*"))
    for process in (signed, *others):
        if process not in (None, os.getpid()) and (file.st_dev, file.st_ino) in _open_files(process):
            return process
    return None


def _open_files(process: int) -> Iterator[tuple[int, int]]:
    try:
        names = list(Path(f"/proc/{process}/fd").iterdir())
    except OSError:  # gone, or another user's
        return
    for name in names:
        try:
            found = name.stat()
        except OSError:
            continue
        yield found.st_dev, found.st_ino


def _wait(done: Callable[[], bool], within_s: float, every_s: float) -> bool:
    """Poll a condition until it holds; False where it does not in time."""
    return poll(lambda: done() or None, deadline_s=within_s, every_s=every_s) is not None
