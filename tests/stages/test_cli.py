"""`sweepmark stages`: what it refuses, what it shows again, and one row for real."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.stages.result import FILE_NAME, Stages, StagesStudy, save
from bench.zero import shardings
from tests.cli.test_cli import call
from tests.stages.rows import measured, row


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--only zero4", f"--only zero4 names no row: the rows are {', '.join(s.name for s in shardings())}."),
        ("--workload tiny", "did you mean 'tiny-squad'"),
        ("--recipe qq", "There is no recipe 'qq'"),
        ("--profile v100", "Profile v100 needs"),
        ("--profile cpu --trial-devices 99", "--trial-devices 99 cannot be had: profile cpu has"),
        ("--profile cpu --epochs 99", "give --epochs up to 15"),
        ("--model /no/such", "--model /no/such does not exist"),
        ("--nodes 2", "--nodes is for jobs on a cluster alone: add --submit"),
        ("--site x.toml", "--site is for jobs on a cluster alone"),
        ("--json --csv", "Only one of --json, --csv and --markdown"),
        ("--show /no/such", "Cannot read /no/such"),
        ("--show such", "There is no measurement 'such' in "),
        ("--rendezvous /no/such", "There is no plan in /no/such"),
    ],
)
def test_a_mistake_is_one_sentence(
    words: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bench.stages.node.PLAN_S", 0.1)
    assert call("stages", *words.split(), "--results", tmp_path, monkeypatch=monkeypatch) == 2
    said = capsys.readouterr().err
    assert told in said
    assert len(said.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_what_was_measured_is_shown_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save(measured([row("plain"), row("zero1")]), tmp_path / FILE_NAME)
    assert call("stages", "--show", tmp_path, "--json", "--svg", tmp_path / "svg", monkeypatch=monkeypatch) == 0
    assert json.loads(capsys.readouterr().out)["facts"]["recommended"] == "plain"
    assert [path.name for path in (tmp_path / "svg").iterdir()] == ["memory-host.svg"]
    assert call("stages", "--show", tmp_path / FILE_NAME, monkeypatch=monkeypatch) == 0
    assert "Training and evaluation" in capsys.readouterr().out


def test_a_name_alone_is_looked_for_under_the_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "stages" / "tiny-1"
    folder.mkdir(parents=True)
    save(measured([row("plain")]), folder / FILE_NAME)
    assert call("stages", "--show", "tiny-1", "--results", tmp_path, monkeypatch=monkeypatch) == 0
    assert "Training and evaluation" in capsys.readouterr().out
    assert call("stages", "--show", "tiny-2", "--results", tmp_path, monkeypatch=monkeypatch) == 2
    assert "did you mean 'tiny-1'?" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path / "stages")
    assert call("stages", "--show", "tiny-1", monkeypatch=monkeypatch) == 0
    assert [path.name for path in folder.iterdir()] == [FILE_NAME], "showing writes nothing"


@pytest.mark.parametrize(("whole", "status"), [(True, 0), (False, 130)])
def test_pictures_lie_beside_what_is_kept_and_the_way_to_see_it_again_is_told(
    whole: bool, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure_here(study: StagesStudy, results: Path, **_: object) -> tuple[Stages, Path, bool]:
        folder = results / "stages" / study.name()
        folder.mkdir(parents=True)
        found = measured([row("plain")], study)
        save(found, folder / FILE_NAME)
        return found, folder, whole

    monkeypatch.setattr("bench.stages.here.measure_here", measure_here)
    monkeypatch.setattr("bench.cli.runner.program", lambda: "bin/sweepmark")
    words = ("stages", "--profile", "cpu", "--only", "plain", "--results", tmp_path, "--svg", tmp_path / "more")
    assert call(*words, monkeypatch=monkeypatch) == status
    (folder,) = (tmp_path / "stages").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["memory-host.svg", FILE_NAME]
    assert (tmp_path / "more" / "memory-host.svg").exists() == whole
    again = next(line for line in capsys.readouterr().err.splitlines() if line.startswith("Kept in "))
    assert again.endswith(f": bin/sweepmark stages --show {folder.name} --results {tmp_path}")
    assert call(*again.split("bin/sweepmark ")[1].split(), monkeypatch=monkeypatch) == 0


def test_without_slurm_a_submission_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert call("stages", "--submit", "--profile", "v100", "--results", tmp_path, monkeypatch=monkeypatch) == 2
    assert "There is no SLURM here" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_one_row_for_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("stages", "--profile", "cpu", "--epochs", "1", "--only", "plain", "--results", tmp_path, "--csv")
    assert call(*words, monkeypatch=monkeypatch) == 0
    heard = capsys.readouterr()
    header, line = heard.out.splitlines()
    assert header == "row,train_loss,eval_loss_1,train_samples_per_s,eval_samples_per_s,steps_per_epoch"
    assert line.startswith("plain,")
    assert line.endswith(",125")
    (folder,) = (tmp_path / "stages").iterdir()
    assert f"stages --show {folder.name} --results {tmp_path}" in heard.err
    assert heard.err.index("Training plain (1 of 1)") < heard.err.index("plain: eval loss")
    assert sorted(path.name for path in folder.iterdir()) == ["memory-host.svg", FILE_NAME]
