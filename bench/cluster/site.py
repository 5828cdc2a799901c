"""What a site's jobs need beside what the hardware profile asks for: one TOML file."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from bench.errors import UserError
from bench.tomlfile import load_toml

SITE_VARIABLE = "SWEEPMARK_SITE"
_TIME = re.compile(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)|(\d+)")


@dataclass(frozen=True, kw_only=True)
class Partition:
    """How this site calls the nodes of a hardware profile, where it differs from the profile's own `[slurm]` table.
    None: as there. `gres`: the type of GPU in requests (`v100` asks for `v100:2`; "" for a bare count)."""

    partition: str | None = None
    constraint: str | None = None
    gres: str | None = None

    __pydantic_config__: ClassVar = {"extra": "forbid"}


@dataclass(frozen=True, kw_only=True)
class Site:
    """A cluster as its users know it.

    `account`, `partition`, `qos`, `time` (SLURM's words for a limit, such as 04:00:00): defaults of jobs.
    `head_partition`: for the head of a search, which has no GPUs (None: as the others). `sbatch`:
    further options of sbatch, as they are. `modules`: loaded in this order. `setup`: lines of shell that each job runs
    first. `environment`: the virtual environment, on a shared file system, that jobs use (None: the one that `submit`
    runs in). `container`: an image that jobs run in instead. `scratch`: a folder on each node for temporary files.
    `interface`: the network interface over which a run's nodes talk (None: the one of the host name's address).
    `offline`: nodes have no internet, so models and data come from the hub's cache alone. `warn_s`: how long before
    the time limit SLURM warns a job. `profiles`: by name of the hardware profile.
    """

    account: str | None = None
    partition: str | None = None
    head_partition: str | None = None
    qos: str | None = None
    time: str = "04:00:00"
    sbatch: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    environment: Path | None = None
    container: Path | None = None
    scratch: Path = Path("/tmp")
    interface: str | None = None
    offline: bool = False
    warn_s: int = 120
    profiles: Mapping[str, Partition] = field(default_factory=dict)

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    def __post_init__(self) -> None:
        limit_minutes(self.time)
        if self.environment is not None and self.container is not None:
            raise ValueError("give either 'environment' or 'container'")
        if any("\n" in line for line in (*self.sbatch, *self.setup, *self.modules)):
            raise ValueError("'sbatch', 'setup' and 'modules' hold one line each entry")
        if not 0 <= self.warn_s <= 65_535:
            raise ValueError(f"'warn_s' is {self.warn_s}; SLURM takes 0 to 65535 seconds")


def limit_minutes(text: str) -> int:
    """Whole minutes, rounded up, of a time limit in SLURM's words: minutes, mm:ss, hh:mm:ss or d-hh:mm:ss. Raises
    ValueError."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError(f"the time limit {text!r} is none of SLURM's: write it as 04:00:00, or in whole minutes")
    days, hours, minutes, seconds, alone = (int(part or 0) for part in found.groups())
    return max(1, alone + days * 1440 + hours * 60 + minutes + (seconds > 0))


def load_site(path: Path | None = None) -> Site:
    """The file's site: the one named, else what SWEEPMARK_SITE names, else one without any settings. Raises
    UserError."""
    named = path or (Path(value) if (value := os.environ.get(SITE_VARIABLE)) else None)
    if named is None:
        return Site()
    if not named.is_file():
        raise UserError(f"There is no site file {named}: check --site, or the variable {SITE_VARIABLE}.")
    return load_toml(named, Site)
