"""The command line that runs for real what was simulated."""

from __future__ import annotations

import shlex

from bench.spacefile import space_options
from bench.strategy import load_strategy
from bench.study import Study
from bench.workload import load_workload


def command(study: Study) -> str:
    """The command line that runs a study for real, on the hardware that it was simulated on."""
    named = study.strategy_file or study.strategy
    workload, strategy = load_workload(study.workload), load_strategy(named)
    words = ["sweepmark", "run", "--strategy", named, "--profile", study.profile]
    words += ["--workload", study.workload, "--recipe", study.recipe]
    words += ["--samples", str(study.samples), "--devices", str(study.devices)]
    if study.epochs != workload.epochs:
        words += ["--epochs", str(study.epochs)]
    words += space_options(study.space, workload.search_space)
    if study.model:
        words += ["--model", study.model]
    if study.dataset_name:
        words += ["--dataset", "FILE", "--dataset-name", study.dataset_name]
    for name, value in study.settings.items():
        if value != strategy.settings[name].default:
            words += ["--set", f"{name}={str(value).lower() if isinstance(value, bool) else value}"]
    return shlex.join(words)
