"""Journals and records as bytes: what is not strict JSON, not of the schema, or not what the journal gives."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bench.errors import UserError
from bench.journal import MAX_LINE_BYTES
from bench.record import RECORD_NAME, record_run
from bench.submission import check_submission, journal
from bench.submission.strict_json import strict_json
from tests.submission.planted import copied, events_of, found, write

Plant = Callable[[Path], object]


def line(text: str, number: int = -1) -> Plant:
    """Another line in the journal, before the last; the record is made from what was there before."""

    def plant(run: Path) -> None:
        path = run / "events.jsonl"
        lines = path.read_text().splitlines()
        lines.insert(number, text)
        path.write_text("\n".join(lines) + "\n")

    return plant


def heartbeat(at_s: str) -> Plant:
    return line(f'{{"kind":"heartbeat","at_s":{at_s}}}')


def no_lines(count: int) -> Plant:
    return lambda run: (run / "events.jsonl").open("ab").write(b"\n" * count)


def started(**changes: Any) -> Plant:
    def plant(run: Path) -> None:
        events = events_of(run)
        events[0].update(changes)
        write(run, events)
        with suppress(UserError):
            record_run(run)

    return plant


def strategy_is_a_path(run: Path) -> None:
    events = events_of(run)
    events[0]["study"]["strategy"] = "../../asha"
    write(run, events)


def cut(run: Path) -> None:
    with (run / "events.jsonl").open("ab") as file:
        file.write(b'{"kind":"heartb')


def record(change: Callable[[Any], object]) -> Plant:
    """The record with a change, written as the suite writes it."""

    def plant(run: Path) -> None:
        values = json.loads((run / RECORD_NAME).read_text())
        change(values)
        (run / RECORD_NAME).write_text(json.dumps(values, ensure_ascii=False, indent=1) + "\n")

    return plant


def record_is(text: str) -> Plant:
    return lambda run: (run / RECORD_NAME).write_text(text)


def cheaper(values: Any) -> None:
    values["costs"]["search"]["allocated_device_min"] /= 2


def better(values: Any) -> None:
    values["winner"]["eval_loss"] -= 0.01


DEFECTS: dict[str, tuple[Plant, set[str]]] = {
    "NaN": (heartbeat("NaN"), {"bad-json"}),
    "infinity": (heartbeat("-Infinity"), {"bad-json"}),
    "a number beyond floats": (heartbeat("1e999"), {"bad-json"}),
    "a number of ten thousand digits": (heartbeat("9" * 10_000), {"bad-json"}),
    "a time beyond all": (heartbeat("1e16"), {"bad-json"}),
    "a key twice": (line('{"kind":"heartbeat","at_s":1,"at_s":2}'), {"bad-json"}),
    "a hundred thousand brackets": (line("[" * 100_000), {"bad-json"}),
    "a hundred thousand braces": (line('{"a":' * 100_000 + "1" + "}" * 100_000), {"bad-json"}),
    "nested more deeply than any event": (
        line('{"kind":"heartbeat","at_s":' + "[" * 30 + "]" * 30 + "}"),
        {"bad-json"},
    ),
    "not UTF-8": (lambda run: (run / "events.jsonl").open("ab").write(b'"\xff"\n'), {"bad-json"}),
    "half a character": (line('{"kind":"note","at_s":0,"level":"info","message":"\\ud800"}'), {"bad-event"}),
    "an unknown event": (line('{"kind":"trial_won","at_s":1}'), {"bad-event"}),
    "an unknown field": (line('{"kind":"heartbeat","at_s":1,"bonus":2}'), {"bad-event"}),
    "text for a number": (heartbeat('"1"'), {"bad-event"}),
    "a line beyond the limit": (line(" " * (MAX_LINE_BYTES + 1)), {"bad-event"}),
    "another schema": (started(schema_version=2), {"bad-event"}),
    "another beginning": (line('{"kind":"heartbeat","at_s":0}', 0), {"inconsistent"}),
    "an empty journal": (lambda run: (run / "events.jsonl").write_text(""), {"inconsistent"}),
    "a million lines": (no_lines(journal.MAX_LINES + 1), {"too-many"}),
    "thousands of lines of something else": (line("{}\n" * 5_000), {"bad-event", "too-many"}),
    "an id of another study": (started(run_id="asha-1"), {"run-id"}),
    "a strategy that is a path": (strategy_is_a_path, {"unsafe-name"}),
    "a record that is no JSON": (record_is("{"), {"bad-json"}),
    "a record nested too deeply": (record_is("[" * 200_000), {"bad-json"}),
    "a record with NaN": (record(lambda r: r["costs"].update(elapsed_s=float("nan"))), {"bad-json"}),
    "a record of a million nothings": (record_is(f"[{','.join(['[]'] * 1_000_000)}]"), {"too-large"}),
    "a record with another key": (record(lambda r: r.update(rank=1)), {"record-schema"}),
    "a record of another schema": (record(lambda r: r.update(schema_version=2)), {"record-schema"}),
    "a record with a value of another type": (record(lambda r: r.update(started_s="1")), {"record-schema"}),
    "a record of another journal": (record(lambda r: r.update(journal_sha256="0" * 64)), {"hash-mismatch"}),
    "a journal changed afterwards": (line('{"kind":"heartbeat","at_s":1763683200}', 1), {"inconsistent"}),
    "a cheaper search": (record(cheaper), {"record-differs"}),
    "a better winner": (record(better), {"record-differs"}),
    "a trial left out of the record": (record(lambda r: r["trials"].pop(3)), {"record-differs"}),
    "a record without its winner": (record(lambda r: r.update(winner=None)), {"record-differs"}),
    "a record in another form": (
        lambda run: record_is(json.dumps(json.loads((run / RECORD_NAME).read_text())))(run),
        {"record-differs"},
    ),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_malformed_text_is_found(defect: str, tmp_path: Path) -> None:
    run = copied(tmp_path, "random")
    plant, codes = DEFECTS[defect]
    plant(run)
    assert set(found(run.parent)) == codes


WARNINGS: dict[str, tuple[Plant, str]] = {
    "a cut journal": (cut, "journal-cut"),
    "no record": (lambda run: (run / RECORD_NAME).unlink(), "record-missing"),
}


@pytest.mark.parametrize("defect", WARNINGS)
def test_what_can_be_made_good_is_a_warning(defect: str, tmp_path: Path) -> None:
    run = copied(tmp_path, "random")
    plant, code = WARNINGS[defect]
    plant(run)
    assert not found(run.parent)
    assert code in found(run.parent, "warning")


def test_a_record_that_differs_need_only_be_deleted(tmp_path: Path) -> None:
    run = copied(tmp_path, "random")
    record(cheaper)(run)
    (told,) = (f.sentence for f in check_submission(run).findings if f.code == "record-differs")
    assert told.endswith(": delete record.json, which is enough, since it is made again from the journal.")
    (run / RECORD_NAME).unlink()
    assert not found(run)
    (told,) = (f.sentence for f in check_submission(run).findings if f.code == "record-missing")
    assert told == "There is no record.json: it was made again from the journal in memory, not written."
    assert not (run / RECORD_NAME).exists()


@pytest.mark.parametrize("limit", ["MAX_TRIALS", "MAX_OPEN_GRANTS", "MAX_RESTARTS"])
def test_runs_that_would_take_long_are_not_added_up(
    limit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, limit, 0)
    assert set(found(copied(tmp_path, "random").parent)) == {"too-many"}


def test_strict_json_takes_what_runs_hold() -> None:
    text = '{"a": [1, -2.5, 1e-320, 1000000000000000, true, null, "\\u00e9"], "b": {"c": []}}'
    assert strict_json(text.encode()) == json.loads(text)
