"""Records: made again byte for byte, safe against a kill at any event, strict about what is read back."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import UserError
from bench.events import Event, Heartbeat, RunResumed
from bench.journal import JOURNAL_NAME, Journal, decode, encode
from bench.record import (
    MAX_RECORD_BYTES,
    RECORD_NAME,
    build_record,
    decode_record,
    encode_record,
    load_record,
    record_run,
    record_schema,
    write_record,
)
from tests.builders import Run, journal, started, study

LOSSES = st.one_of(st.none(), st.floats(0.1, 20, allow_nan=False))
RUNS = st.lists(
    st.builds(
        Run,
        losses=st.lists(LOSSES, min_size=1, max_size=3),
        lr=st.floats(5e-6, 2e-4),
        state=st.sampled_from(["completed", "stopped", "nan", "oom", "timeout", "failed"]),
        model_based=st.sampled_from([None, True, False]),
    ),
    max_size=5,
)
SOME_RUNS = [Run(losses=[5.0, 4.0], lr=5e-6), Run(losses=[6.0, None], state="nan")]


@given(runs=RUNS, devices=st.integers(1, 4), speed=st.floats(0.01, 50), idle_s=st.floats(0, 9))
@settings(max_examples=60, deadline=None)
def test_busy_never_exceeds_allocated(runs: list[Run], devices: int, speed: float, idle_s: float) -> None:
    record = build_record(
        journal(runs, study(devices=2 * devices, devices_per_trial=devices), speed=speed, idle_s=idle_s)
    )
    for costs in (record.costs.search, record.costs.final):
        assert costs.allocated_device_min is not None
        assert costs.busy_device_min <= costs.allocated_device_min * (1 + 1e-9)
        assert sum(costs.by_phase_device_min.values()) == pytest.approx(costs.busy_device_min)
    trials = sum(t.busy_device_min for t in record.search_trials)
    assert trials == pytest.approx(record.costs.search.busy_device_min)


@given(runs=RUNS, speed=st.floats(0.01, 50), pause_s=st.floats(0, 1e6))
@settings(max_examples=30, deadline=None)
def test_a_kill_after_any_event_loses_no_cost_spent(runs: list[Run], speed: float, pause_s: float) -> None:
    events: list[Event] = journal(runs, speed=speed)
    spent = (0.0, 0.0)
    for length in range(1, len(events) + 1):
        record = build_record(events[:length])
        now = [(c.allocated_device_min or 0.0, c.busy_device_min) for c in (record.costs.search, record.costs.final)]
        total = (sum(a for a, _ in now), sum(b for _, b in now))
        assert total[0] >= spent[0] - 1e-9
        assert total[1] >= spent[1] - 1e-9
        spent = total
        resumed = build_record([*events[:length], RunResumed(at_s=events[length - 1].at_s + pause_s, provenance={})])
        after = (resumed.costs.search, resumed.costs.final)
        assert sum(c.allocated_device_min or 0.0 for c in after) == pytest.approx(total[0])
        assert all(c.complete for c in after)


@given(runs=RUNS)
@settings(max_examples=40, deadline=None)
def test_the_same_journal_gives_the_same_bytes(runs: list[Run]) -> None:
    events = journal(runs)
    first = encode_record(build_record(events))
    assert encode_record(build_record([decode(encode(e)) for e in events])) == first
    assert encode_record(decode_record(first, "it")) == first


def run_folder(path: Path, events: list[Event]) -> Path:
    log = Journal(path / JOURNAL_NAME)
    for event in events:
        log.append(event)
    log.close()
    return path


def test_a_run_is_recorded_beside_its_journal(tmp_path: Path) -> None:
    record = record_run(run_folder(tmp_path, journal(SOME_RUNS)))
    assert load_record(tmp_path) == load_record(tmp_path / RECORD_NAME) == record
    assert record.run_id == study().run_id()
    assert record.status == "finished"
    assert record.seeds == {"search": 1, "init": 2, "data": 3}
    assert record.winner is not None
    assert (record.winner.number, record.winner.eval_loss, record.winner.edges) == (1, 4.0, ("learning_rate",))
    assert record.final is not None
    assert record.final.test_loss == 2.0
    assert record.parsed_study() == study()
    assert record.trial("t1").state == "nan"
    assert (record.started_s, record.costs.elapsed_s, record.resumes) == (0.0, record.ended_s, 0)
    digest = subprocess.run(["sha256sum", JOURNAL_NAME], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert record.journal_sha256 == digest.stdout.split()[0]
    before = (tmp_path / RECORD_NAME).read_bytes()
    record_run(tmp_path)
    assert (tmp_path / RECORD_NAME).read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == [JOURNAL_NAME, RECORD_NAME]
    with pytest.raises(KeyError):
        record.trial("t9")


def test_a_torn_last_line_does_not_change_the_record(tmp_path: Path) -> None:
    run_folder(tmp_path, journal(SOME_RUNS)[:-1])
    whole = encode_record(record_run(tmp_path))
    with (tmp_path / JOURNAL_NAME).open("ab") as file:
        file.write(b'{"kind":"run_fin')
    assert encode_record(record_run(tmp_path)) == whole
    assert b'"status": "running"' in whole


def test_resumptions_are_counted_with_their_provenance() -> None:
    record = build_record([started(), Heartbeat(at_s=5), RunResumed(at_s=9, provenance={"git": {"commit": "b"}})])
    assert record.resumes == 1
    assert record.resumed_provenance == ({"git": {"commit": "b"}},)
    assert record.winner is None


def test_an_inconsistent_journal_is_a_sentence() -> None:
    with pytest.raises(UserError, match=r"inconsistent: event 2 \(run_started\)"):
        build_record([started(), started()])
    with pytest.raises(UserError, match="no events"):
        build_record([])


def altered(change: Any) -> bytes:
    data = json.loads(encode_record(build_record(journal(SOME_RUNS))))
    change(data)
    return json.dumps(data).encode()


def test_what_does_not_belong_is_refused_in_one_sentence() -> None:
    cases: list[tuple[Any, str]] = [
        (lambda d: d.update(statsu="x"), "unknown key 'statsu'; did you mean 'status'"),
        (lambda d: d["trials"][0].update(epoch_s=1), "unknown key 'trials.0.epoch_s'"),
        (lambda d: d["final"]["phases"].update(train=1), "did you mean 'train_s'"),
        (lambda d: d.update(status="done"), "status: Input should be"),
        (lambda d: d["costs"]["search"].update(busy_device_min="7"), "costs.search.busy_device_min"),
        (lambda d: d["costs"]["search"].update(busy_device_min=float("nan")), "NaN has no place"),
        (lambda d: d["provenance"].update(x=float("inf")), "Infinity has no place"),
        (lambda d: d.pop("run_id"), "run_id"),
        (lambda d: d.update(schema_version=2), "has schema 2; this version reads 1"),
        (lambda d: d["study"].pop("strategy"), "study of the run .* is malformed"),
        (lambda d: d["study"].update(space=[]), "study of the run .* is malformed"),
    ]
    for change, message in cases:
        with pytest.raises(UserError, match=message) as caught:
            decode_record(altered(change), "it")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_record_is_refused(data: bytes) -> None:
    with pytest.raises(UserError):
        decode_record(data, "it")


def test_files_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Cannot read the record"):
        load_record(tmp_path)
    big = tmp_path / RECORD_NAME
    with big.open("wb") as file:
        file.truncate(MAX_RECORD_BYTES + 1)
    with pytest.raises(UserError, match="larger than"):
        load_record(tmp_path)
    with pytest.raises(UserError, match=r"Cannot write .*record\.json .*made again from the journal"):
        write_record(build_record(journal([])), tmp_path / "missing" / RECORD_NAME)


def test_the_schema_describes_a_record() -> None:
    schema = record_schema()
    assert schema["additionalProperties"] is False
    assert set(json.loads(encode_record(build_record(journal(SOME_RUNS))))) == set(schema["properties"])
