"""What the head makes of its workers' files: when they held devices, and until when."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bench.cluster.head import SILENT_S, Watch
from bench.cluster.meeting import BEAT_S, Head, Held, Meeting
from bench.engines.session import Session
from bench.errors import UserError
from bench.events import Event, GrantClosed, GrantOpened, Heartbeat, RunResumed
from bench.trials import RunState
from tests.builders import started, study

WORKER = Held(job="12", worker=1, start=0, devices=2, since_s=900.0, beat_s=1000.0, probe={})


class Scene:
    """A run at a time that is moved by hand, with the folder in which workers write."""

    def __init__(self, folder: Path) -> None:
        self.now_s = 1000.0
        self.meeting = Meeting(folder)
        self.events: list[Event] = []
        self.state = RunState()
        self.full = False
        self.emit(started(study("asha"), 990.0))
        self.watch = self.attempt()

    def attempt(self) -> Watch:
        """A head that starts now."""
        clock = SimpleNamespace(now_s=lambda: self.now_s)
        session: Any = SimpleNamespace(state=self.state, clock=clock, emit=self.emit)
        return Watch(self.meeting, cast(Session, session), monotonic_s=lambda: self.now_s)

    def emit(self, event: Event) -> None:
        if self.full:
            raise UserError("The disk is full.")
        self.state.apply(event)
        self.events.append(event)

    def at(self, now_s: float, *workers: Held) -> None:
        """Workers have written, and the head looks."""
        self.now_s = now_s
        for worker in workers:
            self.meeting.write_held(worker)
        self.watch.look()

    @property
    def device_s(self) -> float:
        return 60 * (self.state.ledger.costs("search").allocated_device_min or 0.0)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_a_worker_is_charged_from_its_start_to_its_own_last_word(scene: Scene) -> None:
    scene.at(1000.0, WORKER)
    assert scene.watch.holding
    scene.at(1005.0, replace(WORKER, beat_s=1005.0))
    scene.at(1009.0, replace(WORKER, beat_s=1008.5, until_s=1008.5))
    assert not scene.watch.holding
    assert [event.kind for event in scene.events[1:]] == ["grant_opened", "grant_closed"]
    assert scene.device_s == pytest.approx(2 * 108.5)
    assert scene.meeting.held() == [], "what is accounted for is not looked at again"
    scene.at(1020.0)
    assert scene.device_s == pytest.approx(2 * 108.5)


def test_a_worker_that_falls_silent_is_charged_until_it_was_last_heard_of(scene: Scene) -> None:
    scene.at(1000.0, WORKER)
    scene.at(1005.0, replace(WORKER, beat_s=1004.0))
    scene.at(1005.0 + SILENT_S - 1)
    assert scene.watch.holding
    scene.at(1005.0 + SILENT_S + 1)
    assert not scene.watch.holding
    assert scene.device_s == pytest.approx(2 * 104.0)
    scene.at(1060.0)
    assert not scene.watch.holding, "its file alone opens nothing again"
    scene.at(1070.0, replace(WORKER, beat_s=1070.0))  # it had been suspended
    assert scene.watch.holding
    scene.at(1080.0, replace(WORKER, beat_s=1080.0, until_s=1080.0))
    assert scene.device_s == pytest.approx(2 * 180.0), "and held its devices all the while"


def test_clocks_that_differ_charge_nothing_twice_and_nothing_of_the_future(scene: Scene) -> None:
    ahead = replace(WORKER, since_s=1030.0, beat_s=1031.0)
    scene.at(1000.0, ahead)
    scene.at(1010.0, replace(ahead, beat_s=1040.0, until_s=1040.0))
    opened, closed = scene.events[1:]
    assert isinstance(opened, GrantOpened)
    assert isinstance(closed, GrantClosed)
    assert opened.opened_s == 1000.0
    assert closed.closed_s == 1010.0
    assert scene.device_s == pytest.approx(20.0)


def test_what_workers_held_while_there_was_no_head_is_charged_by_the_next(scene: Scene) -> None:
    late = replace(WORKER, worker=2, since_s=950.0, beat_s=1000.0)
    scene.at(1000.0, WORKER, late)
    scene.emit(Heartbeat(at_s=1003.0))  # the head's last sign of life
    scene.meeting.write_held(replace(WORKER, beat_s=1013.0, until_s=1013.0))  # left when it missed the head
    scene.meeting.write_held(replace(late, beat_s=1004.0))  # died with it
    scene.now_s = 1100.0
    scene.emit(RunResumed(at_s=1100.0, provenance={}))
    scene.watch = scene.attempt()
    scene.at(1100.0)
    scene.at(1101.0 + SILENT_S)
    assert not scene.watch.holding
    assert scene.device_s == pytest.approx(2 * (113.0 + 54.0))
    assert scene.state.ledger.costs("search").complete


def test_a_head_that_ends_charges_workers_that_live_until_then(scene: Scene) -> None:
    with scene.watch:
        scene.at(1000.0, WORKER)
        scene.at(1060.0, replace(WORKER, beat_s=1058.0))
        scene.now_s = 1062.0
    assert scene.device_s == pytest.approx(2 * 162.0)
    assert scene.state.ledger.costs("search").complete
    scene.meeting.write_held(replace(WORKER, beat_s=1070.0, until_s=1070.0))  # it left when the head was gone
    scene.now_s = 1100.0
    scene.emit(RunResumed(at_s=1100.0, provenance={}))
    scene.watch = scene.attempt()
    scene.at(1100.0)
    assert scene.device_s == pytest.approx(2 * 170.0)


def test_starts_of_the_same_worker_are_apart(scene: Scene) -> None:
    scene.at(1000.0, replace(WORKER, beat_s=1000.0, until_s=1000.0))
    scene.at(1020.0, replace(WORKER, start=1, since_s=1015.0, beat_s=1020.0))
    assert [event.grant for event in scene.events if isinstance(event, GrantOpened)] == [
        "worker-1-12-0", "worker-1-12-1",
    ]  # fmt: skip


def test_a_full_disk_makes_it_say_so_later(scene: Scene) -> None:
    scene.full = True
    with pytest.raises(UserError):
        scene.at(1000.0, WORKER)
    scene.full = False
    scene.at(1001.0)
    assert scene.watch.holding
    scene.full = True
    with pytest.raises(UserError):
        scene.at(1002.0, replace(WORKER, beat_s=1002.0, until_s=1002.0))
    scene.full = False
    scene.at(1003.0)
    assert scene.device_s == pytest.approx(2 * 102.0)


def test_workers_leave_one_head_for_good_and_wait_for_the_next(tmp_path: Path) -> None:
    meeting = Meeting(tmp_path)
    meeting.folder.mkdir()
    meeting.announce(Head(address="127.0.0.1:1", attempt="a"))
    meeting.token.touch()
    meeting.withdraw(over=True)
    assert meeting.over
    assert meeting.head() is None
    assert not meeting.token.exists()
    meeting.clear()  # the run goes on after all: its workers may start before its head
    assert not meeting.over
    meeting.announce(Head(address="127.0.0.1:2", attempt="b"))
    meeting.withdraw(over=False)
    assert not meeting.over
    assert meeting.head() is None
    assert BEAT_S < SILENT_S
