"""One writer at a time: files that a process holds alone until it closes them, or dies."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

from bench.errors import UserError

LOOK_S = 0.3
"""Who looks whether a file is held takes it for microseconds; who wants it waits this long before giving up."""

POLL_S = 0.02
MAX_SIGNATURE_BYTES = 1024


def hold(path: Path, *, instead: str, busy: str) -> IO[str]:
    """Open a text file to append to, with its folder, and hold it alone. `instead`: the option that names another
    place. `busy`: the sentence for who finds it held. Raises UserError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8", newline="")
    except OSError as error:
        raise UserError(f"Cannot write in {path.parent} ({error.strerror}): give another {instead}.") from None
    deadline_s = time.monotonic() + LOOK_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < deadline_s:
                time.sleep(POLL_S)
                continue
            file.close()
            raise UserError(busy) from None
        return file


def is_held(path: Path) -> bool:
    """Whether a process holds the file; of another host's processes that can be told only where the file system
    carries locks across hosts."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no such file, or a file system without locks
        return False
    return False


def sign(file: IO[str]) -> None:
    """Write this host's name and this process's number into a file that is held, in place of what it holds."""
    with suppress(OSError):  # on a full disk it is held all the same
        os.ftruncate(file.fileno(), 0)
        os.write(file.fileno(), f"{socket.gethostname()} {os.getpid()}\n".encode())


def unsign(file: IO[str]) -> None:
    """Empty a file that was signed: only one whose process was killed stays signed."""
    with suppress(OSError):
        os.ftruncate(file.fileno(), 0)


def signature(path: Path) -> tuple[str, int] | None:
    """Host and process that signed the file last and did not take it back; None where there is none."""
    try:
        with path.open("rb") as file:
            host, process = file.read(MAX_SIGNATURE_BYTES).decode("utf-8").split()
        return host, int(process)
    except (OSError, ValueError):
        return None
