"""Costs against vectors worked by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.events import (
    FINAL_TRIAL,
    Event,
    FinalScored,
    GrantClosed,
    GrantOpened,
    Heartbeat,
    Phases,
    RunResumed,
    TrialCreated,
    TrialEnded,
    TrialStarted,
    TrialSummarised,
    WorkLost,
)
from bench.ledger import PHASES, LedgerFold, cost_ratio, device_minutes, idle_device_min, study_count, utilisation
from tests.builders import EPOCH, epoch, started, study


def booked(*events: Event, devices_per_trial: int = 2) -> LedgerFold:
    ledger = LedgerFold()
    ledger.apply(started(study(devices=8, devices_per_trial=devices_per_trial)))
    for event in events:
        ledger.apply(event)
    return ledger


def test_formulas() -> None:
    assert device_minutes(2 * 177 * 60) == 354
    assert idle_device_min(354.0, 321.5) == 32.5
    assert idle_device_min(None, 5.0) is None
    assert utilisation(200.0, 50.0) == 0.25
    assert utilisation(None, 5.0) is None
    assert utilisation(0.0, 0.0) is None
    assert cost_ratio(177.0, 354.0) == 0.5
    assert cost_ratio(None, 354.0) is None
    assert cost_ratio(1.0, 0.0) is None


def test_allocated_is_devices_times_time_held() -> None:
    # 8 devices for 90 s and 2 for 30 s of them: (8 x 90 + 2 x 30) / 60 = 13 device-minutes, 90 s of wall time.
    ledger = booked(
        GrantOpened(at_s=10, grant="a", devices=8, purpose="search"),
        GrantOpened(at_s=40, grant="b", devices=2, purpose="search"),
        GrantClosed(at_s=70, grant="b"),
        GrantClosed(at_s=100, grant="a"),
    )
    costs = ledger.costs("search")
    assert costs.allocated_device_min == 13.0
    assert costs.wall_s == 90.0
    assert costs.devices == 10
    assert costs.complete


def test_time_between_grants_is_not_charged() -> None:
    ledger = booked(
        GrantOpened(at_s=0, grant="a", devices=1, purpose="search"),
        GrantClosed(at_s=60, grant="a"),
        GrantOpened(at_s=600, grant="b", devices=1, purpose="search"),
        GrantClosed(at_s=660, grant="b"),
    )
    costs = ledger.costs("search")
    assert (costs.allocated_device_min, costs.wall_s, costs.devices) == (2.0, 120.0, 1)
    assert ledger.elapsed_s == 660.0


def test_busy_is_the_trial_segments_times_their_devices() -> None:
    # 2 devices x (10 s epoch + 10 s epoch + 3 s of one cut short) + 1 device x 7 s lost = 53 device-seconds.
    ledger = booked(
        GrantOpened(at_s=0, grant="a", devices=8, purpose="search"),
        TrialCreated(at_s=0, trial="t", config={}),
        TrialStarted(at_s=0, trial="t", epoch=0, devices=2),
        epoch("t", 1, 3.0, 10, EPOCH),
        epoch("t", 2, 3.0, 20, EPOCH),
        WorkLost(at_s=27, trial="t", busy_s=7.0, devices=1, reason="killed"),
        TrialEnded(at_s=30, trial="t", state="failed", phases=Phases(startup_s=2.0, restore_s=1.0)),
        GrantClosed(at_s=60, grant="a"),
    )
    costs = ledger.costs("search")
    assert costs.busy_device_min == pytest.approx(53 / 60)
    assert {p: s * 60 for p, s in costs.by_phase_device_min.items()} == pytest.approx(
        {"startup": 4, "train": 32, "eval": 4, "checkpoint": 4, "restore": 2, "lost": 7, "unsplit": 0}
    )
    assert costs.allocated_device_min == 8.0
    assert costs.idle_device_min == pytest.approx(8 - 53 / 60)
    assert costs.utilisation == pytest.approx(53 / 480)


def test_search_and_final_are_apart() -> None:
    ledger = booked(
        GrantOpened(at_s=0, grant="a", devices=2, purpose="search"),
        GrantClosed(at_s=30, grant="a"),
        GrantOpened(at_s=30, grant="f", devices=2, purpose="final"),
        TrialStarted(at_s=30, trial=FINAL_TRIAL, epoch=0, devices=2),
        epoch(FINAL_TRIAL, 1, 3.0, 40, EPOCH),
        FinalScored(at_s=45, test_loss=2.0, exact_match=1.0, f1=2.0, examples=9, phases=Phases(eval_s=5.0)),
        GrantClosed(at_s=60, grant="f"),
    )
    assert (ledger.costs("search").allocated_device_min, ledger.costs("search").busy_device_min) == (1.0, 0.0)
    assert (ledger.costs("final").allocated_device_min, ledger.costs("final").busy_device_min) == (1.0, 0.5)


def test_a_killed_run_is_charged_to_its_last_sign_of_life() -> None:
    ledger = booked(GrantOpened(at_s=0, grant="a", devices=4, purpose="search"), Heartbeat(at_s=45))
    costs = ledger.costs("search")
    assert (costs.allocated_device_min, costs.wall_s, costs.complete) == (3.0, 45.0, False)
    assert ledger.costs("search", now_s=60).allocated_device_min == 4.0
    ledger.apply(RunResumed(at_s=9_999, provenance={}))
    costs = ledger.costs("search")
    assert (costs.allocated_device_min, costs.wall_s, costs.complete) == (3.0, 45.0, True)


def test_work_without_a_grant_has_an_unknown_allocation() -> None:
    ledger = booked(
        TrialCreated(at_s=0, trial="t", config={}),
        TrialSummarised(at_s=0, trial="t", eval_loss=9.0, runtime_s=90.0, devices=2),
    )
    costs = ledger.costs("search")
    assert (costs.allocated_device_min, costs.idle_device_min, costs.utilisation, costs.wall_s) == (None,) * 4
    assert costs.busy_device_min == costs.by_phase_device_min["unsplit"] == 3.0
    assert tuple(costs.by_phase_device_min) == PHASES


def test_a_trial_without_devices_of_its_own_has_the_studys() -> None:
    scored = FinalScored(at_s=5, test_loss=2.0, exact_match=1.0, f1=2.0, examples=9, phases=Phases(eval_s=30.0))
    assert booked(scored).costs("final").busy_device_min == 1.0


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (GrantClosed(at_s=1, grant="x"), "closed but not open"),
        (GrantOpened(at_s=1, grant="x", devices=0, purpose="search"), "1 or more"),
        (epoch("t9", 1, 1.0, 1), "never started"),
        (WorkLost(at_s=1, trial="t9", busy_s=1, devices=1, reason=""), "never created"),
        (WorkLost(at_s=1, trial=FINAL_TRIAL, busy_s=-1, devices=1, reason=""), "0 or more"),
        (WorkLost(at_s=1, trial=FINAL_TRIAL, busy_s=float("nan"), devices=1, reason=""), "0 or more"),
        (Heartbeat(at_s=-1), "goes back"),
    ],
)
def test_contradictions_are_refused(event: Event, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        booked(event)


def test_a_grant_opened_twice_is_refused() -> None:
    opened = GrantOpened(at_s=1, grant="x", devices=1, purpose="search")
    with pytest.raises(ValueError, match="opened twice"):
        booked(opened, opened)


def test_a_study_without_counts_is_refused() -> None:
    with pytest.raises(ValueError, match="devices_per_trial is None"):
        study_count({}, "devices_per_trial")


@given(
    devices=st.integers(1, 3),
    sharing=st.integers(1, 5),
    work=st.lists(st.tuples(st.integers(0, 14), st.floats(0, 50), st.floats(0, 50)), max_size=20),
)
def test_trials_that_share_a_device_are_never_busier_than_what_is_held(
    devices: int, sharing: int, work: list[tuple[int, float, float]]
) -> None:
    """`work`: for each trial its slot, for how long that was empty before, and how long it takes."""
    of = study("asha", devices=devices, trials_per_device=sharing)
    free_s = [0.0] * of.slots
    told: list[Event] = []
    for number, (slot, gap_s, busy_s) in enumerate(work):
        trial, start_s = f"t{number}", free_s[slot % of.slots] + gap_s
        free_s[slot % of.slots] = start_s + busy_s
        told += [
            TrialCreated(at_s=start_s, trial=trial, config={}),
            TrialStarted(at_s=start_s, trial=trial, epoch=0, devices=of.devices_of_a_trial),
            epoch(trial, 1, 1.0, start_s + busy_s, Phases(train_s=busy_s)),
        ]
    ledger = LedgerFold()
    ledger.apply(started(of))
    ledger.apply(GrantOpened(at_s=0.0, grant="g", devices=devices, purpose="search"))
    for event in sorted(told, key=lambda e: e.at_s):
        ledger.apply(event)
    costs = ledger.costs("search")
    assert costs.busy_device_min == pytest.approx(sum(busy_s for *_, busy_s in work) / sharing / 60)
    assert costs.allocated_device_min is not None
    assert costs.busy_device_min <= costs.allocated_device_min + 1e-9
    if sharing == 1:
        assert not any(math.modf(e.devices)[0] for e in told if isinstance(e, TrialStarted))
