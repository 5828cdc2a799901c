"""Many simulated runs on all cores, each boiled down to what statistics need; and the view of how far they are."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from bench.errors import UserError
from bench.progress import OnDone
from bench.study import Study
from bench.trials import Config, Incumbent, RunState

if TYPE_CHECKING:
    from bench.curve_model import CurveModel
    from bench.profile import Profile
    from bench.strategy import Strategy

CHUNK_MOST = 16
"""Runs handed to a worker at once, at most: enough to make the hand-over cheap, few enough to share the work evenly."""
CHUNKS_A_WORKER = 8

One = Callable[[Study, str], "Outcome"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What one simulated run came to. Costs of the search in device-minutes, `wall_s` in virtual seconds.

    `finals`: for each trial that got to full fidelity, its lowest loss there and what it was busy for. `winner`: the
    configuration of the lowest (None: no trial got there). `stopped`: trials that were ended early. `suggestions`,
    `model_based`: those of a strategy that has a model, and how many of them the model made. `stalled`: which trials
    waited for what when nothing could go on (empty: the search came to its end).
    """

    strategy: str
    seed: int
    trace: tuple[Incumbent, ...]
    finals: tuple[tuple[float, float], ...]
    winner: Config | None
    allocated_device_min: float
    busy_device_min: float
    wall_s: float
    trials: int
    stopped: int
    suggestions: int
    model_based: int
    stalled: str

    @property
    def best_loss(self) -> float:
        """The last incumbent's loss in nats; infinite where no trial got to full fidelity."""
        return self.trace[-1].eval_loss if self.trace else math.inf


def outcome_of(study: Study, state: RunState) -> Outcome:
    """What the statistics need of a folded run."""
    trials = [t for t in state.trials if t.purpose == "search"]
    flags = [t.model_based for t in trials if t.model_based is not None]
    costs = state.ledger.costs("search")
    return Outcome(
        strategy=study.strategy,
        seed=study.seed,
        trace=tuple(state.trace),
        finals=tuple((t.best_loss, t.busy_device_min) for t in trials if t.best_loss is not None),
        winner=None if state.winner is None else state.winner.best_config,
        allocated_device_min=costs.allocated_device_min or 0.0,
        busy_device_min=costs.busy_device_min,
        wall_s=costs.wall_s or 0.0,
        trials=len(trials),
        stopped=sum(t.state == "stopped" for t in trials),
        suggestions=len(flags),
        model_based=sum(flags),
        stalled=state.interrupted or "",
    )


def simulate_one(study: Study, curves: str) -> Outcome:
    """One run in virtual time on a curve set, given by its name or folder. Raises UserError."""
    from bench.simulate import simulate_run

    strategy = _strategy(study.strategy_file or study.strategy)
    return outcome_of(study, simulate_run(study, strategy, _profile(study.profile), _model(curves)))


@cache
def _strategy(name: str) -> Strategy:
    from bench.strategy import load_strategy

    return load_strategy(name)


@cache
def _profile(name: str) -> Profile:
    from bench.profile import load_profile

    return load_profile(name)


@cache
def _model(curves: str) -> CurveModel:
    """Read once a process."""
    from bench.curve_model import CurveModel
    from bench.curves import load_curve_set

    return CurveModel(load_curve_set(curves))


def simulate_many(
    studies: Sequence[Study],
    *,
    curves: str,
    jobs: int | None = None,
    on_done: OnDone | None = None,
    one: One = simulate_one,
) -> list[Outcome]:
    """The outcomes of the studies, in their order; the same whatever the number of processes.

    `curves`: the set that all of them rest on, its name or folder. `jobs`: processes (None: one a core; 1: this one
    alone). `one`: simulates one study; a function of a module where there are several processes. Raises UserError, that
    of a run or where a process was killed.
    """
    jobs = min(jobs or os.cpu_count() or 1, len(studies))
    told = on_done or _untold
    if jobs <= 1:
        outcomes = []
        for number, study in enumerate(studies, 1):
            outcomes.append(one(study, curves))
            told(number, len(studies))
        return outcomes
    return _in_processes(studies, curves, jobs, told, one)


def _in_processes(studies: Sequence[Study], curves: str, jobs: int, told: OnDone, one: One) -> list[Outcome]:
    size = max(1, min(CHUNK_MOST, len(studies) // (jobs * CHUNKS_A_WORKER)))
    by_seed = sorted(range(len(studies)), key=lambda i: studies[i].seed)  # every chunk holds dear and cheap strategies
    chunks = [by_seed[start : start + size] for start in range(0, len(by_seed), size)]
    outcomes: dict[int, Outcome] = {}
    pool = ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"), initializer=_prepare_worker)
    futures: dict[Future[list[Outcome]], list[int]] = {}
    try:
        futures = {pool.submit(_run_chunk, [studies[i] for i in chunk], curves, one): chunk for chunk in chunks}
        for future in as_completed(futures):
            outcomes.update(zip(futures[future], future.result(), strict=True))
            told(len(outcomes), len(studies))
    except BrokenProcessPool:
        raise UserError(
            f"One of the {jobs} processes was killed, perhaps for want of memory: give fewer --jobs."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)
    return [outcomes[i] for i in range(len(studies))]


def _prepare_worker() -> None:
    """Ctrl-C is the parent's business, and a process has one core: numpy, not imported yet, must not start threads."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"


def _run_chunk(studies: Sequence[Study], curves: str, one: One) -> list[Outcome]:
    return [one(study, curves) for study in studies]


def _untold(done: int, total: int) -> None:
    del done, total
