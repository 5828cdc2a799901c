"""One writer a run; events from several threads keep their order; a heart that beats only when nothing else does."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from bench import runlog
from bench.clock import WallClock
from bench.errors import UserError
from bench.events import Heartbeat, Note
from bench.journal import JOURNAL_NAME, read_journal
from bench.runlog import RunLog
from tests.builders import started


def test_a_second_writer_is_refused_until_the_first_has_gone(tmp_path: Path) -> None:
    first = RunLog(tmp_path)
    with pytest.raises(UserError, match="being written by another process"):
        RunLog(tmp_path)
    first.close()
    RunLog(tmp_path).close()


def test_events_of_many_threads_never_go_back(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    log.emit(started())

    def write() -> None:
        for number in range(20):
            log.emit(Note(at_s=float(number % 7), level="info", message="m"))

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert len(read_journal(tmp_path / JOURNAL_NAME)) == 81


def test_the_state_goes_on_from_the_journal(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    log.emit(started(at_s=3.0))
    log.close()
    seen: list[float] = []
    again = RunLog(tmp_path, (lambda event, state: seen.append(state.ended_s),))
    assert again.past == [started(at_s=3.0)]
    assert again.state.started == started(at_s=3.0)
    again.emit(Heartbeat(at_s=4.0))
    again.close()
    assert seen == [4.0]


def test_a_heartbeat_bounds_what_a_kill_can_hide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runlog, "HEARTBEAT_S", 0.02)
    beaten = threading.Event()
    log = RunLog(tmp_path, (lambda event, state: beaten.set() if isinstance(event, Heartbeat) else None,))
    clock = WallClock()
    log.emit(started(at_s=clock.now_s()))
    log.start_heartbeat(clock)
    assert beaten.wait(5), "no heartbeat within five seconds"
    log.close()


def test_a_wall_clock_never_goes_back_behind_the_journal() -> None:
    future_s = 4e9
    clock = WallClock(not_before_s=future_s)
    assert future_s <= clock.now_s() <= clock.now_s()
