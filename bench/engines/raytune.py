"""The Ray engine: Ray Tune drives the strategy's own searcher and scheduler over reused worker processes."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from bench.engines.cores import first_cores
from bench.engines.ray_local import ENVIRONMENT, LocalCluster
from bench.engines.session import Session
from bench.events import Event
from bench.objectives import Objectives
from bench.profile import load_profile
from bench.seeds import child_seed
from bench.strategy import TIME_ATTRIBUTE, TunePlan
from bench.study import Study


def search(session: Session, plan: TunePlan, past: Sequence[Event]) -> None:
    """Run the search, or go on with it: `past` holds the events of earlier attempts."""
    os.environ.update(ENVIRONMENT)
    import ray
    from ray import tune
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from bench.engines.ray_adjust import kept_workers, seeded_decisions, uncounted_callbacks
    from bench.engines.ray_journal import JournalCallback
    from bench.engines.ray_ranks import resources
    from bench.engines.ray_worker import run_trial
    from bench.engines.replay import ReplayGate, recorded_results

    study, task = session.study, session.task
    recorded = recorded_results(past)
    cluster = session.venue.cluster or LocalCluster()
    with cluster.connected(session) as storage:
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        gate = ray.remote(num_cpus=0, scheduling_strategy=here)(ReplayGate).remote(recorded) if recorded else None
        checkpoints = session.folder / "checkpoints"
        callback = JournalCallback(
            session,
            gate=gate,
            model_based=plan.model_based,
            waiting=cluster.waiting,
            discard=partial(_discard, checkpoints, keep=session.strategy.copies),
        )
        objectives = Objectives(metrics=study.metrics, devices=study.devices_of_a_trial)
        each = resources(task, single_node=cluster.single_node, sharing=study.trials_per_device)
        trainable = partial(
            run_trial,
            task=task,
            objectives=objectives,
            checkpoints=checkpoints,
            copies=session.strategy.copies,
            gate=gate,
            cores=_shared_cores(study) if task.device == "cpu" and session.venue.cluster is None else (),
        )
        with (
            _no_output(),
            seeded_decisions(child_seed(study.seed, "search")),
            kept_workers(),
            uncounted_callbacks(),
        ):
            tuner = tune.Tuner(
                tune.with_resources(trainable, each),
                param_space=dict(plan.param_space),
                tune_config=tune.TuneConfig(
                    search_alg=plan.search_alg,
                    scheduler=plan.scheduler,
                    num_samples=study.samples,
                    reuse_actors=not task.needs_own_process,
                    trial_name_creator=_numbering(),
                    trial_dirname_creator=str,
                ),
                run_config=tune.RunConfig(
                    name="search",
                    storage_path=str(storage),
                    callbacks=[callback],
                    stop={TIME_ATTRIBUTE: study.epochs} if plan.stops_at_epochs else None,
                    failure_config=tune.FailureConfig(max_failures=cluster.retries),
                    verbose=0,
                ),
            )
            try:
                tuner.fit()
            except tune.TuneError:
                if callback.ended_by is not None:
                    raise callback.ended_by from None
                raise


def _shared_cores(study: Study) -> tuple[int, ...]:
    """The CPU cores of this machine that the study's devices are, where trials share them."""
    if study.trials_per_device == 1:
        return ()
    return first_cores(study.devices * load_profile(study.profile).cpus_per_device)


def _numbering() -> Callable[[object], str]:
    """Names trials by the order in which they were suggested."""
    numbers = itertools.count(1)

    def name(trial: object) -> str:
        return f"{next(numbers):04d}"

    return name


def _discard(checkpoints: Path, trial: str, *, keep: bool) -> None:
    """Remove the checkpoints of a trial that has ended, unless another may still take them over."""
    if not keep:
        shutil.rmtree(checkpoints / trial, ignore_errors=True)


@contextlib.contextmanager
def _no_output() -> Iterator[None]:
    """Tune prints a summary whatever its verbosity; ours goes to standard error."""
    with Path(os.devnull).open("w") as null, contextlib.redirect_stdout(null):
        yield
