"""`sweepmark report --svg`: static pictures of the runs given."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from bench.resources import PACKAGE
from tests.cli.test_cli import call
from tests.pictures.drawn import Drawn

RECORDS = PACKAGE.parent / "results" / "records"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Two of the committed runs, under the results as if they had been made here."""
    for strategy in ("asha", "manual"):
        folder = next(RECORDS.glob(f"{strategy}-*"))
        shutil.copytree(folder, tmp_path / "runs" / folder.name)
    return tmp_path


def pictures(folder: Path) -> set[str]:
    for path in folder.iterdir():
        Drawn(path.read_text())
    return {path.name for path in folder.iterdir()}


def test_one_run_has_all_its_pictures(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    into = results / "docs" / "pictures"
    assert call("report", "asha", "--results", results, "--svg", into, "--json", monkeypatch=monkeypatch) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["tables"]
    assert f"Written: {into / 'trace.svg'}" in told.err
    assert pictures(into) == {"trace.svg", "curves.svg", "schedule.svg", "space.svg", "phases.svg"}
    assert "Learning curves: Ray best (ASHA)" in Drawn((into / "curves.svg").read_text()).texts()


def test_several_runs_are_compared(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, again = results / "first", results / "again"
    for into in (first, again):
        assert call("report", "--results", results, "--svg", into, monkeypatch=monkeypatch) == 0
    assert pictures(first) == {"trace.svg", "space.svg", "phases.svg"}
    assert all((first / name).read_bytes() == (again / name).read_bytes() for name in pictures(first))
    assert {"Ray best (ASHA)", "Manual best"} <= set(Drawn((first / "trace.svg").read_text()).texts())


def test_a_record_that_came_alone_or_with_another_journal_has_no_schedule(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asha, manual = sorted((results / "runs").iterdir())
    shutil.copy(manual / "events.jsonl", asha / "events.jsonl")
    assert call("report", asha / "record.json", "--svg", results / "a", monkeypatch=monkeypatch) == 0
    (asha / "events.jsonl").unlink()
    assert call("report", asha / "record.json", "--svg", results / "b", monkeypatch=monkeypatch) == 0
    assert pictures(results / "a") == pictures(results / "b") == {"trace.svg", "curves.svg", "space.svg", "phases.svg"}


def test_mistakes_are_one_sentence(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("report", "--published", "--svg", results / "x", monkeypatch=monkeypatch) == 2
    assert "drop --svg or --published" in capsys.readouterr().err
    (results / "file").write_text("")
    assert call("report", "--results", results, "--svg", results / "file", monkeypatch=monkeypatch) == 2
    assert "name another folder" in capsys.readouterr().err
