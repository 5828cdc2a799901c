"""`--metric` and `--pareto` on the command line: what is optimised, what is refused, and a front of a finished run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from bench.resources import PACKAGE
from tests.cli.test_cli import call
from tests.pictures.drawn import Drawn

RECORDS = PACKAGE.parent / "results" / "records"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--strategy", "asha", "--metric", "eval_loss,samples_per_s"), "takes several (manual, random, tpe)"),
        (("--strategy", "pbt", "--metric", "trial_device_min"), "none has a cost of its own"),
        (("--strategy", "tpe", "--metric", "memory_mib"), "is not in the curves"),
        (("--strategy", "tpe", "--metric", "memory"), "did you mean 'memory_mib'"),
        (("--strategy", "tpe", "--trials-per-device", "2"), "cannot be had in virtual time"),
    ],
)
def test_what_cannot_be_optimised_is_one_sentence(
    words: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert call("run", "--engine", "virtual", *words, "--results", tmp_path, monkeypatch=monkeypatch) == 2
    told = capsys.readouterr().err.strip()
    assert said in told
    assert "\n" not in told
    assert not any(tmp_path.iterdir())


def test_a_run_by_speed_has_a_baseline_by_speed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--samples", "3", "--epochs", "1", "--final-epochs", "0", "--metric", "samples_per_s", "--json")
    options = ("--strategy", "random", "--engine", "virtual", "--results", tmp_path)
    assert call("run", *options, *words, monkeypatch=monkeypatch) == 0
    tables = json.loads(capsys.readouterr().out)["tables"]
    grid, own = tables["target"]["rows"]
    assert grid["target"] == own["target"] > 500, "samples/s"
    assert {path.name.split("-")[0] for path in (tmp_path / "runs").iterdir()} == {"manual", "random"}


def test_the_front_of_a_committed_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = next(RECORDS.glob("random-*"))
    shutil.copytree(folder, tmp_path / "runs" / folder.name)
    asked = ("report", "random", "--results", tmp_path, "--pareto", "eval_loss,samples_per_s")
    assert call(*asked, "--svg", tmp_path / "svg", "--json", monkeypatch=monkeypatch) == 0
    front = json.loads(capsys.readouterr().out)["tables"]["pareto"]["rows"]
    assert [row["eval_loss"] for row in front] == sorted(row["eval_loss"] for row in front)
    assert [row["samples_per_s"] for row in front] == sorted(row["samples_per_s"] for row in front)
    assert "on the front" in Drawn((tmp_path / "svg" / "pareto.svg").read_text()).texts()
    (tmp_path / "runs" / folder.name / "events.jsonl").unlink()
    record = tmp_path / "runs" / folder.name / "record.json"
    assert call("report", record, *asked[2:], monkeypatch=monkeypatch) == 2
    assert "--pareto reads it" in capsys.readouterr().err
