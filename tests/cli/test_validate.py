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
    assert last == "1 run, 0 errors, 2 warnings: accepted."
    assert [line.split()[:2] for line in findings] == [["warning", "no-container"], ["warning", "provisional"]]


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
    assert call("validate", tmp_path, monkeypatch=monkeypatch) == 1
    assert "no-runs" in capsys.readouterr().out
