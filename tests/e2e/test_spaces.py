"""A search over LoRA's hyperparameters for real, and a population that copies weights which have adapters."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.events import EpochFinished, FinalScored, TrialReconfigured
from bench.record import RECORD_NAME, load_record
from tests.e2e.driver import configs, events, journal_path, sweepmark

pytestmark = pytest.mark.slow

MIXED = """
schema_version = 1
name = "mixed"
summary = "words and adapters"
[space.batch_size]
choice = [16]
[space.optimizer]
choice = ["adamw_torch", "adafactor"]
[space.lora_rank]
choice = [2, 4]
[space.precision]
choice = ["fp32", "bf16", "fp16"]
"""


def test_lora_is_searched_retrained_and_validated(tmp_path: Path) -> None:
    few = ("--samples", "2", "--epochs", "1", "--final-epochs", "1", "--no-baseline", "--devices", "1")
    done = sweepmark("run", "--strategy", "random", "--space", "lora", *few, "--results", tmp_path)
    assert done.returncode == 0, done.stderr
    run = events(tmp_path)
    names = {"learning_rate", "batch_size", "weight_decay", "lora_rank", "lora_alpha", "lora_dropout"}
    assert all(set(config) == names for config in configs(run).values())
    [scored] = [e for e in run if isinstance(e, FinalScored)]
    assert scored.test_loss is not None
    record = load_record(journal_path(tmp_path).parent / RECORD_NAME)
    final = next(t for t in record.trials if t.purpose == "final")
    assert record.winner is not None
    assert final.config == record.winner.config
    checked = sweepmark("validate", journal_path(tmp_path).parent)
    assert "0 errors" in checked.stdout, checked.stdout


def test_a_copy_keeps_its_donors_optimiser_rank_and_precision(tmp_path: Path) -> None:
    (tmp_path / "mixed.toml").write_text(MIXED, encoding="utf-8")
    done = sweepmark(
        "run", "--strategy", "pbt", "--space", tmp_path / "mixed.toml", "--samples", "4", "--epochs", "2",
        "--final-epochs", "0", "--no-baseline", "--devices", "1", "--set", "quantile_fraction=0.5",
        "--results", tmp_path / "results",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Precision fp16, which profile cpu does not train in, is left out of the search." in done.stderr
    assert "does not change optimizer, lora_rank, precision of a trial that copies another" in done.stderr
    run = events(tmp_path / "results")
    copies = [e for e in run if isinstance(e, TrialReconfigured)]
    assert copies
    own = configs(run)
    for copy in copies:
        for name in ("optimizer", "lora_rank", "precision"):
            assert copy.config[name] == own[copy.donor][name]
    assert all(e.eval_loss is not None for e in run if isinstance(e, EpochFinished)), "every copy trains on"
