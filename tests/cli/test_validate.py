"""`sweepmark validate` at the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_cli import call
from tests.submission.forgeries import EPOCH, first, study
from tests.submission.planted import OWN_DATA, copied, forge


def test_a_sound_submission_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = copied(tmp_path, "random").parent
    assert call("validate", root, monkeypatch=monkeypatch) == 0
    *findings, last = capsys.readouterr().out.splitlines()
    assert last == "1 run, 0 errors, 3 warnings: accepted."
    assert [line.split()[:2] for line in findings] == [
        ["warning", "no-statement"],
        ["warning", "no-container"],
        ["warning", "provisional"],
    ]


def test_a_finding_is_a_line_and_the_exit_status_is_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = forge(copied(tmp_path, "random"), first(EPOCH, eval_loss=-0.5))
    assert call("validate", run.parent, monkeypatch=monkeypatch) == 1
    lines = capsys.readouterr().out.splitlines()
    told = [line for line in lines if line.startswith("error    negative-loss ")]
    assert len(told) == 1
    assert f"{run.name}/events.jsonl:" in told[0]
    assert lines[-1].endswith(": not accepted.")
    assert call("validate", run.parent, "--json", monkeypatch=monkeypatch) == 1
    verdict = json.loads(capsys.readouterr().out)
    assert (verdict["schema_version"], verdict["runs"]) == (1, 1)
    assert verdict["errors"] == sum(f["level"] == "error" for f in verdict["findings"])


def test_warnings_that_runs_share_are_a_line_and_errors_come_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copied(tmp_path, "asha")
    copied(tmp_path, "bohb")
    forge(copied(tmp_path, "random"), first(EPOCH, eval_loss=-0.5))
    (run.parent / "notes.txt").touch()  # found before anything else is
    assert call("validate", run.parent, monkeypatch=monkeypatch) == 1
    *findings, last = capsys.readouterr().out.splitlines()
    levels = [line.split()[0] for line in findings]
    assert levels == sorted(levels, reverse=True)
    assert set(levels) == {"warning", "error"}
    (container,) = (line for line in findings if "no-container" in line)
    assert f"  3 runs, first {run.name}/events.jsonl:1: No container's digest" in container
    assert last.endswith(", 7 warnings: not accepted."), "all are counted: 3 containers, 3 rows, 1 statement"
    assert call("validate", run.parent, "--json", monkeypatch=monkeypatch) == 1
    verdict = json.loads(capsys.readouterr().out)
    assert sum(f["code"] == "no-container" for f in verdict["findings"]) == 3


def test_a_better_loss_than_known_needs_the_flag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = forge(copied(tmp_path, "tpe-tiny-squad-qa-cpu-s1", OWN_DATA), first(EPOCH, eval_loss=0.1))
    assert call("validate", run.parent, monkeypatch=monkeypatch) == 1
    assert "lower than any known" in capsys.readouterr().out
    assert call("validate", run.parent, "--accept-best", monkeypatch=monkeypatch) == 0
    assert "warning  best-known" in capsys.readouterr().out


def test_text_of_strangers_is_shown_as_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = forge(copied(tmp_path, "random"), study(strategy="<script>"))
    (run / "\x1b[31m\u202egpj.exe").touch()
    call("validate", run.parent, monkeypatch=monkeypatch)
    out = capsys.readouterr().out
    assert "'<script>' is not one of the suite's" in out
    assert out.replace("\n", "").isprintable()


def test_no_folder_is_the_users_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("validate", tmp_path / "nowhere", monkeypatch=monkeypatch) == 2
    assert "There is no folder" in capsys.readouterr().err
    (tmp_path / "README.md").touch()
    assert call("validate", tmp_path / "README.md", monkeypatch=monkeypatch) == 2
    assert "README.md is a file: give the folder" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    assert call("validate", "", monkeypatch=monkeypatch) == 2
    assert "The path is empty" in capsys.readouterr().err
    assert call("validate", tmp_path, monkeypatch=monkeypatch) == 1
    assert "no-runs" in capsys.readouterr().out
