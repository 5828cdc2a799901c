"""Names without danger, times, and costs that are the record's."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.export.common import (
    Source,
    changes_text,
    cost_numbers,
    one_line,
    outcome,
    run_facts,
    safe_name,
    study_facts,
)
from tests.export.runs import EVIL, evil, measured, mixed, simulated


@given(st.text(max_size=300))
def test_a_name_is_safe_as_a_file_and_a_key(text: str) -> None:
    name = safe_name(text)
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", name)
    assert len(name) <= 80
    assert safe_name(name) == name


def test_two_texts_stay_two_names() -> None:
    texts = ["a/b", "a b", "a\nb", "a-b", "..", ".", "", "x" * 100, "x" * 101, ".a", "a"]
    assert len({safe_name(text) for text in texts}) == len(texts)


@given(st.text(max_size=1000))
def test_a_line_is_one(text: str) -> None:
    line = one_line(text)
    assert line.isprintable()
    assert len(line) <= 500


def test_facts_are_lines() -> None:
    told = study_facts(evil()) | run_facts(evil())
    assert all(value == one_line(value) for value in told.values())
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", key) for key in told)
    assert EVIL not in told.values()


def test_times_are_those_of_the_journal() -> None:
    source = mixed()
    begun = 1_795_218_097.0
    assert source.times["t0"] == (begun + 1, begun + 24)  # 1 s idle, 3 s of start, two epochs of 10 s
    assert source.times["t1"] == (begun + 25, begun + 48)


def test_times_without_a_journal_are_near() -> None:
    source = mixed()
    alone = Source(record=source.record).times
    for trial in source.record.trials:
        if trial.curve:
            assert alone[trial.trial] == pytest.approx(source.times[trial.trial], abs=3)
        assert all(map(math.isfinite, alone[trial.trial]))


def test_costs_are_the_records() -> None:
    record = measured().record
    numbers = cost_numbers(record)
    assert numbers["search_allocated_device_min"] == record.costs.search.allocated_device_min
    assert numbers["search_train_device_min"] == record.costs.search.by_phase_device_min["train"]
    assert numbers["elapsed_s"] == record.costs.elapsed_s
    assert all(map(math.isfinite, numbers.values()))


def test_what_became_of_a_trial_follows_from_its_run_too() -> None:
    record = mixed().record
    assert [outcome(record, t) for t in record.search_trials] == ["ended", "ended", "ended", "failed", "failed"]
    paused = replace(record.trials[0], state="paused")
    assert outcome(replace(record, status="running"), paused) == "open"
    assert outcome(replace(record, status="interrupted"), paused) == "cut"
    assert outcome(record, paused) == "cut"


def test_changes_are_told() -> None:
    trial = measured().record.trials[0]
    assert changes_text(trial).startswith("after epoch 2 weights of trial 0003 as of epoch 2, learning_rate 0.0012")
    assert changes_text(mixed().record.trials[0]) == ""


def test_a_simulated_run_is_called_so() -> None:
    source = simulated()
    assert source.label.endswith("-simulated")
    assert run_facts(source)["numbers"] == "simulated in virtual time on the curves tiny-squad"
    assert run_facts(mixed())["numbers"] == "measured"
