"""The journal: appended to, never torn, never trusted."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import UserError
from bench.events import EpochFinished, Event, Heartbeat, Note, Phases
from bench.journal import MAX_LINE_BYTES, Journal, decode, encode, read_journal
from tests.builders import started

EPOCH = EpochFinished(
    at_s=12.5,
    trial="0001",
    epoch=1,
    eval_loss=None,
    train_loss=2.25,
    phases=Phases(startup_s=1.0, train_s=0.1),
    samples_per_s=10.0,
    tokens_per_s=1234.5,
    device_memory_mib=None,
    host_memory_mib=512.0,
    config={"learning_rate": 1e-5, "batch_size": 8},
    worker="pid 1",
)


def write(path: Path, events: list[Event]) -> None:
    journal = Journal(path)
    for event in events:
        journal.append(event)
    journal.close()


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=0), st.text())
def test_what_is_written_is_read(at_s: float, message: str) -> None:
    for event in (replace(EPOCH, at_s=at_s), Note(at_s=at_s, level="warning", message=message)):
        line = encode(event)
        assert "\n" not in line
        assert decode(line) == event


def test_not_a_number_is_no_json() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        encode(replace(EPOCH, eval_loss=float("nan")))


@pytest.mark.parametrize("cut", [1, 10, 100])
def test_a_line_cut_short_by_a_kill_is_left_out_and_overwritten(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    first = started()
    write(path, [first, replace(EPOCH, at_s=first.at_s + 1)])
    path.write_bytes(path.read_bytes()[:-cut])
    assert read_journal(path) == [first]
    last = Heartbeat(at_s=first.at_s + 2)
    write(path, [last])
    assert read_journal(path) == [first, last]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{}", "line 2"),
        ("[1]", "line 2"),
        ('{"kind": "heartbeat", "at_s": 1e18, "extra": 1}', "extra"),
        ('{"kind": "heartbeat", "at_s": "soon"}', "at_s"),
        ('{"kind": "heartbeat", "at_s": 0}', "goes back"),
        ('{"kind": "heart_beat", "at_s": 1}', "line 2"),
        ('{"kind":"note","level":"info","at_s":1e18,"message":"' + "x" * MAX_LINE_BYTES + '"}', "bytes"),
    ],
)
def test_a_foreign_line_is_refused_with_its_number(line: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(encode(started(at_s=5.0)) + "\n" + line + "\n")
    with pytest.raises(UserError, match=words) as caught:
        read_journal(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "\n", json.dumps({"kind": "heartbeat", "at_s": 1}) + "\n"])
def test_a_file_that_does_not_begin_a_run_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(text)
    with pytest.raises(UserError, match="run_started"):
        read_journal(path)


def test_a_missing_journal_and_another_schema_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give the folder of a run"):
        read_journal(tmp_path / "events.jsonl")
    write(tmp_path / "events.jsonl", [replace(started(), schema_version=99)])
    with pytest.raises(UserError, match="schema 99"):
        read_journal(tmp_path / "events.jsonl")


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    journal = Journal(tmp_path / "events.jsonl")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"No space left on device.*free some space"):
        journal.append(EPOCH)


def test_what_a_full_disk_did_not_take_does_not_come_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "events.jsonl"
    journal = Journal(path)
    journal.append(started())
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UserError):
            journal.append(EPOCH)
    journal.append(Heartbeat(at_s=20.0))
    journal.close()
    assert [event.kind for event in read_journal(path)] == ["run_started", "heartbeat"]
