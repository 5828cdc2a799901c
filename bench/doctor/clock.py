"""Whether clocks agree: a run merges journals of several nodes by time."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

from bench.doctor.line import Line, failed, passed, warned

WARN_S = 0.5
FAIL_S = 5.0
REMEDY = "set the clocks by NTP (chrony), or leave the node out with 'sbatch' in the site file"


def skew(check: str, ahead_s: Mapping[str, float]) -> Line:
    """`ahead_s`: how far each node's clock is ahead of the one that they are compared with."""
    node, worst_s = max(ahead_s.items(), key=lambda each: abs(each[1]))
    said = f"{node} is {abs(worst_s):.3f} s {'ahead' if worst_s >= 0 else 'behind'}"
    if abs(worst_s) > FAIL_S:
        return failed(check, said, REMEDY)
    if abs(worst_s) > WARN_S:
        return warned(check, said, REMEDY)
    return passed(check, f"at most {abs(worst_s):.3f} s apart")


def ahead_of_files(folder: Path) -> float:
    """How far this node's clock is ahead of the one that the folder's file system gives its times by. 0 where that is
    this node's own."""
    path = folder / f".time-{os.getpid()}"
    path.touch()
    try:
        before_s = time.time()
        os.utime(path)
        after_s = time.time()
        stamp_s = path.stat().st_mtime
    finally:
        path.unlink()
    if before_s <= stamp_s <= after_s:
        return 0.0
    return (before_s + after_s) / 2 - stamp_s


def against_login(*, asked_s: float, began_s: float, reported_s: float, read_s: float, by_files_s: float) -> float:
    """How far a node's clock is ahead of the login node's, in seconds.

    `asked_s`, `read_s`: when the login node submitted and found the report, by its own clock. `began_s`, `reported_s`:
    when the node began and reported, by its own. A node that begins before it was asked is behind, one that reports
    after it was read is ahead. `by_files_s`: as the times of files have it, which counts where that is more.
    """
    by_order_s = min(0.0, began_s - asked_s) + max(0.0, reported_s - read_s)
    return max(by_order_s, by_files_s, key=abs)
