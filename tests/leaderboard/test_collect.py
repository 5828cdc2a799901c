"""Finding runs in folders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.events import Event
from bench.journal import JOURNAL_NAME, encode
from bench.leaderboard import collect
from bench.record import RECORD_NAME, record_run
from tests.builders import Run, journal, study

RUNS = [Run(losses=[5.0, 4.0])]


def save(folder: Path, events: list[Event] | None = None, *, record: bool = True) -> Path:
    folder.mkdir(parents=True)
    lines = [encode(event) for event in events or journal(RUNS)]
    (folder / JOURNAL_NAME).write_text("".join(f"{line}\n" for line in lines))
    if record:
        record_run(folder)
    return folder


def test_runs_are_found_at_any_depth_and_hidden_folders_are_not(tmp_path: Path) -> None:
    save(tmp_path / "a" / "b" / "run", journal(RUNS, study(seed=1)))
    save(tmp_path / "run", journal(RUNS, study(seed=2)), record=False)
    save(tmp_path / ".cache" / "run", journal(RUNS, study(seed=3)))
    assert {f.record.study["seed"] for f in collect([tmp_path])} == {1, 2}


def test_a_record_without_a_journal_is_a_run(tmp_path: Path) -> None:
    folder = save(tmp_path / "run")
    (folder / JOURNAL_NAME).unlink()
    (one,) = collect([folder])
    assert one.journal is None
    assert one.record.status == "finished"


def test_the_journal_counts_where_the_record_is_of_another(tmp_path: Path) -> None:
    folder = save(tmp_path / "run")
    longer = journal([*RUNS, Run(losses=[5.0, 3.0])])
    (folder / JOURNAL_NAME).write_text("".join(f"{encode(event)}\n" for event in longer))
    (one,) = collect([tmp_path])
    assert len(one.record.search_trials) == 2


def test_a_run_in_two_places_is_found_once_and_two_of_one_id_have_two_names(tmp_path: Path) -> None:
    save(tmp_path / "a")
    save(tmp_path / "b")
    save(tmp_path / "c", journal(RUNS, speed=2.0))
    names = [f.name for f in collect([tmp_path, tmp_path / "a"])]
    assert len(names) == len(set(names)) == 2
    assert names[1] == f"{names[0]}-2"


@pytest.mark.parametrize("run_id", ["../../etc/passwd", "<script>", "", "a/b", "CON\n", "é" * 400, ".hidden"])
def test_any_id_makes_a_safe_name(tmp_path: Path, run_id: str) -> None:
    folder = save(tmp_path / "run", record=False)
    path = folder / JOURNAL_NAME
    own = study().run_id()
    lines = path.read_text().splitlines()
    first = json.loads(lines[0]) | {"run_id": run_id}
    path.write_text("\n".join([json.dumps(first), *lines[1:]]) + "\n")
    (one,) = collect([tmp_path])
    assert own not in one.name
    assert one.name
    assert set(one.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-")
    assert one.name[0].isalnum()
    assert len(one.name) <= 120


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no folder"):
        collect([tmp_path / "nowhere"])


def test_a_broken_record_is_named(tmp_path: Path) -> None:
    folder = save(tmp_path / "run")
    (folder / JOURNAL_NAME).unlink()
    (folder / RECORD_NAME).write_text("{")
    with pytest.raises(UserError, match=r"run/record\.json"):
        collect([tmp_path])
