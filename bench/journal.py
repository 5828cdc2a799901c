"""The append-only journal of a run: one JSON object a line, on disk before the next thing happens."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import IO, Annotated, Any

from bench.errors import UserError
from bench.events import SCHEMA_VERSION, Event

JOURNAL_NAME = "events.jsonl"
MAX_LINE_BYTES = 1_000_000
ABSENT_WHERE_NONE = ("held_since_s", "held_until_s")
"""Fields that only runs on a cluster have."""

MAX_JOURNAL_BYTES = 256 * 1024 * 1024


def encode(event: Event) -> str:
    """One line of JSON, floats in full precision. Raises ValueError on NaN or infinity."""
    data = {name: value for name, value in asdict(event).items() if value is not None or name not in ABSENT_WHERE_NONE}
    return json.dumps(data, allow_nan=False, ensure_ascii=False, separators=(",", ":"))


@cache
def _adapter() -> Any:
    from pydantic import ConfigDict, Field, TypeAdapter, with_config

    for kind in Event.__args__:
        with_config(ConfigDict(extra="forbid", strict=True))(kind)
    return TypeAdapter(Annotated[Event, Field(discriminator="kind")])


def decode(line: str | bytes) -> Event:
    """The event on one line. Raises ValueError that names the first field at fault."""
    event: Event = _adapter().validate_json(line)
    return event


def read_journal(path: Path) -> list[Event]:
    """All events of a journal, oldest first.

    A last line that was cut short by a kill is left out. Raises UserError where the file is missing, is no journal,
    or goes back in time.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_JOURNAL_BYTES + 1)
    except OSError as error:
        raise UserError(f"Cannot read the journal {path} ({error.strerror}): give the folder of a run.") from None
    if len(data) > MAX_JOURNAL_BYTES:
        raise UserError(f"{path} is larger than the {MAX_JOURNAL_BYTES} bytes allowed: it is no journal of this suite.")
    lines = data.split(b"\n")
    if lines[-1]:
        lines = lines[:-1]  # cut short: the write was under way when the run was killed
    events: list[Event] = []
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        if len(line) > MAX_LINE_BYTES:
            raise UserError(f"{path}, line {number}: {len(line)} bytes, more than the {MAX_LINE_BYTES} allowed.")
        try:
            event = decode(line)
        except ValueError as error:
            raise UserError(
                f"{path}, line {number}: not an event of schema {SCHEMA_VERSION} ({_first(error)})."
            ) from None
        if events and event.at_s < events[-1].at_s:
            raise UserError(f"{path}, line {number}: the clock goes back from {events[-1].at_s} to {event.at_s}.")
        events.append(event)
    if not events or events[0].kind != "run_started":
        raise UserError(f"{path} does not begin with a run_started event: remove it, or name another run.")
    if events[0].schema_version != SCHEMA_VERSION:
        raise UserError(f"{path} has schema {events[0].schema_version}; this version reads {SCHEMA_VERSION}.")
    return events


def _first(error: ValueError) -> str:
    from pydantic import ValidationError

    if isinstance(error, ValidationError):
        detail = error.errors()[0]
        return ".".join(str(part) for part in detail["loc"]) + ": " + detail["msg"]
    return str(error)


class Journal:
    """Appends events to a file; each is on disk when `append` returns, unless it is not `durable`. For one thread:
    `RunLog` takes turns."""

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        _drop_torn_line(path)
        self._durable = durable
        # Unbuffered: what a full disk did not take must not reach it later, behind the run's back.
        self._file: IO[bytes] = path.open("ab", buffering=0) if durable else path.open("ab")

    def append(self, event: Event) -> None:
        """Write one event, whole or not at all. Raises UserError where the disk is full."""
        line = memoryview(f"{encode(event)}\n".encode())
        before = self._file.tell() if self._durable else 0
        try:
            while line:
                line = line[self._file.write(line) :]
            if self._durable:
                os.fsync(self._file.fileno())
        except OSError as error:
            if self._durable:
                with suppress(OSError):
                    self._file.truncate(before)
            raise UserError(
                f"Cannot write the journal {self._file.name} ({error.strerror}): free some space, then run the "
                "same command again to go on."
            ) from None

    def close(self) -> None:
        self._file.close()


def _drop_torn_line(path: Path) -> None:
    """Cut off a last line without a newline, so that the next event starts on a line of its own."""
    if not path.exists():
        return
    data = path.read_bytes()
    if data and not data.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(data.rfind(b"\n") + 1)
