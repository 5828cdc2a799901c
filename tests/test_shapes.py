"""Shapes of work, each worked by hand on two devices."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from bench.shapes import Arrangement, Assumptions, Feeding, Shape, arrange, compare_shapes, shapes_table

SECONDS = (10.0, 20.0, 30.0, 40.0)
ASSUMED = Assumptions(
    slots=2, launch_s=3, startup_s=1, queue_wait_s=5, queue_growth=1, medium_slots=1, medium_evaluations=2
)
SHORT, MEDIUM, WIDE = ASSUMED.shapes


def made(feeding: Feeding, shape: Shape, seconds: tuple[float, ...] = SECONDS) -> Arrangement:
    return arrange(seconds, feeding, shape, ASSUMED)


def ends(of: Arrangement) -> list[float]:
    return [e.end_s for e in of.evaluations]


def jobs(of: Arrangement) -> list[tuple[int, float, float, float]]:
    return [(j.first_row, j.submitted_s, j.granted_s, j.released_s) for j in of.jobs]


def test_sequential_short_jobs_wait_and_launch_each_time() -> None:
    """Each job: 5 in the queue, 3 to launch, 1 to start, then its work: 19, +29, +39, +49."""
    found = made("sequential", SHORT)
    assert ends(found) == [19, 48, 87, 136]
    assert found.queue_s == 20
    assert found.known == 1.5
    assert found.costs.allocated_device_min == pytest.approx((100 + 4 * 4) / 60)
    assert found.costs.utilisation == pytest.approx(1)


def test_a_batch_of_short_jobs_waits_for_the_slowest_without_holding_devices() -> None:
    """Two at once: 19 and 29; the next two are submitted at 29 and end at 29 + 9 + 30 and 29 + 9 + 40."""
    found = made("batch", SHORT)
    assert ends(found) == [19, 29, 68, 78]
    assert jobs(found) == [(0, 0, 5, 19), (1, 0, 5, 29), (0, 29, 34, 68), (1, 29, 34, 78)]
    assert found.costs.utilisation == pytest.approx(1)
    assert [e.known for e in found.evaluations] == [0, 0, 2, 2]


def test_asynchronous_short_jobs_follow_each_other() -> None:
    found = made("asynchronous", SHORT)
    assert ends(found) == [19, 29, 58, 78]
    assert [e.known for e in found.evaluations] == [0, 0, 1, 2]


def test_a_batch_in_wide_jobs_is_charged_for_the_wait() -> None:
    """One job of two devices: granted at 10 (5 x 2), launched at 13; 24 and 34, then 34 + 31 and 34 + 41."""
    found = made("batch", WIDE)
    assert ends(found) == [24, 34, 65, 75]
    assert jobs(found) == [(0, 0, 10, 75)]
    costs = found.costs
    assert costs.allocated_device_min == pytest.approx(2 * 65 / 60)
    assert costs.busy_device_min == pytest.approx((100 + 4 + 2 * 3) / 60)
    assert costs.idle_device_min == pytest.approx((10 + 10) / 60)
    assert costs.by_phase_device_min["startup"] == pytest.approx(10 / 60)


def test_asynchronous_wide_jobs_idle_at_the_end_alone() -> None:
    found = made("asynchronous", WIDE)
    assert ends(found) == [24, 34, 55, 75]
    assert found.costs.idle_device_min == pytest.approx(20 / 60)
    assert found.wall_s == 75


def test_a_wide_job_for_one_at_a_time_leaves_the_rest_idle() -> None:
    found = made("sequential", WIDE)
    assert ends(found) == [24, 45, 76, 117]
    assert {e.row for e in found.evaluations} == {0}
    assert found.costs.busy_device_min == pytest.approx((100 + 4 + 3) / 60)
    assert found.costs.allocated_device_min == pytest.approx(2 * 107 / 60)


def test_medium_jobs_launch_once_for_a_few() -> None:
    """Two jobs of two evaluations; the third goes to the device that is free first."""
    found = made("asynchronous", MEDIUM)
    assert jobs(found) == [(0, 0, 5, 50), (1, 0, 5, 70)]
    assert ends(found) == [19, 29, 50, 70]
    assert ends(made("sequential", MEDIUM)) == [19, 40, 79, 120]


@pytest.mark.parametrize("count", [1, 2, 5, 23])
def test_the_picture_and_the_ledger_agree(count: int) -> None:
    seconds = [10.0 + 7 * (i * 5 % 11) for i in range(count)]
    for found in compare_shapes(seconds, Assumptions(slots=6, medium_slots=2, medium_evaluations=3)):
        bars = found.schedule().bars
        held_s = sum(b.end_s - b.start_s for b in bars if b.kind != "queue")
        work_s = sum(b.end_s - b.start_s for b in bars if b.trial is not None)
        assert held_s / 60 == pytest.approx(found.costs.allocated_device_min)
        assert work_s / 60 == pytest.approx(found.costs.busy_device_min)
        assert len(found.evaluations) == count
        for row in {b.row for b in bars}:
            own = [b for b in bars if b.row == row]
            assert all(a.end_s <= b.start_s + 1e-9 for a, b in pairwise(own))


def test_waiting_for_no_one_is_never_slower() -> None:
    for shape in ASSUMED.shapes:
        walls = [made(feeding, shape).wall_s for feeding in ("asynchronous", "batch", "sequential")]
        assert walls == sorted(walls)


def test_the_table_and_its_assumptions() -> None:
    table = shapes_table(compare_shapes(SECONDS, ASSUMED), ASSUMED, "GPU")
    assert len(table.rows) == 9
    assert table.column("jobs") == [4, 4, 4, 2, 2, 2, 1, 1, 1]
    assert "waits 5 s" in table.notes[0]


def test_evaluations_on_two_devices_cost_twice() -> None:
    both = arrange(SECONDS, "batch", WIDE, replace(ASSUMED, slot_devices=2, queue_growth=0))
    assert both.costs.allocated_device_min == pytest.approx(4 * 65 / 60)
    assert both.costs.busy_device_min == pytest.approx(2 * 110 / 60)
    assert both.costs.devices == 4


def test_impossible_assumptions_are_refused() -> None:
    with pytest.raises(ValueError, match="launch_s is -1"):
        Assumptions(launch_s=-1)
    with pytest.raises(ValueError, match="medium_slots is 9"):
        Assumptions(slots=8, medium_slots=9)
    with pytest.raises(ValueError, match="nothing to arrange"):
        arrange([], "batch", SHORT, ASSUMED)
