"""The manual baseline of a run on a cluster: whether it is there in any state, and the command that submits it."""

from __future__ import annotations

import shlex
from pathlib import Path

from bench.cli.output import results_option
from bench.cli.run import BASELINE
from bench.cli.runner import Runner, program, search_key
from bench.cluster.jobs import load_jobs
from bench.errors import UserError
from bench.events import RunStarted
from bench.journal import JOURNAL_NAME, read_journal
from bench.metrics import DEFAULT
from bench.profile import load_profile
from bench.spacefile import space_options
from bench.study import Study
from bench.workload import load_workload


def missing_baseline(results: Path, study: Study) -> str | None:
    """What to say where a study under `results` has no manual baseline, and none is under way; None where it has."""
    if study.strategy == BASELINE or Runner(results).find_baseline(study) is not None:
        return None
    if study.devices_per_trial > load_profile(study.profile).node.devices:
        return None  # a grid's trials cannot have so many
    wanted = (search_key(study), study.space, study.seed)
    for folder in sorted((results / "runs").glob(f"{BASELINE}-*")):
        other = _study_of(folder)
        if other is not None and (search_key(other), other.space, other.seed) == wanted:
            return None
    return f"there is no manual baseline to compare it with yet: {command(results, study)} (or --array)"


def command(results: Path, study: Study) -> str:
    """Submits the manual baseline that the study can be compared with."""
    task, profile = load_workload(study.workload), load_profile(study.profile)
    words = ["submit", BASELINE, "--profile", study.profile, "--workload", study.workload]
    for option, value, default in (
        ("--recipe", study.recipe, "qa"),
        ("--seed", study.seed, 0),
        ("--epochs", study.epochs, task.epochs),
        ("--final-epochs", study.final_epochs, max(task.final_epochs, study.epochs)),
        ("--metric", ",".join(study.metrics), ",".join(DEFAULT)),
        ("--trial-devices", study.devices_per_trial, profile.devices_per_trial),
        ("--model", study.model, None),
        ("--dataset", study.dataset, None),
        ("--dataset-name", study.dataset_name, None),
        ("--deepspeed", study.deepspeed, None),
    ):
        if value != default:
            words += [option, str(value)]
    words += space_options(study.space, task.search_space)
    return f"{program()} {shlex.join(words)}{results_option(results)}"


def _study_of(run_folder: Path) -> Study | None:
    """What a run was submitted or begun with; None where nobody can read it."""
    try:
        if (submitted := load_jobs(run_folder)) is not None:
            return submitted.read_study()
        first = next(iter(read_journal(run_folder / JOURNAL_NAME)), None)
        return Study.from_dict(first.study) if isinstance(first, RunStarted) else None
    except (UserError, ValueError, TypeError, KeyError):
        return None
