"""How fast the harness is, counted in a peer's work of the same moment, so that a saved baseline holds elsewhere.

`make benchmark` compares with `baseline/ratios.json` and fails where something got slower.
"""

from __future__ import annotations

import json
import logging
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest

from bench.curves import load_curve_set
from bench.events import Event
from bench.journal import JOURNAL_NAME, encode, read_journal
from bench.profile import load_profile
from bench.record import build_record
from bench.run import plan_study
from bench.runlog import RunLog
from bench.simulate import virtual_study
from bench.strategy import OBJECTIVE, TIME_ATTRIBUTE, GridPlan, load_strategy, strategy_names
from tests.benchmarks.peers import PYTHON, START, Peer
from tests.builders import Run, journal

EARLIER, EPOCHS = 24, 5
"""Results that a strategy has before it is measured, and epochs of a trial."""
SUGGESTIONS, MODELLED = 100, {"asha-tpe": 5, "bohb": 5, "tpe": 5}
"""Suggestions a round, and fewer of strategies that fit a model for each."""
TRIALS, DURABLE_TRIALS = 200, 20
"""Of the runs whose events are written and read."""
RECORDS, TABLES_LIMIT_S, LIMIT_MIB = 10_000, 20, 1024


@pytest.fixture(autouse=True)
def _asked_for(request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("benchmark_enable"):
        pytest.skip("a benchmark: make benchmark")


@contextmanager
def suggesting(name: str, most: int) -> Iterator[Callable[[], object]]:
    """A call that asks a strategy for one configuration and tells it that trial's loss; of the grid, which knows all
    beforehand, one that plans it."""
    strategy = load_strategy(name)
    study = virtual_study(
        strategy, load_curve_set("tiny-squad"), load_profile("cpu"), samples=most, epochs=EPOCHS, devices=2
    )
    plan = plan_study(study, strategy)
    if isinstance(plan, GridPlan):
        yield lambda: bool(plan_study(study, strategy))
        return
    from bench.engines.virtual.controller import wrapped
    from bench.engines.virtual.trial import Spec, virtual_trials

    logging.getLogger("ray").setLevel(logging.CRITICAL)
    with virtual_trials():
        search = wrapped(plan.search_alg)
        search.add_configurations([Spec(plan.param_space, most)])

        def suggest() -> None:
            trial = search.next_trial()
            config = trial.config
            loss = abs(math.log(config["learning_rate"] / 1e-3)) + config["batch_size"] / 100 + config["weight_decay"]
            result = {OBJECTIVE: loss, TIME_ATTRIBUTE: EPOCHS, "config": config, "hyperband_info": {"budget": EPOCHS}}
            search.on_trial_result(trial.trial_id, result)
            search.on_trial_complete(trial.trial_id, result=result)

        yield suggest


@pytest.mark.parametrize("name", strategy_names())
@pytest.mark.benchmark(timer=PYTHON.clock, group="a suggestion")
def test_suggestion(benchmark: Any, name: str) -> None:
    import numpy

    numpy.random.seed(0)  # hpbandster draws from the global generator
    rounds, each = 15, MODELLED.get(name, SUGGESTIONS)
    with suggesting(name, EARLIER + (rounds + 1) * each) as suggest:
        for _ in range(EARLIER):
            suggest()

        def some() -> None:
            for _ in range(each):
                suggest()

        PYTHON.measure(benchmark, some, rounds=rounds, per=each)


def write(durable: bool, trials: int) -> int:
    """Write a run's events through journal, fold and ledger. Returns how many there are."""
    events = run_of(trials)
    with tempfile.TemporaryDirectory() as folder:
        log = RunLog(Path(folder) / "run", durable=durable)
        for event in events:
            log.emit(event)
        log.close()
    return len(events)


@cache
def run_of(trials: int) -> list[Event]:
    return journal([Run(losses=[3.0 - n / 1000, 2.0 - n / 1000]) for n in range(trials)])


def write_bare() -> None:
    """What a durable event cannot do without: its line flushed to disk, and the work of one that is not durable."""
    write(durable=False, trials=DURABLE_TRIALS)
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "lines").open("ab") as file:
        for event in run_of(DURABLE_TRIALS):
            file.write(encode(event).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


ON_DISK = Peer("the same events unflushed, and their lines flushed", write_bare, time.perf_counter)


@pytest.mark.benchmark(timer=PYTHON.clock, group="an event")
def test_event_in_virtual_time(benchmark: Any) -> None:
    PYTHON.measure(benchmark, lambda: write(durable=False, trials=TRIALS), rounds=15, per=len(run_of(TRIALS)))


@pytest.mark.benchmark(timer=ON_DISK.clock, group="an event on disk")
def test_event_on_disk(benchmark: Any) -> None:
    work = partial(write, durable=True, trials=DURABLE_TRIALS)
    ON_DISK.measure(benchmark, work, rounds=15, per=len(run_of(DURABLE_TRIALS)))


@pytest.mark.benchmark(timer=PYTHON.clock, group="an event")
def test_event_read(benchmark: Any, tmp_path: Path) -> None:
    path = tmp_path / JOURNAL_NAME
    path.write_text("".join(encode(event) + "\n" for event in run_of(TRIALS)))
    PYTHON.measure(benchmark, lambda: read_journal(path), rounds=15, per=len(run_of(TRIALS)))


@pytest.mark.benchmark(timer=PYTHON.clock, group="an event")
def test_event_into_the_record(benchmark: Any) -> None:
    PYTHON.measure(benchmark, lambda: build_record(run_of(TRIALS)), rounds=15, per=len(run_of(TRIALS)))


@pytest.mark.benchmark(timer=START.clock, group="start-up")
def test_help(benchmark: Any) -> None:
    def answer() -> None:
        subprocess.run([sys.executable, "-m", "bench", "--help"], check=True, capture_output=True)

    START.measure(benchmark, answer, rounds=15)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, float]]:
    """Does a work on many records in a process of its own: seconds and peak memory."""
    records = tmp_path_factory.mktemp("many") / "records"

    def work(what: str) -> dict[str, float]:
        if what != "write" and not records.exists():  # not before: benchmarks are skipped by default
            work("write")
        done = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.many_records", what, str(RECORDS), records],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        found: dict[str, float] = json.loads(done.stdout)
        print(f"{what}, {RECORDS} records: {found['seconds']:.1f} s, {found['peak_mib']:.0f} MiB")
        return found

    return work


@pytest.mark.slow
@pytest.mark.parametrize("what", ["compare", "boards"])
@pytest.mark.benchmark(timer=PYTHON.clock, group="ten thousand records")
def test_tables_of_ten_thousand(benchmark: Any, many: Callable[[str], dict[str, float]], what: str) -> None:
    found: list[dict[str, float]] = []
    PYTHON.measure(benchmark, lambda: found.append(many(what)), rounds=2)
    assert min(one["seconds"] for one in found) < TABLES_LIMIT_S
    assert max(one["peak_mib"] for one in found) < LIMIT_MIB
