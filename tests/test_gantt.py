"""Schedules from events, and as text; tests/pictures draws them."""

from __future__ import annotations

import io
from collections import Counter

import pytest
from rich.console import Console

from bench.events import (
    Event,
    GrantClosed,
    GrantOpened,
    Phases,
    RunFinished,
    RunResumed,
    TrialCreated,
    TrialEnded,
    TrialPaused,
    TrialStarted,
    WorkLost,
)
from bench.gantt import Bar, Schedule, from_bars, print_schedule, schedule
from bench.gantt.terminal import letter_of
from bench.ledger import LedgerFold
from tests.builders import Run, epoch, journal, started, study

TRAIN = Phases(train_s=10.0)


def two_slots() -> list[Event]:
    """Two devices granted after 5 s. Trial 1 works 10 s, pauses, and goes on in the slot that trial 2 has left; trial 3
    loses 4 s."""
    run = study("asha", devices=2, epochs=2)
    return [
        started(run),
        GrantOpened(at_s=5, grant="g", devices=2, purpose="search"),
        TrialCreated(at_s=5, trial="a", config={}),
        TrialCreated(at_s=5, trial="b", config={}),
        TrialStarted(at_s=5, trial="a", epoch=0, devices=1),
        TrialStarted(at_s=5, trial="b", epoch=0, devices=1),
        epoch("a", 1, 1.0, 15, TRAIN, worker="w1"),
        TrialPaused(at_s=15, trial="a", epoch=1),
        TrialCreated(at_s=16, trial="c", config={}),
        TrialStarted(at_s=16, trial="c", epoch=0, devices=1),
        WorkLost(at_s=20, trial="c", busy_s=4, devices=1, reason="died"),
        epoch("b", 1, 1.0, 25, Phases(startup_s=6.0, train_s=12.0, eval_s=2.0), worker="w2"),
        TrialEnded(at_s=25, trial="b", state="stopped"),
        TrialStarted(at_s=25, trial="a", epoch=1, devices=1),
        epoch("a", 2, 1.0, 40, Phases(restore_s=2.0, train_s=12.0, checkpoint_s=1.0), worker="w2"),
        TrialEnded(at_s=40, trial="a", state="completed"),
        GrantClosed(at_s=40, grant="g"),
        RunFinished(at_s=40),
    ]


def spans(found: Schedule, row: int) -> list[tuple[str, int | None, float, float]]:
    return [(b.kind, b.trial, b.start_s, b.end_s) for b in found.bars if b.row == row]


def test_every_phase_is_a_bar_in_its_slot() -> None:
    found = schedule(two_slots())
    assert (found.rows, found.end_s) == (2, 40)
    assert spans(found, 0) == [
        ("queue", None, 0, 5), ("train", 1, 5, 15), ("idle", None, 15, 16), ("lost", 3, 16, 20), ("idle", None, 20, 40),
    ]  # fmt: skip
    assert spans(found, 1) == [
        ("queue", None, 0, 5), ("startup", 2, 5, 11), ("train", 2, 11, 23), ("eval", 2, 23, 25),
        ("restore", 1, 25, 27), ("train", 1, 27, 39), ("checkpoint", 1, 39, 40),
    ]  # fmt: skip


@pytest.mark.parametrize("events", [two_slots(), journal([Run(losses=[3, 2]), Run(losses=[2, None])])])
def test_bars_add_up_to_the_ledger(events: list[Event]) -> None:
    ledger = LedgerFold()
    for event in events:
        ledger.apply(event)
    costs = [ledger.costs("search"), ledger.costs("final")]
    bars = schedule(events).bars
    work_s = sum(b.end_s - b.start_s for b in bars if b.trial is not None)
    held_s = sum(b.end_s - b.start_s for b in bars if b.kind != "queue")
    assert work_s / 60 == pytest.approx(sum(c.busy_device_min for c in costs))
    assert held_s / 60 == pytest.approx(sum(c.allocated_device_min or 0 for c in costs))


def test_a_trial_of_two_devices_is_drawn_in_both_slots() -> None:
    run = study("asha", devices=4, devices_per_trial=2)
    found = schedule(
        [
            started(run),
            GrantOpened(at_s=0, grant="g", devices=4, purpose="search"),
            TrialCreated(at_s=0, trial="a", config={}),
            TrialStarted(at_s=0, trial="a", epoch=0, devices=2),
            epoch("a", 1, 1.0, 10, TRAIN),
            GrantClosed(at_s=10, grant="g"),
        ]
    )
    assert Counter(b.kind for b in found.bars) == {"train": 2, "idle": 2}


def test_a_killed_runs_slots_end_with_its_last_sign_of_life() -> None:
    events = [
        *two_slots()[:7],
        RunResumed(at_s=100, provenance={}),
        GrantOpened(at_s=101, grant="g2", devices=2, purpose="search"),
        TrialStarted(at_s=101, trial="b", epoch=0, devices=1),
        epoch("b", 1, 1.0, 111, TRAIN),
        GrantClosed(at_s=111, grant="g2"),
    ]
    found = schedule(events)
    assert max(b.end_s for b in found.bars if b.start_s < 50) == 15
    assert ("train", 2, 101, 111) in spans(found, 0)


def printed(found: Schedule, width: int, *, until_s: float | None = None, encoding: str = "utf-8") -> list[str]:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding)
    print_schedule(found, Console(file=file, width=width), until_s=until_s)
    file.flush()
    return raw.getvalue().decode(encoding).splitlines()


def test_a_narrow_terminal_shows_trials_and_phases_without_colour() -> None:
    """20 cells of 2 s each; a stretch begins with its trial's number, and a cell shows what fills most of it."""
    assert printed(schedule(two_slots(), "two slots"), 22) == [
        "two slots",
        "1 ~~~1████3x··········",
        "2 ~~~2▄▄██████▒1██████",
        "  0 s       20",
        "  ~ in the queue  ▄",
        "start-up  ▀ restore  █",
        "train  ▒ evaluation  x",
        "lost  · idle",
    ]


def test_a_wide_terminal_has_a_cell_a_second() -> None:
    lines = printed(schedule(two_slots(), "two slots"), 42)
    assert lines[1] == "1 ~~~~~1█████████·3xxx····················"
    assert lines[2] == "2 ~~~~~2▄▄▄▄▄████████████▒▒1▀████████████▌"
    assert lines[3] == "  0 s       10        20        30"
    assert "▄ start-up" in " ".join(lines[4:])


def test_a_terminal_with_ascii_alone() -> None:
    lines = printed(schedule(two_slots()), 42, encoding="ascii")
    assert lines[2] == "2 ~~~~~2-----############%%1+############|"


def test_a_shared_time_axis_leaves_room() -> None:
    assert printed(schedule(two_slots()), 82, until_s=80)[2] == "2 ~~~~~2▄▄▄▄▄████████████▒▒1▀████████████▌"


def many(trials: int, rows: int) -> Schedule:
    bars = [
        Bar(row=i % rows, start_s=float(i // rows), end_s=i // rows + 1.0, kind="train", trial=i + 1)
        for i in range(trials)
    ]
    return from_bars(bars, [], rows=rows, end_s=max(b.end_s for b in bars), title="many")


def test_numbers_become_letters_where_they_do_not_fit() -> None:
    lines = printed(many(12, 1), 14)
    assert lines[1] == "1 123456789abc"
    assert "Trials from 10 on are letters" in " ".join(" ".join(lines).split())
    assert [letter_of(n) for n in (1, 10, 35, 36, 60, 61, 0, None)] == ["1", "a", "z", "A", "Z", "", "F", ""]


def test_slots_beyond_the_screen_are_counted() -> None:
    lines = printed(many(30, 30), 60)
    assert "  and 6 more devices" in lines


def test_a_run_without_work() -> None:
    assert printed(schedule([started()]), 60) == ["Schedule", "  (nothing ran)"]


def test_trials_that_share_a_device_have_a_line_each() -> None:
    run = study("asha", devices=1, trials_per_device=2)
    events: list[Event] = [started(run), GrantOpened(at_s=0, grant="g", devices=1, purpose="search")]
    for trial in "abc":
        at_s = 10.0 if trial == "c" else 0.0
        events.append(TrialCreated(at_s=at_s, trial=trial, config={}))
        events.append(TrialStarted(at_s=at_s, trial=trial, epoch=0, devices=0.5))
        if trial != "a":
            done = "a" if trial == "b" else trial
            events.append(epoch(done, 1, 1.0, at_s + 10, TRAIN, worker=done))
            events.append(TrialEnded(at_s=at_s + 10, trial=done, state="completed"))
    made = schedule(events)
    assert (made.rows, made.per_device) == (2, 2)
    assert [(b.row, b.trial) for b in made.bars if b.kind == "train"] == [(0, 1), (0, 3)]
    assert [b.row for b in made.bars if b.kind == "idle"] == [1]
