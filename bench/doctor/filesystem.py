"""Whether a folder's file system does what runs rely on: writing, renaming, syncing, locking, with room to spare."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from bench.doctor.line import Line, failed, passed, warned
from bench.doctor.space import Need, size

CONTENT_BYTES = 2**20
SLOW_SYNC_MS = 500.0
"""A journal syncs at every event: several a second would then be too many."""

TIMEOUT_S = 20.0
INODES_LEFT = 10_000
LOCKS = "ask for a mount with flock (Lustre: -o flock, not localflock), or name another folder"

HOLDER = """
import fcntl, sys
file = open(sys.argv[1], "a")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def lines(what: str, folder: Path, need: Need, *, exists_elsewhere: bool = False) -> Iterator[Line]:
    """`what`: the folder's part in a run. `exists_elsewhere`: it is expected on compute nodes alone."""
    if exists_elsewhere and not folder.is_dir():
        yield warned(what, f"{folder} is not on this node", "see with --submit whether compute nodes have it")
        return
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=".doctor-", dir=folder))
    except OSError as error:
        yield failed(what, f"{folder}: {error.strerror}", "name a folder that you may write to, or free some space")
        return
    try:
        yield written(what, folder, place)
        yield locked(what, place)
        yield room(what, folder, need)
    finally:
        shutil.rmtree(place, ignore_errors=True)
        if made:
            with suppress(OSError):
                folder.rmdir()


def written(what: str, folder: Path, place: Path) -> Line:
    """A file is written, synced, renamed over another and read back."""
    target, fresh = place / "file", place / "fresh"
    content = os.urandom(CONTENT_BYTES)
    try:
        target.write_bytes(b"old")
        with fresh.open("wb") as file:
            file.write(content)
            file.flush()
            began_s = time.monotonic()
            os.fsync(file.fileno())
            sync_ms = (time.monotonic() - began_s) * 1000
        fresh.replace(target)
        found = target.read_bytes()
    except OSError as error:
        return failed(what, f"{folder}: {error.strerror}", "free some space, raise the quota or name another folder")
    if found != content or fresh.exists():
        return failed(what, f"{folder} does not give back what was written", "name a folder on another file system")
    said = f"{folder} ({kind(folder)}): 1 MiB synced in {sync_ms:.0f} ms, renamed over a file, read back"
    if sync_ms > SLOW_SYNC_MS:
        return warned(what, said, "name a folder on a faster file system: the journal syncs at every event")
    return passed(what, said)


def locked(what: str, place: Path) -> Line:
    """A lock that another process holds is seen as held, and is free once that process has gone."""
    check = f"{what}: locks"
    path = place / "lock"
    path.touch()
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    ) as holder:  # fmt: skip
        try:
            assert holder.stdout is not None
            assert holder.stdin is not None
            if holder.stdout.readline().strip() != "held":
                assert holder.stderr is not None
                reason = (holder.stderr.read().strip().splitlines() or ["no reason given"])[-1]
                return failed(check, f"flock is refused ({reason})", LOCKS)
            if take(path):
                return failed(check, "two processes held one lock at once", LOCKS)
            holder.stdin.close()
            holder.wait(timeout=TIMEOUT_S)
        finally:
            holder.kill()
    if not take(path):
        return failed(check, "a lock stays when its holder has gone", LOCKS)
    return passed(check, "held by one process at a time, free when it ends")


def take(path: Path) -> bool:
    """Whether the lock could be had just now; it is given back at once. Raises OSError where the file system has
    none."""
    import fcntl

    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def room(what: str, folder: Path, need: Need) -> Line:
    """Free space and files against what a run needs."""
    check = f"{what}: space"
    facts = os.statvfs(folder)
    free_mib = facts.f_bavail * facts.f_frsize / 2**20
    counted = facts.f_files > 0  # some file systems count no files
    files = f", {facts.f_favail:,} files" if counted else ""
    said = f"{size(free_mib)}{files} free"
    if free_mib < need.mib:
        return warned(
            check, f"{said}; a run may need {size(need.mib)} ({need.assumed})", "free some, or name another folder"
        )
    if counted and facts.f_favail < need.files + INODES_LEFT:
        return warned(
            check, f"{said}; a run may need {need.files:,} files", "remove small files, or name another folder"
        )
    return passed(check, f"{said}; a run needs up to {size(need.mib)} ({need.assumed})")


def kind(folder: Path) -> str:
    """The kind of file system, by the longest mount point that the folder lies under."""
    import psutil

    path = folder.resolve()
    mounts = [part for part in psutil.disk_partitions(all=True) if path.is_relative_to(part.mountpoint)]
    return str(max(mounts, key=lambda part: len(part.mountpoint)).fstype) if mounts else "unknown"


def quota(folders: dict[str, Path]) -> Line:
    """What the `quota` program says of this user; other file systems (Lustre, GPFS) have programs of their own."""
    check = "quota"
    program = shutil.which("quota")
    if program is None:
        return passed(check, "unknown: there is no quota program here (ask the site for its own)")
    try:
        done = subprocess.run([program, "-w", "-p"], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return warned(
            check, f"quota gave no answer within {TIMEOUT_S:.0f} s", "ask the site whether a file server hangs"
        )
    over = [words[0] for words in map(str.split, done.stdout.splitlines()) if any(is_over(word) for word in words[1:])]
    if over:
        return failed(check, f"used up on {', '.join(over)}", f"free some space: runs write in {_named(folders)}")
    if done.returncode and not done.stdout.strip():
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[0]
        return warned(check, f"quota cannot be asked ({reason})", "ask the site for its own program")
    return passed(check, "none used up" if done.stdout.strip() else "none is set")


def is_over(word: str) -> bool:
    """`quota` marks what exceeds its limit: `1048580*`."""
    return word.endswith("*") and word[:-1].isdigit()


def _named(folders: dict[str, Path]) -> str:
    return ", ".join(f"{folder} ({what})" for what, folder in folders.items())
