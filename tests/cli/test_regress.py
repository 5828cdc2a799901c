"""`sweepmark regress` at the command line."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from bench.cli.regress import REFERENCES
from bench.regress.reference import encode_reference, load_reference
from bench.regress.sought import DEFAULT
from bench.resources import resource_dir
from bench.space import SearchSpace
from tests.cli.test_cli import call
from tests.regress import planted

SMALL = """schema_version = 1
[[study]]
name = "small"
curves = "tiny-squad"
profile = "cpu"
strategies = ["asha"]
seeds = [0, 1]
samples = 4
epochs = 3
"""
REASON = "The first ones"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """References of two virtual runs, made by the command itself."""
    own = tmp_path / "reference"
    own.mkdir()
    shutil.copy(planted.REFERENCES / "tolerances.toml", own)
    (own / "studies.toml").write_text(SMALL)
    assert update(own, monkeypatch, REASON) == 0
    return own


def update(folder: Path, monkeypatch: pytest.MonkeyPatch, reason: str, *more: str | Path) -> int:
    return call(
        "regress", "--update", "--references", folder, "--reason", reason, "--jobs", "1", *more, monkeypatch=monkeypatch
    )


def spoil(path: Path) -> None:
    """A reference that the code does not meet."""
    was = load_reference(path)
    runs = (replace(was.runs[0], eval_loss=1.01 * (was.runs[0].eval_loss or 0)), *was.runs[1:])
    path.write_bytes(encode_reference(replace(was, runs=runs)))


def test_unmoved_passes_in_every_form(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert call("regress", folder, "--jobs", "1", monkeypatch=monkeypatch) == 0
    assert "Regression gate passed: 8 same." in capsys.readouterr().out
    xml, markdown = tmp_path / "r.xml", tmp_path / "r.md"
    args = (folder, "--jobs", "1", "--json", "--junit", xml, "--markdown", markdown)
    assert call("regress", *args, monkeypatch=monkeypatch) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"] == "passed"
    assert {f["verdict"] for f in told["findings"]} == {"same"}
    suites = ElementTree.parse(xml).getroot()
    assert suites.attrib | {"tests": "8", "failures": "0", "errors": "0", "skipped": "0"} == suites.attrib
    assert markdown.read_text().startswith("## Regression gate: passed")


def test_what_moved_fails_in_every_form(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(folder / "small-asha.json")
    capsys.readouterr()
    xml, markdown = tmp_path / "r.xml", tmp_path / "r.md"
    markdown.write_text("# Before\n")
    args = ("regress", folder, "--jobs", "1", "--junit", xml, "--markdown", markdown)
    assert call(*args, monkeypatch=monkeypatch) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "The winner's loss moved in 1 of 2 seeds, most in seed 0" in out
    assert "nats (-1.0 %)" in out
    assert "What is meant is accepted with" in out
    suites = ElementTree.parse(xml).getroot()
    assert suites.get("failures") == "1"
    (case,) = (c for c in suites.iter("testcase") if c.find("failure") is not None)
    assert (case.get("classname"), case.get("name")) == ("regress.small-asha", "eval_loss")
    failure = case.find("failure")
    assert failure is not None
    assert "seed 0" in (failure.get("message") or "")
    text = markdown.read_text()
    assert text.startswith("# Before\n## Regression gate: failed")
    assert r"| **small-asha** | **eval\_loss** |" in text
    assert call(*args[:-4], "--json", monkeypatch=monkeypatch) == 1
    assert json.loads(capsys.readouterr().out)["verdict"] == "failed"


def test_measured_runs_from_their_journals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Passed, dearer by 5 %, too few, and nothing in common."""
    rng = np.random.default_rng(7)
    for name, count, cost in (("base", 20, 1.0), ("same", 5, 1.0), ("dearer", 5, 1.05), ("few", 2, 1.0)):
        for number in range(count):
            planted.write_run(tmp_path / name / str(number), planted.noisy_journal(rng, cost=cost))
    planted.write_run(tmp_path / "other" / "0", planted.noisy_journal(rng, samples=5))
    codes = {
        name: call("regress", tmp_path / "base", tmp_path / name, monkeypatch=monkeypatch)
        for name in ("same", "dearer", "few", "other")
    }
    assert codes == {"same": 0, "dearer": 1, "few": 2, "other": 2}
    out = " ".join(capsys.readouterr().out.split())
    assert "Allocated time rose by 5" in out
    assert "6 tests of measured runs share a false-alarm rate of 0.01" in out
    once = "Cannot be judged: 2 new runs against 20 (15 for the losses of its trials, since every fourth is what losses"
    assert out.count(once) == out.count("Cannot be judged: 2 new runs") == 1
    assert "what was found is 1 run of another study, where samples was 4, is 5;" in out
    assert "accepted with" not in out  # runs are no references to be renewed


def test_runs_that_happen_to_be_there_do_not_fail_the_gate(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(planted.MEASURED, folder)
    study = planted.recorded().study
    runs = tmp_path / "results" / "runs"
    rng = np.random.default_rng(8)
    fields = {key: study[key] for key in ("settings", "epochs", "final_epochs", "devices")}
    space = SearchSpace.from_dict(study["space"])
    planted.write_run(runs / "0", planted.noisy_journal(rng, space=space, **fields))
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    assert call("regress", folder, "--jobs", "1", monkeypatch=monkeypatch) == 0
    assert "another machine" in capsys.readouterr().out.replace("\n", " ")
    assert call("regress", folder, "--jobs", "1", "--runs", runs, monkeypatch=monkeypatch) == 2


def test_named_runs_that_match_no_reference_are_status_2(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As after a drift of the options in CI: nothing is green that nothing was compared with."""
    rng = np.random.default_rng(10)
    for number in range(20):
        planted.write_run(tmp_path / "base" / str(number), planted.noisy_journal(rng))
    (tmp_path / "empty").mkdir()
    planted.write_run(tmp_path / "drifted" / "0", planted.noisy_journal(rng, samples=5))
    gate = ("regress", folder, "--jobs", "1", "--runs")
    capsys.readouterr()
    assert call(*gate, tmp_path / "drifted", monkeypatch=monkeypatch) == 2
    told = capsys.readouterr().err
    assert "holds no measured reference" in told
    assert f"--references {folder} --runs" in told
    assert update(folder, monkeypatch, "Ours", "--runs", tmp_path / "base", "measured-ours") == 0
    for name, found in (
        ("empty", "what was found is nothing;"),
        ("drifted", "what was found is 1 run of another study, where samples was 4, is 5;"),
        ("base", "what was found is 20 runs that the reference holds already;"),
    ):
        capsys.readouterr()
        assert call(*gate, tmp_path / name, "--json", monkeypatch=monkeypatch) == 2
        (untold,) = (f for f in json.loads(capsys.readouterr().out)["findings"] if f["verdict"] != "same")
        assert (untold["study"], untold["verdict"]) == ("measured-ours", "cannot tell")
        wanted = "finished runs of asha on tiny-squad, qa, cpu (4 trials, 2 epochs) were looked for in"
        assert f"{wanted} {tmp_path / name}, and {found}" in untold["detail"]
        assert call("regress", folder / "measured-ours.json", tmp_path / name, monkeypatch=monkeypatch) == 2
    monkeypatch.chdir(tmp_path)  # no results/runs there: nobody asked for any
    assert call("regress", folder, "--jobs", "1", monkeypatch=monkeypatch) == 0


def test_the_remedy_names_the_folder_of_the_references(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(folder / "small-asha.json")
    capsys.readouterr()
    monkeypatch.setenv("COLUMNS", "1000")
    assert call("regress", folder, "--jobs", "1", monkeypatch=monkeypatch) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert f'`sweepmark regress --update --reason "why" --references {folder}`' in out
    assert DEFAULT == REFERENCES, "needs no naming"
    moved = folder.parent / REFERENCES
    moved.parent.mkdir()
    folder.rename(moved)
    monkeypatch.chdir(folder.parent)
    assert call("regress", "--jobs", "1", monkeypatch=monkeypatch) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert '`sweepmark regress --update --reason "why"`' in out
    assert "that came with" not in out


def test_it_says_whose_references_it_used(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder.parent)

    def own(name: str) -> Path:
        return folder if name == "results/reference" else resource_dir(name)

    monkeypatch.setattr("bench.resources.resource_dir", own)
    capsys.readouterr()
    assert call("regress", "--jobs", "1", monkeypatch=monkeypatch) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "There is no results/reference here: compared with the references that came with Sweepmark, in" in out


@pytest.mark.parametrize("option", ["--junit", "--markdown"])
def test_a_mistyped_folder_is_not_made(
    option: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "missing" / "dir" / "r.xml"
    capsys.readouterr()
    assert call("regress", folder, "--jobs", "1", option, path, monkeypatch=monkeypatch) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert " ".join(told.err.split()).endswith(
        f"Cannot write {path} (No such file or directory): give another {option}."
    )
    assert not (tmp_path / "missing").exists()


def test_update_keeps_the_reasons_and_leaves_what_did_not_change(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, history = folder / "small-asha.json", folder / "history.json"
    good = path.read_bytes()
    assert load_reference(path).reason == REASON
    assert update(folder, monkeypatch, "again") == 0
    assert "Nothing changed" in capsys.readouterr().out
    assert path.read_bytes() == good
    spoil(path)
    assert update(folder, monkeypatch, "  The loss is what it should be ") == 0
    assert "small-asha: eval_loss: The winner's loss moved" in capsys.readouterr().out
    first, second = json.loads(history.read_text())
    assert (first["reason"], second["reason"]) == (REASON, "The loss is what it should be")
    assert list(second["changed"]) == ["small-asha"]
    assert {p.name for p in folder.iterdir()} == {"history.json", "small-asha.json", "studies.toml", "tolerances.toml"}
    assert call("regress", folder, "--jobs", "1", monkeypatch=monkeypatch) == 0


def test_a_measured_reference_is_made_from_runs(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(9)
    for number in range(4):
        planted.write_run(tmp_path / "repeats" / str(number), planted.noisy_journal(rng))
    assert update(folder, monkeypatch, "Our machine", "--runs", tmp_path / "repeats", "measured-ours") == 0
    made = load_reference(folder / "measured-ours.json")
    assert (made.kind, len(made.runs), made.reason) == ("measured", 4, "Our machine")
    assert made.machine == {"gpus": [], "cpu_model": "a processor", "cpus": 2}
    assert update(folder, monkeypatch, "Our machine", "measured-ours") == 2
    assert "--runs" in capsys.readouterr().err


def test_nothing_is_half_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(folder / "small-asha.json")
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    written = 0

    def full(descriptor: int) -> None:
        nonlocal written
        del descriptor
        written += 1
        if written == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("bench.files.os.fsync", full)
    assert update(folder, monkeypatch, "why") == 2
    assert "No space left on device" in capsys.readouterr().err
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    (folder / "history.json").write_text("{")
    assert update(folder, monkeypatch, "why") == 2
    assert "cannot be read" in capsys.readouterr().err
    assert (folder / "small-asha.json").read_bytes() == before["small-asha.json"]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--update",), "--update needs --reason"),
        (("--update", "--reason", " ", "--references", "."), "--reason is empty"),
        (("--update", "--reason", "x", "--references", "nowhere"), "There is no folder nowhere"),
        (("--update", "--reason", "x", "--json"), "means nothing beside --update"),
        (("--reason", "x"), "belongs to --update"),
        (("nowhere",), "is no folder with references"),
        (("nowhere", "elsewhere"), "does not exist"),
        (("a", "b", "c"), "3 paths were given"),
        (("a", "b", "--jobs", "2"), "means nothing beside NEW"),
        (("a", "b", "--runs", "c"), "means nothing beside NEW"),
        ((".", "--runs", "nowhere"), "is no folder"),
    ],
)
def test_misuse_is_one_sentence(
    args: tuple[str, ...],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("regress", *args, monkeypatch=monkeypatch) == 2
    told = capsys.readouterr().err
    assert words in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("not JSON", "is not a reference"),
        ("{}", "is not a reference"),
        ('{"schema_version": 1, "extra": 1}', "is not a reference"),
    ],
)
def test_a_spoiled_reference_is_refused(
    text: str, words: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "small-asha.json").write_text(text)
    assert call("regress", folder, "--jobs", "1", monkeypatch=monkeypatch) == 2
    assert words in capsys.readouterr().err
