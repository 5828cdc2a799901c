"""A run's search space by name: from the option to the study, the report, the status and a stranger's check of it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bench.cli import cli
from bench.cli.runner import Runner
from bench.cli.submitter import prepare
from bench.record import record_run
from bench.run import run_folder
from bench.study import Study
from bench.submission.findings import Findings
from bench.submission.study import parse_study
from tests.builders import study

MINE = """schema_version = 1
name = "slow and wide"
summary = "of a test"
[space.learning_rate]
log_uniform = [3e-4, 4e-3]
"""
ENOUGH = ["run", "--engine", "virtual", "--curves", "tiny-squad", "--profile", "cpu", "--samples", "3"]


@pytest.fixture
def mine(tmp_path: Path) -> str:
    path = tmp_path / "mine.toml"
    path.write_text(MINE, encoding="utf-8")
    return str(path)


def invoked(*words: object) -> Result:
    result = CliRunner().invoke(cli, [*map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def run(results: Path, *words: object) -> Result:
    return invoked(*ENOUGH, "--results", results, *words)


def runs(results: Path, strategy: str) -> list[Path]:
    return sorted((results / "runs").glob(f"{strategy}-*"))


def test_a_runs_space_is_named_wherever_the_run_is_told_of(tmp_path: Path, mine: str) -> None:
    results = tmp_path / "results"
    told = run(results, "--strategy", "random", "--space", mine)
    assert "space: slow and wide" in " ".join(told.output.split())
    (folder,) = runs(results, "random")
    assert record_run(folder).study["space_name"] == "slow and wide"
    assert "space slow and wide" in " ".join(invoked("status", folder.name, "--results", results).output.split())
    assert json.loads(invoked("status", folder, "--json").output)["space_name"] == "slow and wide"
    shutil.copytree(results / "runs", tmp_path / "submission")
    invoked("validate", tmp_path / "submission")
    Path(mine).unlink()
    for command in ("report", "resume"):
        assert "space: slow and wide" in " ".join(invoked(command, folder).output.split())
    assert runs(results, "random") == [folder]


def test_what_is_submitted_has_its_spaces_name(tmp_path: Path) -> None:
    options = dict.fromkeys(("epochs", "final_epochs", "lr_lower", "lr_upper", "bs_choices", "wd_choices", "model"))
    options |= dict.fromkeys(("dataset", "dataset_name", "deepspeed", "devices", "workload", "recipe"))
    for space in ("lora", None):
        _, submitted = prepare(
            "random", tmp_path, nodes=None, array=None, site=None, account=None, partition=None, limit="01:00:00",
            options=options | {"space": space, "profile": "v100", "seed": 0, "samples": 3, "settings": ()},
        )  # fmt: skip
        assert submitted.read_study().space_name == space


@pytest.mark.parametrize(("name", "good"), [("lora", True), ("<b>", False), (3, False), ("x" * 61, False)])
def test_a_strangers_space_is_called_like_one(name: object, good: bool) -> None:
    findings = Findings()
    parsed = parse_study(study("asha").to_dict() | {"space_name": name}, "events.jsonl", findings)
    assert (parsed is not None) == good
    assert [f.code for f in findings] == ([] if good else ["bad-study"])


def test_a_baseline_is_found_whatever_its_space_was_called(tmp_path: Path, mine: str) -> None:
    results = tmp_path / "results"
    run(results, "--strategy", "manual", "--space", mine)
    (manual,) = runs(results, "manual")
    before = (manual / "record.json").read_bytes()
    Path(mine).write_text(MINE.replace("slow and wide", "other"), encoding="utf-8")
    told = run(results, "--strategy", "random", "--space", mine)
    assert runs(results, "manual") == [manual]
    assert (manual / "record.json").read_bytes() == before
    assert f"{manual.name} is complete" in told.stderr
    searched = Study.from_dict(record_run(runs(results, "random")[0]).study)
    assert searched.space_name == "other"
    found = Runner(results).find_baseline(searched)
    assert found is not None
    assert found.run_id == manual.name


def test_a_run_without_a_space_is_called_as_ever(tmp_path: Path) -> None:
    results = tmp_path / "results"
    told = run(results, "--strategy", "random", "--no-baseline")
    assert "space:" not in told.output
    (folder,) = runs(results, "random")
    own = Study.from_dict(record_run(folder).study)
    assert "space_name" not in own.to_dict()
    assert run_folder(results, own) == folder
    assert run_folder(results, replace(own, space_name="lora")) != folder
