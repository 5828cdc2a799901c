"""Curves recorded by real training: every configuration of a grid under every seed, one process a slot, resumable."""

from __future__ import annotations

import math
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from itertools import islice, product
from pathlib import Path

from bench.curves import (
    FAILURES,
    Config,
    Curve,
    CurveSet,
    Epoch,
    encode_curve,
    header,
    parse_table,
    write_metadata,
    write_table,
)
from bench.errors import UserError
from bench.seeds import child_seed
from bench.space import LogUniform, SearchSpace
from bench.training import EpochResult, TrainingTask, TrialFailed

PARTIAL_NAME = "curves.partial.csv"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One trial to be recorded."""

    config: Config
    seed: int


def dense_grid(space: SearchSpace, points: int) -> list[Config]:
    """Every choice at `points` learning rates spread evenly in the logarithm, both ends of the range included."""
    axes: list[Sequence[float | int]] = []
    for d in space.dimensions:
        if isinstance(d, LogUniform):
            step = math.log(d.upper / d.lower) / max(points - 1, 1)
            inner = [float(f"{d.lower * math.exp(i * step):.4g}") for i in range(1, points - 1)]
            axes.append([d.lower, *inner, d.upper])
        else:
            axes.append(d.values)
    return [dict(zip(space.names, point, strict=True)) for point in product(*axes)]


def record_curves(
    folder: Path, curve_set: CurveSet, task: TrainingTask, configs: Sequence[Config], on_curve: Callable[[Curve], None]
) -> CurveSet:
    """Train what `folder` does not hold yet and write the set there. Each trial is on disk when it has ended, so that
    the same call goes on after a kill. `on_curve`: called with each trial, those of earlier calls included.

    Raises UserError where the folder holds another set, or training cannot start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / PARTIAL_NAME
    names = curve_set.space.names
    curves = _recorded(partial, curve_set.space)
    for curve in curves:
        on_curve(curve)
    done = {(*c.config.values(), c.seed) for c in curves}
    jobs = [Job(config=c, seed=s) for s in curve_set.seeds for c in configs if (*c.values(), s) not in done]
    with partial.open("a", encoding="utf-8") as file:
        if file.tell() == 0:
            file.write(header(names))
        for curve in _train_all(task, jobs, curve_set.slots):
            file.write(encode_curve(curve, names))
            file.flush()
            os.fsync(file.fileno())
            curves.append(curve)
            on_curve(curve)
    complete = replace(curve_set, curves=tuple(curves))
    write_table(folder, complete)
    write_metadata(folder, complete)
    partial.unlink()
    return complete


def _recorded(partial: Path, space: SearchSpace) -> list[Curve]:
    """What an earlier call recorded, without a trial whose last line a kill cut short."""
    if not partial.exists():
        return []
    lines = partial.read_text(encoding="utf-8").splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        torn = lines.pop().split(",")[: len(space.names) + 1]
        while lines and lines[-1].split(",")[: len(torn)] == torn:
            lines.pop()
        partial.write_text("".join(lines), encoding="utf-8")
    try:
        return parse_table("".join(lines), space) if lines else []
    except ValueError as error:
        raise UserError(
            f"{partial} holds another recording ({error}): remove it, or give another --out to keep it."
        ) from None


def _train_all(task: TrainingTask, jobs: Sequence[Job], slots: int) -> Iterator[Curve]:
    """Curves in the order in which they end; a process that dies is replaced and its trial tried once more."""
    context = multiprocessing.get_context("spawn")
    retried: set[int] = set()
    waiting = iter(list(enumerate(jobs)))
    pool = ProcessPoolExecutor(slots, mp_context=context, initializer=_quiet_worker, initargs=(os.getpid(),))
    running: dict[Future[Curve], tuple[int, Job]] = {}
    try:
        while True:
            for number, job in islice(waiting, slots - len(running)):
                running[pool.submit(_train, task, job)] = (number, job)
            if not running:
                return
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            died: list[tuple[int, Job]] = []
            for future in finished:
                number, job = running.pop(future)
                try:
                    yield future.result()
                except BrokenProcessPool:
                    died.append((number, job))
            if died:
                died += [running.pop(f) for f in list(running)]
                pool.shutdown(cancel_futures=True)
                if any(number in retried for number, _ in died):
                    raise UserError(f"Training died twice with {died[0][1].config}: is there memory enough?")
                retried |= {number for number, _ in died}
                waiting = iter([*died, *waiting])
                pool = ProcessPoolExecutor(
                    slots, mp_context=context, initializer=_quiet_worker, initargs=(os.getpid(),)
                )
    finally:
        for process in list((pool._processes or {}).values()):
            process.kill()
        pool.shutdown(cancel_futures=True)


def _quiet_worker(parent: int) -> None:
    import signal

    from bench.engines.process import end_with_parent, silence_output

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent(parent)
    silence_output()
    import bench.hf.trial  # noqa: F401  the imports are no part of a trial's start-up


def _train(task: TrainingTask, job: Job) -> Curve:
    from bench.hf import train_trial

    task = replace(
        task,
        init_seed=child_seed(job.seed, "init"),
        data_seed=child_seed(job.seed, "data order"),
        keep_checkpoints=1,
    )
    results: list[EpochResult] = []
    failure = None
    folder = Path(tempfile.mkdtemp(prefix="curve-"))
    try:
        train_trial(task, job.config, folder=folder, on_epoch=results.append)
    except TrialFailed as failed:
        failure = failed.state
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
    startup_s = results[0].phases.startup_s if results else 0.0
    return Curve(
        config=dict(job.config),
        seed=job.seed,
        startup_s=startup_s,
        epochs=epochs,
        failure=FAILURES.get(failure, "failed") if failure else None,
    )


def _finite(loss: float) -> float | None:
    return round(loss, 6) if math.isfinite(loss) else None
