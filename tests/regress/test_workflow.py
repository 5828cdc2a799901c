"""The workflow file that docs/regress.md hands out: it parses, and what it calls exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from bench.cli import cli

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / "docs" / "workflows" / "sweepmark-regress.yml"


@pytest.fixture
def jobs() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text())["jobs"]
    return found


def commands(jobs: dict[str, Any]) -> list[list[str]]:
    """Every line of shell that runs, and the one that a comment recommends."""
    lines = [line for job in jobs.values() for step in job["steps"] for line in step.get("run", "").splitlines()]
    lines += re.findall(r"^ *# +(sweepmark .*)$", WORKFLOW.read_text(), flags=re.MULTILINE)
    return [shlex.split(line) for line in lines]


def test_every_step_runs_or_uses_something(jobs: dict[str, Any]) -> None:
    assert set(jobs) == {"virtual", "measured"}
    for job in jobs.values():
        assert {"runs-on", "timeout-minutes", "steps"} <= set(job)
        assert all(("run" in step) != ("uses" in step) for step in job["steps"])


def test_its_commands_and_options_exist(jobs: dict[str, Any]) -> None:
    called = [words for words in commands(jobs) if words[0].endswith("sweepmark")]
    assert sorted(words[1] for words in called) == ["regress", "regress", "regress", "run"]
    for _, name, *args in called:
        cli.commands[name].make_context(name, args)  # raises where an option or value is not valid


def test_its_targets_exist(jobs: dict[str, Any]) -> None:
    targets = {words[1] for words in commands(jobs) if words[0] == "make"}
    assert targets == {"setup"}
    makefile = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{target}:", makefile, flags=re.MULTILINE) for target in targets)
