"""What a trial costs under the recipe `fast`, counted in trials under `qa` of the same moment."""

from __future__ import annotations

import tempfile
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest

from bench.workload import Computation, load_recipe
from tests.benchmarks.peers import Peer

WORKLOADS = {"tiny-squad": 8, "mid-squad": 4}
"""Their batch sizes here."""


@pytest.fixture(autouse=True)
def _asked_for(request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("benchmark_enable"):
        pytest.skip("a benchmark: make benchmark")


@cache
def folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="sweepmark-trial-cost-"))


def train(workload: str, computation: Computation) -> None:
    """An epoch on 200 examples at most, evaluated and saved, with its start-up."""
    from dataclasses import replace

    from bench.hf import train_trial
    from bench.training import TrainingTask
    from bench.workload import load_workload

    found = load_workload(workload)
    found = replace(found, data=replace(found.data, train=min(200, found.data.train), validation=16, test=16))
    task = TrainingTask(
        workload=found,
        recipe=replace(load_recipe("qa"), computation=computation),
        precision="fp32",
        device="cpu",
        threads=1,
        init_seed=1,
        data_seed=2,
        epochs=1,
        cache=folder() / "cache",
    )
    config = {"learning_rate": 1e-3, "batch_size": WORKLOADS[workload], "weight_decay": 0.0}
    train_trial(task, config, folder=folder() / "trial", on_epoch=lambda result: None)


PEERS = {name: Peer(f"a trial of {name} under qa", partial(train, name, Computation())) for name in WORKLOADS}


def measure(benchmark: Any, name: str) -> None:
    PEERS[name].measure(benchmark, partial(train, name, load_recipe("fast").computation), rounds=5)
    assert benchmark.stats.stats.median < 1


@pytest.mark.benchmark(timer=PEERS["tiny-squad"].clock, group="a trial under fast")
def test_tiny(benchmark: Any) -> None:
    measure(benchmark, "tiny-squad")


@pytest.mark.benchmark(timer=PEERS["mid-squad"].clock, group="a trial under fast")
def test_mid(benchmark: Any) -> None:
    measure(benchmark, "mid-squad")
