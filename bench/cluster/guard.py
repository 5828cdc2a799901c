"""Nothing of a job is left over, however it ends."""

from __future__ import annotations

import os
import subprocess

_WATCH = 'trap "" TERM INT HUP; read -r _; kill -s KILL -- "-$0" 2>/dev/null'  # every sh knows this form alone
"""SLURM's signals reach it too: they are for the process that it watches."""


def guard_group() -> None:
    """Make this process the leader of a group, all of which is killed when it ends, by whatever signal: its children
    and their children, unless they lead groups of their own."""
    os.setpgid(0, 0)
    # Its input ends when the other end is closed: that is by the kernel alone, when this process is no more.
    ours, _ = os.pipe()
    subprocess.Popen(
        ["/bin/sh", "-c", _WATCH, str(os.getpid())],
        stdin=ours,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(ours)
