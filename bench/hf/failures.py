"""What an exception in training means: a state of the trial, or something that the user must see to."""

from __future__ import annotations

import errno
import traceback
from pathlib import Path

import torch

from bench.errors import UserError
from bench.events import State


def no_space(error: BaseException, where: Path) -> UserError | None:
    """The error to raise where a disk is full, None where it is something else."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or "No space left on device" in str(error):
        return UserError(f"No space left to write {where}: free some, then give the same command again to go on.")
    return None


def state_of(error: BaseException) -> tuple[State, str]:
    """The state of a trial that `error` ended, and one sentence about it."""
    text = " ".join(str(error).split())[:300]
    memory = ("can't allocate memory", "not enough memory", "out of memory")
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(word in text for word in memory):
        return "oom", f"out of memory: {text or type(error).__name__}"
    return "failed", f"{type(error).__name__}: {text}" if text else type(error).__name__


def forget_frames(error: BaseException | None) -> None:
    """Lets go of what the functions that an exception went through hold in their variables; its lines stay."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__
