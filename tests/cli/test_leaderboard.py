"""`sweepmark leaderboard` at the command line."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.resources import PACKAGE
from tests.cli.test_cli import call

RESULTS = PACKAGE.parent / "results"


def test_it_prints_boards_and_each_form_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    records = RESULTS / "records"
    assert call("leaderboard", records, monkeypatch=monkeypatch) == 0
    assert "tiny-squad, qa, cpu, measured" in capsys.readouterr().out
    assert call("leaderboard", records, "--json", monkeypatch=monkeypatch) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "Leaderboard"
    assert call("leaderboard", records, "--csv", monkeypatch=monkeypatch) == 0
    assert capsys.readouterr().out.startswith("rank,label,ratio_shown,")
    assert call("leaderboard", records, "--csv", "--json", monkeypatch=monkeypatch) == 2
    assert "Only one of" in capsys.readouterr().err


def test_nothing_to_rank_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("leaderboard", tmp_path / "nowhere", monkeypatch=monkeypatch) == 2
    assert "There is no folder" in capsys.readouterr().err
    assert call("leaderboard", tmp_path, monkeypatch=monkeypatch) == 2
    assert "no run whose search is over" in capsys.readouterr().err
    assert call("leaderboard", "--results", tmp_path, monkeypatch=monkeypatch) == 2
    assert "There are no runs" in capsys.readouterr().err


def test_site_and_files_come_from_one_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(RESULTS / "records", tmp_path / "records")
    site, files, drawn = tmp_path / "site", tmp_path / "files", tmp_path / "drawn"
    options = ("--results", tmp_path, "--site", site, "--write", files, "--svg", drawn)
    assert call("leaderboard", *options, monkeypatch=monkeypatch) == 0
    assert (site / "index.html").is_file()
    assert (files / "leaderboard.csv").is_file()
    assert {path.name for path in drawn.iterdir()} == {
        "tiny-squad-qa-cpu-measured-quality.svg", "tiny-squad-qa-cpu-measured-ratios.svg"
    }  # fmt: skip
    assert all(ElementTree.parse(path).getroot().tag.endswith("svg") for path in drawn.iterdir())
    told = capsys.readouterr()
    assert told.out == ""
    assert str(site / "index.html") in told.err


def test_the_committed_leaderboard_is_that_of_the_committed_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [RESULTS / name for name in ("records", "submissions", "validation")]
    assert call("leaderboard", *folders, "--write", tmp_path, monkeypatch=monkeypatch) == 0
    for path in tmp_path.iterdir():
        assert (RESULTS / path.name).read_bytes() == path.read_bytes(), (
            "write it anew: cd results; sweepmark leaderboard records submissions validation --write ."
        )


NAMES = {
    "manual": "manual grid", "asha-tpe": "ASHA with TPE", "tpe": "TPE", "asha": "ASHA", "random": "random",
    "hyperband": "HyperBand", "bohb": "BOHB", "pbt": "PBT",
}  # fmt: skip


def test_the_readme_says_what_the_committed_leaderboard_says() -> None:
    readme = (PACKAGE.parent / "README.md").read_text(encoding="utf-8")
    with (RESULTS / "leaderboard.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["board"] == "tiny-squad-qa-cpu-measured"]
    assert len(rows) == len(NAMES)
    for row in rows:
        ratio = "1.00" if row["strategy"] == "manual" else row["ratio_shown"]
        number = [f"{float(row[key]):.2f}" for key in ("over_shuffled", "expected_device_min", "cost_ratio")]
        cells = [
            row["rank"],
            NAMES[row["strategy"]],
            ratio,
            number[0],
            f"{float(row['success_rate']):.0%}",
            *number[1:],
        ]
        assert f"| {' | '.join([*cells, format(float(row['eval_loss']), '.4f')])} |" in readme
