"""A run's folder while it is being written: one writer, one journal, one state."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from bench.clock import Clock
from bench.errors import UserError
from bench.events import Event, Heartbeat
from bench.journal import JOURNAL_NAME, Journal, read_journal
from bench.lock import hold, sign, unsign
from bench.trials import RunState, fold

LOCK_NAME = "lock"
"""Held by the process that writes the run, and signed by it: `bench.lock.signature`."""

HEARTBEAT_S = 5.0
"""The most of a killed run's time that nobody is charged for."""


class RunLog:
    """The single writer of a run's journal. `past`: the events of earlier attempts. `state`: after the last event.
    `last_event_s`: when each trial was last heard of.

    `durable`: each event is on disk before the next happens, and an unfinished run can be gone on with; without, an
    unfinished run is begun anew. `emit` may be called from any thread. Raises UserError where another process is
    writing the same run.
    """

    def __init__(
        self, folder: Path, observers: tuple[Callable[[Event, RunState], None], ...] = (), *, durable: bool = True
    ) -> None:
        self.folder = folder
        self._observers = observers
        self._lock_file = hold(
            folder / LOCK_NAME,
            instead="--results",
            busy=f"The run {folder.name} is being written by another process: wait for it, or give another --seed.",
        )
        sign(self._lock_file)
        self._lock = threading.RLock()
        path = folder / JOURNAL_NAME
        self.past: list[Event] = read_journal(path) if path.exists() and path.stat().st_size else []
        self.state = fold(self.past)
        if not durable and self.state.status != "finished":
            path.unlink(missing_ok=True)
            self.past, self.state = [], fold([])
        self.last_event_s = {event.trial: event.at_s for event in self.past if hasattr(event, "trial")}
        self._journal = Journal(path, durable=durable)
        self._stop_heart = threading.Event()
        self._heart: threading.Thread | None = None

    def emit(self, event: Event) -> None:
        """Write an event to disk, fold it, show it. An event that was made just before another thread's is moved up to
        that one's time: the journal never goes back."""
        with self._lock:
            if event.at_s < self.state.ended_s:
                event = replace(event, at_s=self.state.ended_s)
            self._journal.append(event)
            self.state.apply(event)
            if hasattr(event, "trial"):
                self.last_event_s[event.trial] = event.at_s
            for observer in self._observers:
                observer(event, self.state)

    def start_heartbeat(self, clock: Clock) -> None:
        """From now on, let no `HEARTBEAT_S` pass without an event."""

        def beat() -> None:
            while not self._stop_heart.wait(HEARTBEAT_S):
                if clock.now_s() - self.state.ended_s >= HEARTBEAT_S:
                    with suppress(UserError):  # a full disk is reported by the next event that matters
                        self.emit(Heartbeat(at_s=clock.now_s()))

        self._heart = threading.Thread(target=beat, daemon=True, name="heartbeat")
        self._heart.start()

    def close(self) -> None:
        self._stop_heart.set()
        if self._heart is not None:
            self._heart.join()
        self._journal.close()
        unsign(self._lock_file)
        self._lock_file.close()
