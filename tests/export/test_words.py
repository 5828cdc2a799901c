"""Hyperparameters that are words or linear ranges, in every other tool's terms."""

from __future__ import annotations

from pathlib import Path

import optuna

from bench.export.common import Source
from bench.export.mlflow import export_mlflow
from bench.export.optuna import export_optuna
from bench.export.tensorboard import export_tensorboard
from bench.hyperparameters import Value
from bench.space import Choice, SearchSpace, Uniform
from tests.builders import SPACE, Run, journal, study
from tests.export.runs import source
from tests.export.test_tensorboard import hyperparameters

WORDS = SearchSpace(
    (*SPACE.dimensions, Choice("optimizer", ("adamw_torch", "sgd")), Uniform("lora_dropout", 0.0, 0.2, (0.0,)))
)


def worded() -> Source:
    others: list[dict[str, Value]] = [
        {"optimizer": "sgd", "lora_dropout": 0.0},
        {"optimizer": "adamw_torch", "lora_dropout": 0.1},
    ]
    runs = [Run(losses=[3.0, 2.5 - i], others=other) for i, other in enumerate(others)]
    return source(journal(runs, study("asha", space=WORDS)))


def test_optuna_chooses_words_and_draws_from_a_linear_range(tmp_path: Path) -> None:
    run = worded()
    export_optuna(run, tmp_path / "o.db")
    there = optuna.load_study(study_name=run.label, storage=f"sqlite:///{tmp_path / 'o.db'}")
    assert [(t.params["optimizer"], t.params["lora_dropout"]) for t in there.trials] == [
        ("sgd", 0.0), ("adamw_torch", 0.1)
    ]  # fmt: skip
    distributions = there.trials[0].distributions
    assert distributions["optimizer"] == optuna.distributions.CategoricalDistribution(("adamw_torch", "sgd"))
    assert distributions["lora_dropout"] == optuna.distributions.FloatDistribution(0.0, 0.2)


def test_tensorboard_shows_words(tmp_path: Path) -> None:
    export_tensorboard(worded(), tmp_path)
    _, sessions = hyperparameters(tmp_path)
    found = [(s.hparams["optimizer"].string_value, s.hparams["lora_dropout"].number_value) for s in sessions.values()]
    assert sorted(found) == [("adamw_torch", 0.1), ("sgd", 0.0)]


def test_mlflow_has_words_without_quotes(tmp_path: Path) -> None:
    export_mlflow(worded(), tmp_path / "m")
    written = [p.read_text() for p in (tmp_path / "m").rglob("params/optimizer")]
    assert set(written) == {"adamw_torch", "sgd"}
