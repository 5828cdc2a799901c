"""Curves recorded by real training: every configuration of a grid under every seed, one process a slot, resumable."""

from __future__ import annotations

import math
import multiprocessing
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from itertools import product
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import IO, Any

from bench.curves import (
    FAILURES,
    Config,
    Curve,
    CurveSet,
    Epoch,
    Failure,
    check_length,
    encode_curve,
    header,
    is_complete,
    parse_table,
    read_metadata,
    write_metadata,
    write_table,
)
from bench.errors import UserError
from bench.lock import hold
from bench.seeds import child_seed
from bench.space import LogUniform, SearchSpace, Uniform
from bench.training import EpochResult, TrainingTask, TrialFailed

PARTIAL_NAME = "curves.partial.csv"
PARTIAL_METADATA_NAME = "curves.partial.json"
END_S = 30.0
"""Processes that were killed are gone after so long."""
SAME_FIELDS = (
    "name",
    "workload",
    "recipe",
    "profile",
    "epochs",
    "model",
    "dataset_name",
    "devices_per_trial",
    "threads",
    "slots",
)
SAME_FACTS = ("model_sha256", "tokenizer_sha256", "data_sha256", "splits")
"""What must not change between the calls that record one set: fields of the set, facts of its provenance."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One trial to be recorded."""

    config: Config
    seed: int


def dense_grid(space: SearchSpace, points: int) -> list[Config]:
    """Every choice at `points` learning rates spread evenly in the logarithm, both ends of the range included."""
    axes: list[Sequence[float | int]] = []
    for d in space.dimensions:
        if isinstance(d, Uniform):
            raise UserError(f"Curves are recorded over learning rates and choices; {d.name} is a range: give choices.")
        if isinstance(d, LogUniform):
            step = math.log(d.upper / d.lower) / max(points - 1, 1)
            inner = [float(f"{d.lower * math.exp(i * step):.4g}") for i in range(1, points - 1)]
            axes.append([d.lower, *inner, d.upper])
        else:
            axes.append([value for value in d.values if not isinstance(value, str)])
    return [dict(zip(space.names, point, strict=True)) for point in product(*axes)]


def record_curves(
    folder: Path, curve_set: CurveSet, task: TrainingTask, configs: Sequence[Config], on_curve: Callable[[Curve], None]
) -> CurveSet:
    """Train what `folder` does not hold yet and write the set there, with the error of the model between its points.
    Each trial is on disk when it has ended, so that the same call goes on after a kill; seeds may be added to an
    interrupted recording, nothing else changed. `on_curve`: called with each trial, those of earlier calls included.

    Raises UserError where the folder holds another recording, another process writes to it, or training cannot start.
    """
    partial = folder / PARTIAL_NAME
    names = curve_set.space.names
    with hold(
        partial,
        instead="--out",
        busy=f"{partial.parent} is being recorded by another process: wait, or give another --out.",
    ) as file:
        curve_set = _begun(folder, curve_set)
        curves = _recorded(file, partial, curve_set, configs)
        for curve in curves:
            on_curve(curve)
        done = {_key(c.config, c.seed) for c in curves}
        jobs = [Job(config=c, seed=s) for s in curve_set.seeds for c in configs if _key(c, s) not in done]
        if not curves:
            file.write(header(names))
        for curve in _train_all(task, jobs, curve_set.slots):
            file.write(encode_curve(curve, names))
            file.flush()
            os.fsync(file.fileno())
            curves.append(curve)
            on_curve(curve)
        complete = with_error(replace(curve_set, curves=tuple(curves)))
        write_table(folder, complete)
        write_metadata(folder, complete)
        partial.unlink()
        (folder / PARTIAL_METADATA_NAME).unlink()
    return complete


def with_error(curve_set: CurveSet) -> CurveSet:
    """The set with the error of the model between its points, unchanged where there is nothing to compare."""
    from bench.curve_model import leave_one_out

    try:
        return replace(curve_set, error=leave_one_out(curve_set))
    except (ValueError, UserError):  # too few learning rates, or none that trained: nothing to compare
        return curve_set


def _begun(folder: Path, curve_set: CurveSet) -> CurveSet:
    """The set with the provenance of the call that began it, written beside the growing table. Raises UserError where
    that call recorded something else."""
    if (folder / PARTIAL_METADATA_NAME).exists():
        before = read_metadata(folder, PARTIAL_METADATA_NAME)
        for name, (was, asked) in _identities(before, curve_set).items():
            if was != asked:
                raise UserError(
                    f"{folder} holds the beginning of a recording with {name} {was}, not {asked}: go on with the "
                    "arguments it began with, or give another --out."
                )
        resumed = [*before.provenance.get("resumed", ()), {k: curve_set.provenance.get(k) for k in ("command", "git")}]
        curve_set = replace(curve_set, provenance={**before.provenance, "resumed": resumed})
    write_metadata(folder, curve_set, PARTIAL_METADATA_NAME)
    return curve_set


def _identities(before: CurveSet, now: CurveSet) -> dict[str, tuple[Any, Any]]:
    fields = {name: (getattr(before, name), getattr(now, name)) for name in SAME_FIELDS}
    facts = {name: (before.provenance.get(name), now.provenance.get(name)) for name in SAME_FACTS}
    return fields | {"space": (before.space.to_dict(), now.space.to_dict())} | facts


def _key(config: Config, seed: int) -> tuple[float | int, ...]:
    return (*config.values(), seed)


def _recorded(file: IO[str], partial: Path, curve_set: CurveSet, configs: Sequence[Config]) -> list[Curve]:
    """What earlier calls recorded; a trial that a kill cut short is taken off the file."""
    file.seek(0)
    lines = file.read().splitlines(keepends=True)
    torn = lines.pop() if lines and not lines[-1].endswith("\n") else ""
    try:
        curves = parse_table("".join(lines), curve_set.space) if lines else []
        if curves and _is_cut(curves[-1], lines[-1], torn, curve_set):
            del lines[-max(len(curves.pop().epochs), 1) :]
        wanted = {_key(c, s) for c in configs for s in curve_set.seeds}
        for curve in curves:
            check_length(curve, curve_set.epochs)
            if _key(curve.config, curve.seed) not in wanted:
                raise ValueError(f"{curve.config} under seed {curve.seed} is not part of this one")
    except ValueError as error:
        raise UserError(
            f"{partial} holds another recording ({error}): go on with the arguments it began with, or give another "
            "--out."
        ) from None
    file.truncate(len("".join(lines if curves else []).encode()))
    return curves


def _is_cut(last: Curve, line: str, torn: str, curve_set: CurveSet) -> bool:
    if not is_complete(last, curve_set.epochs):
        return len(last.epochs) < curve_set.epochs
    # Rows of a trial that failed say nothing of how many there are: the torn line tells whether it was another trial's.
    own = ",".join(line.split(",")[: len(curve_set.space.names) + 1]) + ","
    return last.failure is not None and torn != "" and (torn.startswith(own) or own.startswith(torn))


def _train_all(task: TrainingTask, jobs: Sequence[Job], slots: int) -> Iterator[Curve]:
    """Curves in the order in which they end. Where a process dies, those that ran are tried once more, one by one."""
    waiting, suspects = deque(jobs), deque[Job]()
    pool = _pool(task, slots)
    running: dict[Future[Curve], Job] = {}
    try:
        while waiting or suspects or running:
            if suspects:
                job = suspects.popleft()
                try:
                    yield pool.submit(_train, task, job).result()
                except BrokenProcessPool:
                    raise UserError(
                        f"Training {job.config} under seed {job.seed} died twice, which lack of memory may explain: "
                        "make room, then give the same command again to go on."
                    ) from None
                continue
            while waiting and len(running) < slots:
                try:
                    running[pool.submit(_train, task, waiting[0])] = waiting[0]
                except (BrokenProcessPool, OSError):  # a process has just died; what ran in it says so below
                    break
                waiting.popleft()
            if not running:
                _kill(pool)
                pool = _pool(task, slots)
                continue
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                job = running.pop(future)
                try:
                    yield future.result()
                except BrokenProcessPool:
                    suspects.append(job)
            if suspects:
                suspects.extend(running.values())
                running.clear()
                _kill(pool)
                pool = _pool(task, slots)
    except BaseException:
        _kill(pool)
        raise
    pool.shutdown()


def _kill(pool: ProcessPoolExecutor) -> None:
    """End a pool at once. Its own thread sees the processes die and cleans up; `shutdown` would race with it."""
    for process in list((pool._processes or {}).values()):
        process.kill()
    manager: Any = pool._executor_manager_thread
    if manager is not None:
        manager.join(timeout=END_S)


def _pool(task: TrainingTask, slots: int) -> ProcessPoolExecutor:
    """A process a slot; on GPUs each sees one alone."""
    context = multiprocessing.get_context("spawn")
    gpus = context.SimpleQueue()
    if task.device == "cuda":
        visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(slots)))
        for gpu in visible.split(",")[:slots]:
            gpus.put(gpu)
    return ProcessPoolExecutor(
        slots,
        mp_context=context,
        initializer=_begin_worker,
        initargs=(os.getpid(), gpus if task.device == "cuda" else None),
    )


def _begin_worker(parent: int, gpus: SimpleQueue[str] | None) -> None:
    import signal

    from bench.engines.process import end_with_parent, silence_output

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent(parent)
    silence_output()
    if gpus is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus.get()
    from bench.hf import train_trial  # noqa: F401  the imports are no part of a trial's start-up


def _train(task: TrainingTask, job: Job) -> Curve:
    from bench.hf import train_trial

    task = replace(
        task,
        init_seed=child_seed(job.seed, "init"),
        data_seed=child_seed(job.seed, "data order"),
        keep_checkpoints=1,
    )
    results: list[EpochResult] = []
    failure: Failure | None = None
    startup_s = 0.0
    folder = Path(tempfile.mkdtemp(prefix="curve-"))
    try:
        train_trial(task, job.config, folder=folder, on_epoch=results.append)
    except TrialFailed as failed:
        failure = FAILURES.get(failed.state, "failed")
        startup_s = failed.phases.startup_s
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    epochs = tuple(
        Epoch(
            epoch=r.epoch,
            eval_loss=_finite(r.eval_loss),
            train_loss=_finite(r.train_loss),
            train_s=round(r.phases.train_s, 4),
            eval_s=round(r.phases.eval_s, 4),
            checkpoint_s=round(r.phases.checkpoint_s, 4),
            samples_per_s=round(r.samples_per_s, 2),
        )
        for r in results
    )
    if results:
        startup_s = results[0].phases.startup_s
    return Curve(config=dict(job.config), seed=job.seed, startup_s=round(startup_s, 4), epochs=epochs, failure=failure)


def _finite(loss: float) -> float | None:
    return round(loss, 6) if math.isfinite(loss) else None
