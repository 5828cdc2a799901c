"""Clocks that are ahead or behind, by the messages of nodes and by the times of files."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.doctor import clock


@pytest.mark.parametrize(
    ("ahead_s", "status"),
    [(0.0, "pass"), (0.4, "pass"), (-0.6, "warn"), (3.0, "warn"), (-5.1, "fail"), (3600.0, "fail")],
)
def test_limits(ahead_s: float, status: str) -> None:
    line = clock.skew("clocks", {"node1": 0.0, "node2": ahead_s})
    assert line.status == status
    if status != "pass":
        assert f"node2 is {abs(ahead_s):.3f} s {'ahead' if ahead_s > 0 else 'behind'}" in line.found


@given(ahead_s=st.floats(-1000, 1000), queued_s=st.floats(0, 1e5), took_s=st.floats(0, 1e3), seen_s=st.floats(0, 60))
def test_what_the_order_of_events_shows_is_never_more_than_there_is(
    ahead_s: float, queued_s: float, took_s: float, seen_s: float
) -> None:
    """By an outside clock the node begins after it was asked, and its report is read after it was written."""
    asked_s = 1e6
    began_s = asked_s + queued_s
    reported_s = began_s + took_s
    found_s = clock.against_login(
        asked_s=asked_s, began_s=began_s + ahead_s, reported_s=reported_s + ahead_s, read_s=reported_s + seen_s,
        by_files_s=0.0,
    )  # fmt: skip
    assert abs(found_s) <= abs(ahead_s) + 1e-6
    assert found_s * ahead_s >= -1e-6
    if ahead_s > seen_s:
        assert found_s == pytest.approx(ahead_s - seen_s, abs=1e-6)
    if ahead_s < -queued_s:
        assert found_s == pytest.approx(ahead_s + queued_s, abs=1e-6)


def test_the_times_of_files_count_where_they_show_more() -> None:
    even = {"asked_s": 0.0, "began_s": 10.0, "reported_s": 20.0, "read_s": 21.0}
    assert clock.against_login(**even, by_files_s=-7.0) == -7.0


def test_this_machines_own_files_have_its_own_time(tmp_path: Path) -> None:
    assert clock.ahead_of_files(tmp_path) == pytest.approx(0.0, abs=0.02)
    assert list(tmp_path.iterdir()) == []


def test_a_clock_ahead_of_the_file_server_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 42)
    assert clock.ahead_of_files(tmp_path) == pytest.approx(42, abs=0.1)


def test_a_file_server_ahead_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.utime
    monkeypatch.setattr(os, "utime", lambda path, times=None: real(path, (time.time() + 42,) * 2))
    assert clock.ahead_of_files(tmp_path) == pytest.approx(-42, abs=0.1)
