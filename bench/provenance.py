"""Which software made a run: package versions against the lock, the commit, the command. For the run's record.

A record is published, so nothing here tells a host, a user or a folder.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import bench
from bench.container.inside import IMAGE_LOCK, image_facts
from bench.resources import resource_dir

GIT_TIMEOUT_S = 10


def collect(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """What a record says of the software, as plain data; of the machine, see `Probe.to_dict`.

    `sweepmark`: this version. `command`: `argv` (None: this process's), paths shortened to names. `packages`: installed
    versions of what the lock lists (None: not installed). `lock`: the lock's `sha256`, and its `differences` from what
    is installed, in words; None where there is no lock. `git`: `commit` and whether the tree is `clean` (results
    aside); None outside a checkout. `image`: what `bench.container.inside.image_facts` reads from the container's image
    (None: no container); lock and commit are then those that the image was built from.
    """
    root = resource_dir("hardware_profiles").parent
    image = image_facts()
    lock = root / "requirements.lock" if image is None else IMAGE_LOCK
    pins = locked_versions(lock)
    packages = {name: _installed(name) for name in pins}
    return {
        "sweepmark": bench.__version__,
        "command": [shorten(word) for word in (sys.argv if argv is None else argv)],
        "packages": packages,
        "lock": {"sha256": hashlib.sha256(lock.read_bytes()).hexdigest(), "differences": differences(pins, packages)}
        if pins
        else None,
        "git": git_state(root) if image is None else image.pop("git"),
        "image": image,
    }


def own_strategy(file: str | None) -> dict[str, str]:
    """The checksum of a strategy's file that is not the suite's, as a part of a record's provenance; else nothing."""
    return {} if file is None else {"strategy_sha256": hashlib.sha256(Path(file).read_bytes()).hexdigest()}


def locked_versions(lock: Path) -> dict[str, str]:
    """The exact pins of a lock file, by name; empty where there is none."""
    if not lock.is_file():
        return {}
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==([^\s;#]+)", lock.read_text(encoding="utf-8"), re.MULTILINE))


def differences(pins: dict[str, str], packages: dict[str, str | None]) -> list[str]:
    """Where the installed packages are not the lock's. A build's label (torch 2.13.0+cpu) is no difference."""
    found = []
    for name, pin in pins.items():
        have = packages[name]
        if have is None:
            found.append(f"{name} {pin} is not installed")
        elif have.partition("+")[0] != pin.partition("+")[0]:
            found.append(f"{name} {have} is installed instead of {pin}")
    return found


def git_state(root: Path) -> dict[str, Any] | None:
    """Commit of the checkout at `root`, and whether anything but results differs from it; None where `root` is not the
    top of a checkout, git is not installed, or it refuses."""
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "status", "--porcelain=v2", "--branch", "--", ".", ":(exclude)results"]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=GIT_TIMEOUT_S,
            check=True,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    lines = done.stdout.splitlines()
    commit = next((line.split()[-1] for line in lines if line.startswith("# branch.oid")), "(initial)")
    if commit == "(initial)":
        return None
    return {"commit": commit, "clean": all(line.startswith("#") for line in lines)}


def shorten(word: str) -> str:
    """A word of a command line with a path in it shortened to the path's last name: `--dataset=/a/b.json` becomes
    `--dataset=b.json`."""
    option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    return option + equals + (value.rstrip("/").rpartition("/")[2] if "/" in value else value)


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
