"""How the jobs of a run find each other: small files in its folder, written whole, that others poll."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from bench.cluster.jobs import FOLDER
from bench.errors import UserError
from bench.files import write_together

POLL_S = 0.2
BEAT_S = 5.0
"""How often a worker says that it is alive: bounds what is charged of one that is killed."""

LOST_S = 10.0
"""A head that does not answer for so long is gone, and its workers leave."""

MAX_BYTES = 1_000_000
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Head:
    """Where the head of a run is found. `address`: of Ray, host and port. `attempt`: a name that no other has."""

    address: str
    attempt: str

    __pydantic_config__: ClassVar = {"extra": "forbid"}


@dataclass(frozen=True, kw_only=True)
class Held:
    """The devices of one worker job: `devices` from `since_s` until `until_s` (None: still; it lived at `beat_s`), all
    Unix times of its own clock. `worker`: its place in the array. `start`: how often SLURM has started it again.
    `probe`: the machine, as `Probe.to_dict` gives it."""

    job: str
    worker: int
    start: int
    devices: int
    since_s: float
    beat_s: float
    until_s: float | None = None
    probe: dict[str, Any]

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    @property
    def name(self) -> str:
        """Of its grant: no other worker's, and without a word about the site."""
        return f"worker-{self.worker}-{self.job}-{self.start}"


class Meeting:
    """The files of a run's folder through which its jobs meet."""

    def __init__(self, run_folder: Path) -> None:
        self.folder = run_folder / FOLDER
        self.token = self.folder / "token"
        self._head = self.folder / "head.json"
        self._over = self.folder / "over"
        self._workers = self.folder / "workers"
        self._known: dict[Path, tuple[int, Held]] = {}

    def clear(self) -> None:
        """Forget what an earlier head left, of whatever attempt: workers wait for the next one. Raises UserError."""
        try:
            for path in (self._over, self._head):
                path.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(f"Cannot write in {self.folder} ({error.strerror}): correct the permissions.") from None

    def announce(self, head: Head) -> None:
        """From now on workers find the head."""
        self.clear()
        _write(self._head, head)

    def withdraw(self, *, over: bool) -> None:
        """The head leaves. `over`: for good, since the search is."""
        for leave in ([self._over.touch] if over else []) + [self._head.unlink, self.token.unlink]:
            with suppress(OSError):
                leave()

    def head(self) -> Head | None:
        """None where there is none now."""
        return _read(self._head, Head)

    @property
    def over(self) -> bool:
        return self._over.exists()

    def held(self) -> list[Held]:
        """What workers hold, and have held until they were forgotten, by name."""
        for path in set(self._known) - (paths := set(self._workers.glob("*.json"))):
            del self._known[path]
        for path in paths:  # once a second, of all that a run's nodes have left: those that did not change are known
            with suppress(OSError):
                changed_ns = path.stat().st_mtime_ns
                if (path not in self._known or self._known[path][0] != changed_ns) and (held := _read(path, Held)):
                    self._known[path] = changed_ns, held
        return sorted((held for _, held in self._known.values()), key=lambda held: held.name)

    def forget(self, held: Held) -> None:
        """Of a worker that has left, and is accounted for."""
        with suppress(OSError):
            self._path(held).unlink()

    def forget_all(self) -> None:
        """Of workers, once the search is over: also what one left that was killed while it wrote."""
        shutil.rmtree(self._workers, ignore_errors=True)

    def write_held(self, held: Held) -> None:
        try:
            self._workers.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"Cannot write {self._workers} ({error.strerror}): free some space.") from None
        _write(self._path(held), held)

    def _path(self, held: Held) -> Path:
        return self._workers / f"{held.name}.json"


class Beating:
    """Says every few seconds that a worker lives and holds its devices, until it leaves."""

    def __init__(self, meeting: Meeting, held: Held) -> None:
        self._meeting = meeting
        self._held = held
        self._stop = threading.Event()
        meeting.write_held(held)
        self._thread = threading.Thread(target=self._beat, daemon=True, name="beat")
        self._thread.start()

    def _beat(self) -> None:
        while not self._stop.wait(BEAT_S):
            with suppress(UserError):  # a full disk: the head sees the old time
                self._meeting.write_held(replace(self._held, beat_s=time.time()))

    def leave(self) -> None:
        """The devices are given back now."""
        self._stop.set()
        self._thread.join()
        now_s = time.time()
        with suppress(UserError):
            self._meeting.write_held(replace(self._held, beat_s=now_s, until_s=now_s))


def poll(ready: Callable[[], T | None], *, deadline_s: float | None = None, every_s: float = POLL_S) -> T | None:
    """What `ready` gives once it gives something; None where the deadline passes first. Between two looks a signal is
    heard."""
    began_s = time.monotonic()
    while (found := ready()) is None:
        if deadline_s is not None and time.monotonic() - began_s > deadline_s:
            return None
        time.sleep(every_s)
    return found


def _write(path: Path, value: Any) -> None:
    write_together({path: json.dumps(asdict(value), sort_keys=True).encode()})


def _read(path: Path, cls: type[T]) -> T | None:
    """None where there is no such file, or it is of another kind."""
    from pydantic import TypeAdapter, ValidationError

    try:
        with path.open("rb") as file:
            kind: Any = cls
            value: T = TypeAdapter(kind).validate_json(file.read(MAX_BYTES))
            return value
    except (OSError, ValidationError):
        return None


def started_s() -> float:
    """When this job started, by its script (now, where it does not say)."""
    try:
        return min(time.time(), float(os.environ["SWEEPMARK_STARTED_S"]))
    except (KeyError, ValueError):
        return time.time()
