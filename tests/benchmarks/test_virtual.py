"""How fast virtual time passes: ratios against a peer or a limit in the same run, since machines differ.

`make benchmark` runs these, with Syne Tune in an environment of its own; without it, its tests are skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.curve_model import CurveModel
from bench.curves import load_curve_set
from bench.profile import load_profile
from bench.simulate import simulate_run, virtual_study
from bench.strategy import load_strategy
from bench.trials import RunState
from tests.engines.oracle import ray_decides

SYNE_TUNE = os.environ.get("SYNE_TUNE_PYTHON", "")
TRIALS, SLOTS = 100, 4
LIMITS = {"bohb": 3.0, "pbt": 3.0, "asha": 2.0}
"""At least so many times faster than Ray's own controller, schedulers and searchers, and HpBandSter's model, as they
come; a test of the engine shows that they decide the same."""
SYNE_TUNE_LIMITS = {"defaults": 4.0, "best": 1.0}
"""At least so many times the trials a second of Syne Tune's simulator."""


@pytest.fixture(autouse=True)
def _asked_for(request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("benchmark_enable"):
        pytest.skip("a benchmark of minutes: make benchmark")


@pytest.fixture(scope="module")
def model() -> CurveModel:
    return CurveModel(load_curve_set("tiny-squad"))


def simulation(
    model: CurveModel, name: str, *, samples: int = TRIALS, slots: int = SLOTS, seed: int = 0, quick: bool = True
) -> Callable[[], RunState]:
    """A call that simulates one search to the last epoch of the curves, observers and record aside."""
    strategy, profile = load_strategy(name), load_profile("cpu")
    study = virtual_study(
        strategy, model.curve_set, profile, seed=seed, samples=samples, epochs=15, devices=slots, node_cpus=slots
    )
    return lambda: simulate_run(study, strategy, profile, model, quick=quick)


def fastest_s(call: Callable[[], Any], rounds: int = 5) -> float:
    call()
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times)


@pytest.mark.skipif(not SYNE_TUNE, reason="SYNE_TUNE_PYTHON names no interpreter with Syne Tune: make benchmark")
@pytest.mark.parametrize("mode", SYNE_TUNE_LIMITS)
@pytest.mark.parametrize("name", ["random", "asha"])
def test_trials_a_second_against_syne_tune(
    benchmark: Any, model: CurveModel, tmp_path: Path, name: str, mode: str
) -> None:
    curves = [c for c in model.curve_set.curves if c.seed == 0]
    table = tmp_path / "table.json"
    table.write_text(
        json.dumps(
            {
                "configs": [c.config for c in curves],
                "losses": [[e.eval_loss for e in c.epochs] for c in curves],
                "seconds": [[e.train_s + e.eval_s + e.checkpoint_s for e in c.epochs] for c in curves],
            }
        )
    )
    script = Path(__file__).with_name("syne_simulator.py")
    peers = []
    for _ in range(3):
        done = subprocess.run(
            [SYNE_TUNE, script, table, name, str(TRIALS), str(SLOTS), mode], capture_output=True, text=True, check=True
        )
        peers.append(json.loads(done.stdout.splitlines()[-1]))
    peer = max(p["trials"] / p["seconds"] for p in peers)
    benchmark.pedantic(simulation(model, name), rounds=5, warmup_rounds=1)
    own = TRIALS / benchmark.stats.stats.min
    benchmark.extra_info |= {"trials_a_second": round(own), "syne_tune": round(peer), "ratio": round(own / peer, 1)}
    print(f"{name} against Syne Tune ({mode}): {own:.0f} trials/s, {peer:.0f} trials/s, {own / peer:.1f} times")
    assert own / peer >= SYNE_TUNE_LIMITS[mode]


@pytest.mark.parametrize("name", LIMITS)
def test_trials_a_second_against_stock_code(benchmark: Any, model: CurveModel, name: str) -> None:
    without_s = fastest_s(simulation(model, name, quick=False), rounds=3)
    with ray_decides():
        stock_s = fastest_s(simulation(model, name, quick=False), rounds=3)
    benchmark.pedantic(simulation(model, name), rounds=5, warmup_rounds=1)
    ratio, by_shortcuts = (s / benchmark.stats.stats.min for s in (stock_s, without_s))
    benchmark.extra_info |= {"ratio": round(ratio, 1), "by_shortcuts": round(by_shortcuts, 2)}
    print(f"{name}: {ratio:.1f} times as fast as Ray's own controller; the shortcuts alone make {by_shortcuts:.2f}")
    assert ratio >= LIMITS[name]
    assert by_shortcuts > 1


def test_ten_thousand_trials_on_a_thousand_devices(benchmark: Any, model: CurveModel) -> None:
    tenth_s = fastest_s(simulation(model, "asha", samples=1_000, slots=1_000), rounds=2)
    benchmark.pedantic(simulation(model, "asha", samples=10_000, slots=1_000), rounds=1)
    whole_s = benchmark.stats.stats.min
    tracemalloc.start()
    simulation(model, "asha", samples=1_000, slots=1_000)()
    memory_kib = tracemalloc.get_traced_memory()[1] / 1024 / 1_000
    tracemalloc.stop()
    benchmark.extra_info |= {"thousand_s": tenth_s, "kib_a_trial": round(memory_kib, 1)}
    print(f"10,000 trials: {whole_s:.1f} s; 1,000: {tenth_s:.2f} s; {memory_kib:.1f} KiB a trial")
    assert whole_s < 60
    assert whole_s < 10 * tenth_s * (4 / 3) * 1.5  # n log n, and half as much again for caches


def test_two_hundred_seeds_of_all_strategies(benchmark: Any) -> None:
    command = ["sweepmark", "simulate", "--strategy", "all", "--seeds", "200", "--json"]
    benchmark.pedantic(lambda: subprocess.run(command, check=True, capture_output=True), rounds=1)
    print(f"200 seeds of all strategies: {benchmark.stats.stats.min:.1f} s")
    assert benchmark.stats.stats.min < 30
