"""The job of the head: Ray's control processes and the search, without devices of its own; workers join and leave."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from bench.cluster.address import node_address
from bench.cluster.jobs import Submitted
from bench.cluster.meeting import BEAT_S, LOST_S, Head, Held, Meeting, poll
from bench.engines.ray_local import new_token, ray_node
from bench.engines.session import Session
from bench.errors import UserError
from bench.events import Event, GrantClosed, GrantOpened
from bench.lock import hold
from bench.profile import Profile

SILENT_S = 4 * BEAT_S
"""A worker that has not been heard of for so long is dead: its devices were held until its last sign of life."""

CALLS_S = (0.0, LOST_S + 2.0, 3 * LOST_S)
"""When a head calls workers, from its start, while none is there: those of an earlier head may still be leaving."""

LEAVE_S = 20.0
"""For workers to give their devices back once the search is over."""

RETRIES = 20
"""How often a trial is started again: on a cluster nodes die, and are taken away, without its fault."""


class HeadCluster:
    """The nodes that join a run; see `RayCluster`. To be made, and entered, before the run begins."""

    retries = RETRIES

    def __init__(
        self,
        run_folder: Path,
        submitted: Submitted,
        profile: Profile,
        call_workers: Callable[[], None] = lambda: None,
    ) -> None:
        """`call_workers`: has those submitted again that have left an earlier head."""
        self._run = run_folder.name
        self._call_workers = call_workers
        self._meeting = Meeting(run_folder)
        self._tune = self._meeting.folder / "tune"
        self._address = node_address(submitted.site)
        self.single_node = profile.devices_per_trial <= submitted.node_devices
        self._over = False

    def __enter__(self) -> HeadCluster:
        """Ray is up, and workers find it."""
        import ray

        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as stack:
            busy = f"The run {self._run} has a head already: see sweepmark status {self._run}."
            stack.enter_context(hold(self._meeting.folder / "head.lock", instead="--results", busy=busy))
            self._meeting.clear()  # at once: workers that start now are not to join one that is no more
            token = new_token(self._meeting.token)
            stack.callback(lambda: token.unlink(missing_ok=True))
            stack.enter_context(ray_node(cpus=0, gpus=0, address=self._address, token=token))
            stack.callback(lambda: self._meeting.withdraw(over=self._over))
            address = ray.get_runtime_context().gcs_address
            self._meeting.announce(Head(address=address, attempt=uuid.uuid4().hex))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def first_worker(self) -> Held:
        """The first worker that holds devices now: waits for it for as long as the queue is."""
        began_s, calls_s = time.monotonic(), list(CALLS_S)

        def joined() -> Held | None:
            if self.waiting():
                if calls_s and time.monotonic() - began_s >= calls_s[0]:
                    del calls_s[0]
                    self._call_workers()
                return None
            there = [held for held in self._meeting.held() if held.until_s is None]
            return max(there, key=lambda held: held.beat_s, default=None)

        found = poll(joined, every_s=0.5)
        assert found is not None
        return found

    def waiting(self) -> bool:
        import ray

        return not ray.cluster_resources().get("CPU")

    @contextlib.contextmanager
    def connected(self, session: Session) -> Iterator[Path]:
        shutil.rmtree(self._tune, ignore_errors=True)  # of an attempt that was killed
        self._tune.mkdir(parents=True)
        try:
            with Watch(self._meeting, session) as watch:
                yield self._tune
                self._over = True
                self._meeting.withdraw(over=True)
                poll(lambda: True if not watch.holding else None, deadline_s=LEAVE_S)
            self._meeting.forget_all()
        finally:
            shutil.rmtree(self._tune, ignore_errors=True)


@dataclass(kw_only=True)
class _Seen:
    """A worker's file, and when its content was last seen to change."""

    held: Held
    changed_s: float


class Watch:
    """Announces in the journal, from a thread of its own, what workers hold and no longer hold."""

    def __init__(self, meeting: Meeting, session: Session, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._meeting = meeting
        self._session = session
        self._monotonic_s = monotonic_s
        self._seen: dict[str, _Seen] = {}
        self._open: dict[str, Held] = {}
        self._charged_until_s: dict[str, float] = dict(session.state.ledger.closed_grants)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="watch")

    @property
    def holding(self) -> bool:
        """Whether any worker holds devices."""
        return bool(self._open)

    def __enter__(self) -> Watch:
        self.look()
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()
        self.look()
        now_s = self._session.clock.now_s()
        for held in list(self._open.values()):  # they live: what they hold from now on is charged when the run goes on
            self._close(replace(held, beat_s=now_s))

    def _run(self) -> None:
        while not self._stop.wait(1.0):
            with contextlib.suppress(UserError):  # a full disk: the journal says so at its next event that matters
                self.look()

    def look(self) -> None:
        """Compare the workers' files with what the journal says."""
        files = self._meeting.held()
        for name in set(self._seen) - {held.name for held in files}:
            del self._seen[name]
        for held in files:  # those that left make room in the sums for those that come
            seen = self._seen.get(held.name)
            if seen is None or seen.held != held:
                self._seen[held.name] = seen = _Seen(held=held, changed_s=self._monotonic_s())
            silent = self._monotonic_s() - seen.changed_s > SILENT_S
            if held.name in self._open:
                self._open[held.name] = held
                if held.until_s is not None or silent:
                    self._close(held)
        for held in files:
            charged_s = self._charged_until_s.get(held.name, held.since_s)
            end_s = held.beat_s if held.until_s is None else held.until_s
            silent = self._monotonic_s() - self._seen[held.name].changed_s > SILENT_S
            if held.name not in self._open and end_s > charged_s and not silent:
                self._announce(held, charged_s)
                if held.until_s is not None:
                    self._close(held)

    def _announce(self, held: Held, since_s: float) -> None:
        now_s = self._session.clock.now_s()
        self._emit(
            GrantOpened(
                at_s=now_s,
                grant=held.name,
                devices=held.devices,
                purpose="search",
                held_since_s=min(since_s, now_s),
            )
        )
        self._open[held.name] = held

    def _close(self, held: Held) -> None:
        now_s = self._session.clock.now_s()
        until_s = held.beat_s if held.until_s is None else held.until_s
        opened_s = self._charged_until_s.get(held.name, held.since_s)
        until_s = max(min(until_s, now_s), min(opened_s, now_s))
        self._emit(GrantClosed(at_s=now_s, grant=held.name, held_until_s=until_s))
        self._charged_until_s[held.name] = until_s
        del self._open[held.name]
        if held.until_s is not None:
            self._charged_until_s[held.name] = max(until_s, held.until_s)  # even if its clock is ahead
            self._meeting.forget(held)

    def _emit(self, event: Event) -> None:
        self._session.emit(event)
