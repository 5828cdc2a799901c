"""Configurations known beforehand are those that the engine would suggest."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.engines.fixed import fixed
from bench.errors import UserError
from bench.events import TrialCreated
from bench.hyperparameters import Value
from bench.journal import JOURNAL_NAME, read_journal
from bench.record import make_record
from bench.resources import resource_dir
from bench.run import plan_study
from bench.strategy import load_strategy
from bench.study import Study


def recorded(strategy: str) -> tuple[Study, list[dict[str, Value]]]:
    """A study that was run for real under Ray, or in the grid's order, and the configurations of its trials."""
    (folder, *_) = sorted(resource_dir("results").joinpath("validation", "tiny-squad").glob(f"{strategy}-*"))
    created = [event for event in read_journal(folder / JOURNAL_NAME) if isinstance(event, TrialCreated)]
    return make_record(folder).parsed_study(), [event.config for event in created if event.purpose == "search"]


@pytest.mark.parametrize("name", ["manual", "random"])
def test_they_are_those_of_a_recorded_run(name: str) -> None:
    study, configs = recorded(name)
    strategy = load_strategy(name)
    plan = fixed(plan_study(study, strategy), strategy, study.samples)
    assert [dict(config) for config in plan.configs] == configs


@pytest.mark.parametrize("name", ["tpe", "asha", "bohb", "pbt", "hyperband"])
def test_strategies_that_decide_by_results_have_none(name: str) -> None:
    study, _ = recorded("random")
    strategy = load_strategy(name)
    with pytest.raises(UserError, match="decides by results"):
        fixed(plan_study(replace(study, settings=strategy.resolve({})), strategy), strategy, study.samples)
