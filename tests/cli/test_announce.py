"""What `submit` and `resume` say of what they submitted, and of a baseline that is missing."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.cli.baseline import command, missing_baseline
from bench.cli.run import RESULTS
from bench.cli.submitter import Submitter, announce
from bench.cluster.jobs import Job, jobs_path
from bench.study import Study
from bench.workload import load_workload
from tests.builders import Run, journal, study
from tests.cluster.watched import folder_of, moved, submit, under_way, write

ASHA = study("asha")
MANUAL = study("manual", devices=1, samples=12)


def test_where_nothing_is_submitted_it_is_said_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(folder_of(tmp_path, ASHA), under_way(ASHA))
    announce(folder, [], as_json=False)
    said = capsys.readouterr().out
    assert said.startswith(f"all that is left of {folder.name} is under way: ")
    assert said.endswith(f" status {folder.name} --results {tmp_path}\n")
    write(folder, moved(journal([Run(losses=[2.0, 1.5])], ASHA), 1e9))
    announce(folder, [], as_json=False)
    said = capsys.readouterr().out
    assert said.startswith(f"{folder.name} is finished: ")
    assert said.endswith(f" report {folder.name} --results {tmp_path} shows it\n")


def test_what_was_submitted_is_told_without_a_word_of_the_baseline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`resume` says no more than this."""
    jobs = [Job(id="7", kind="head", submitted_s=0.0), Job(id="8", kind="worker", tasks=(1, 2), submitted_s=0.0)]
    announce(folder_of(RESULTS, ASHA), jobs, as_json=False)
    said = capsys.readouterr().out
    assert "worker  job 8, 2 tasks\n" in said
    assert "--results" not in said
    assert "baseline" not in said


def test_a_baseline_is_missed_as_long_as_there_is_none_in_any_state(tmp_path: Path) -> None:
    said = missing_baseline(tmp_path, ASHA)
    assert said is not None
    assert said.endswith(f" --results {tmp_path} (or --array)")
    assert missing_baseline(tmp_path, MANUAL) is None, "it is one"
    for other in (replace(MANUAL, seed=1), replace(MANUAL, workload="tiny-squad"), replace(MANUAL, epochs=1)):
        submit(folder_of(tmp_path, other), other, ("5", "serial", 0))
    broken = jobs_path(folder_of(tmp_path, MANUAL).with_name("manual-broken"))
    broken.parent.mkdir(parents=True)
    broken.write_text("{")
    assert missing_baseline(tmp_path, ASHA) == said, "none of these can be compared with"
    folder = folder_of(tmp_path, MANUAL)
    submit(folder, replace(MANUAL, final_epochs=0), ("6", "serial", 0))
    assert missing_baseline(tmp_path, ASHA) is None, "submitted"
    jobs_path(folder).unlink()
    assert missing_baseline(tmp_path, ASHA) == said
    write(folder, under_way(MANUAL))
    assert missing_baseline(tmp_path, ASHA) is None, "under way without SLURM"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"seed": 3, "epochs": 1, "final_epochs": 0, "workload": "bloom560m-squad"},
        {"lr_upper": 3e-4, "bs_choices": (2, 4), "recipe": "workshop", "trial_devices": 2},
        {"wd_choices": (0.0, 0.25), "dataset": Path("pyproject.toml"), "dataset_name": "two words"},
    ],
)
def test_the_command_that_is_suggested_gives_a_baseline_of_this_very_run(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    """What it asks for, read by the command itself, has the search key of the run."""
    from bench.cli.runner import search_key
    from bench.cli.submit import submit as submit_command

    usual = {
        "seed": 0, "workload": None, "recipe": None, "samples": 12, "epochs": None, "final_epochs": None,
        "lr_lower": None, "lr_upper": None, "bs_choices": None, "wd_choices": None, "settings": (), "model": None,
        "dataset": None, "dataset_name": None, "deepspeed": None, "devices": None, "trial_devices": None,
    }  # fmt: skip
    made = Submitter(tmp_path, 2)
    of = made.study(strategy_name="asha", engine=None, profile="v100", **{**usual, **changes})
    of = Study.from_dict(of.to_dict())
    words = shlex.split(command(RESULTS, of))
    words = words[words.index("submit") + 1 :]
    assert "--results" not in words
    assert words[words.index("--workload") + 1] == (changes.get("workload") or "tiny-squad")
    asked = submit_command.make_context("submit", list(words)).params
    options = {name: asked[name] for name in usual}
    manual = Submitter(tmp_path, 1).study(strategy_name="manual", engine=None, profile=asked["profile"], **options)
    assert (search_key(manual), manual.space, manual.seed) == (search_key(of), of.space, of.seed)
    assert manual.final_epochs == of.final_epochs
    if not changes:
        assert load_workload("tiny-squad").epochs == of.epochs
        assert len(words) == 5, "nothing that goes without saying"
