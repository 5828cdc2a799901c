"""Trials that fail, strategies from outside, data that cannot be used: for real."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from bench.events import EpochFinished, Note, RunFinished, SearchFinished, TrialEnded
from tests.e2e.driver import QUICK, configs, events, losses, sweepmark
from tests.test_strategy import OWN

pytestmark = pytest.mark.slow


def refusal(stderr: str) -> str:
    """The one sentence after the line that says what is being done."""
    _, sentence = stderr.strip().splitlines()
    return sentence


DIVERGING = ("--lr-lower", "1e6", "--lr-upper", "1e9", "--no-baseline", "--devices", "1", *QUICK)


@pytest.mark.parametrize("strategy", ["bohb", "pbt"])
def test_a_search_in_which_every_trial_diverges_ends_and_says_so(strategy: str, tmp_path: Path) -> None:
    done = sweepmark("run", "--strategy", strategy, *DIVERGING, "--results", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    run = events(tmp_path)
    assert isinstance(run[-1], RunFinished)
    assert next(e for e in run if isinstance(e, SearchFinished)).winner is None
    ends = [e for e in run if isinstance(e, TrialEnded)]
    assert {(e.trial, e.state) for e in ends} == {(f"{n:04d}", "nan") for n in (1, 2, 3, 4)}
    trials = json.loads(done.stdout)["tables"]["trials"]
    assert json.dumps(trials).count('"nan"') >= 4
    if strategy == "pbt":  # failed members stay in the population, ranked last
        assert all(e.eval_loss is None for e in run if isinstance(e, EpochFinished))
        assert any(isinstance(e, Note) and "failed in epoch 1" in e.message for e in run)


def test_a_strategy_of_ones_own_runs_in_the_same_engine(tmp_path: Path) -> None:
    path = tmp_path / "ladder.py"
    path.write_text(OWN)
    small = ("--samples", "2", "--epochs", "1", "--final-epochs", "0", "--no-baseline", "--set", "factor=3")
    done = sweepmark("run", "--strategy", path, *small, "--results", tmp_path / "results")
    assert done.returncode == 0, done.stderr
    rates = [config["learning_rate"] for config in configs(events(tmp_path / "results")).values()]
    assert rates[1] == pytest.approx(3 * rates[0])


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("empty.json", "", "empty.json"),
        ("cut.json", '{"data": [\n  {"paragraphs": [', "line 2"),
        ("keyless.json", '{"data": [{"paragraphs": [{"qas": []}]}]}', "context"),
    ],
)
def test_data_that_cannot_be_used_is_one_sentence_and_leaves_no_run(
    name: str, text: str, words: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text(text)
    done = sweepmark("run", "--strategy", "random", "--no-baseline", "--dataset", path, "--results", tmp_path / "r")
    assert done.returncode == 2
    assert words in refusal(done.stderr)
    assert not list((tmp_path / "r").glob("runs/*/events.jsonl"))


def test_a_full_disk_ends_in_one_sentence_and_loses_nothing(tmp_path: Path) -> None:
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", tmp_path], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.decode().strip()}")
    try:
        args = ("run", "--strategy", "random", "--no-baseline", "--epochs", "4", "--samples", "2",
                "--final-epochs", "0", "--results", tmp_path)  # fmt: skip
        full = sweepmark(*args)
        assert full.returncode == 2, full.stderr
        assert "No space left" in full.stderr
        assert "Traceback" not in full.stderr
        before = losses(events(tmp_path))
        assert before
        subprocess.run(["mount", "-o", "remount,size=200m", tmp_path], check=True)
        done = sweepmark(*args)
        assert done.returncode == 0, done.stderr
        after = losses(events(tmp_path))
        assert len(after) == 8
        assert before.items() <= after.items()
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_model_folder_that_holds_no_model_is_one_sentence(tmp_path: Path) -> None:
    done = sweepmark("run", "--strategy", "random", "--no-baseline", "--model", tmp_path, "--results", tmp_path / "r")
    assert done.returncode == 2
    assert f"There is no config.json in {tmp_path}" in refusal(done.stderr)
