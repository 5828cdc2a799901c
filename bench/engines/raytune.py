"""The Ray engine: Ray Tune drives the strategy's own searcher and scheduler over reused worker processes."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import shutil
import signal
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from bench.engines.session import TRIAL_RETRIES, Session
from bench.events import Event
from bench.seeds import child_seed
from bench.strategy import TIME_ATTRIBUTE, TunePlan

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_WARN_THRESHOLD_S": "60",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # a run is restored from its journal, not from Tune's own state
    "TUNE_RESULT_BUFFER_LENGTH": "1",
}
OBJECT_STORE_BYTES = 100 * 2**20
MAX_TEMPORARY_PATH = 25


def search(session: Session, plan: TunePlan, past: Sequence[Event]) -> None:
    """Run the search, or go on with it: `past` holds the events of earlier attempts."""
    os.environ.update(ENVIRONMENT)
    import ray
    from ray import tune

    from bench.engines.ray_adjust import kept_workers, seeded_decisions
    from bench.engines.ray_journal import JournalCallback
    from bench.engines.ray_worker import run_trial
    from bench.engines.replay import ReplayGate, recorded_results

    study, task = session.study, session.task
    recorded = recorded_results(past)
    grant = session.open_grant(study.devices, "search")
    with _local_cluster(cpus=study.slots * task.threads, gpus=study.devices if task.device == "cuda" else 0):
        gate = ray.remote(num_cpus=0)(ReplayGate).remote(recorded) if recorded else None
        checkpoints = session.folder / "checkpoints"
        callback = JournalCallback(
            session,
            gate=gate,
            recorded=len(recorded),
            model_based=plan.model_based,
            discard=partial(_discard, checkpoints, keep=session.strategy.copies),
        )
        resources = {"CPU": task.threads}
        if task.device == "cuda":
            resources["GPU"] = study.devices_per_trial
        trainable = partial(run_trial, task=task, checkpoints=checkpoints, copies=session.strategy.copies, gate=gate)
        with (
            tempfile.TemporaryDirectory() as storage,
            _no_output(),
            seeded_decisions(child_seed(study.seed, "search")),
            kept_workers(),
        ):
            tuner = tune.Tuner(
                tune.with_resources(trainable, resources),
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
                    storage_path=storage,
                    callbacks=[callback],
                    stop={TIME_ATTRIBUTE: study.epochs} if plan.stops_at_epochs else None,
                    failure_config=tune.FailureConfig(max_failures=TRIAL_RETRIES),
                    verbose=0,
                ),
            )
            try:
                tuner.fit()
            except tune.TuneError:
                if callback.ended_by is not None:
                    raise callback.ended_by from None
                raise
    session.close_grant(grant)


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


@contextlib.contextmanager
def _local_cluster(*, cpus: int, gpus: int) -> Iterator[None]:
    import ray

    logging.getLogger("ray").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module="ray")
    on_sigterm = signal.getsignal(signal.SIGTERM)
    # A folder of its own, since /tmp/ray belongs to whoever used Ray first on a shared machine; a short one, since the
    # paths of its sockets may have 107 bytes at most.
    temporary = tempfile.gettempdir()
    folder = tempfile.mkdtemp(prefix="ray-", dir=temporary if len(temporary) <= MAX_TEMPORARY_PATH else "/tmp")
    try:
        ray.init(
            address="local",
            num_cpus=cpus,
            num_gpus=gpus,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            object_store_memory=OBJECT_STORE_BYTES,
            _temp_dir=folder,
        )
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray puts one of its own in place, which prints a stack and exits
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
