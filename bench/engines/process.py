"""One trial in fresh processes: nothing of it is left when it ends.

A trial of several processes is started by torchrun's machinery in the trial's own process, which then only watches.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UserError
from bench.hyperparameters import Value
from bench.training import EpochResult, FinalResult, TrainingTask, TrialFailed

if TYPE_CHECKING:
    from bench.hf.meeting import Place


@dataclass(frozen=True, kw_only=True)
class ProcessDied:
    """The trial's process ended without a word; `exit_code` is negative for a signal."""

    exit_code: int


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What is trained on is on disk: sha256 of model, tokenizer and data, and the sizes of the splits."""

    facts: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class _Refused:
    """A mistake of the user's that only the training code could find."""

    sentence: str


Message = EpochResult | FinalResult | TrialFailed | ProcessDied


def run_trial_process(
    task: TrainingTask,
    config: Mapping[str, Value],
    *,
    folder: Path,
    resume_from: Path | None,
    score: bool = False,
) -> Iterator[Message]:
    """Train one trial in a new process and yield what it reports, epoch by epoch; with `score`, its test result last.

    The process is ended with the iterator, and ends by itself when this process dies. Raises UserError.
    """
    work = _train if task.processes == 1 else _launch
    yield from _messages(work, task, config, folder, resume_from, score, time.time())


def prepare_in_process(task: TrainingTask) -> dict[str, Any]:
    """Read, check, tokenise and cache what all trials share, in a process of its own. Returns `Prepared.facts`.

    Raises UserError where the model or the data cannot be used.
    """
    messages = list(_messages(_prepare, task))
    if not messages or not isinstance(messages[0], Prepared):
        raise UserError(f"Reading the model and the data ended without a result ({messages}): is there memory enough?")
    return messages[0].facts


def _messages(work: Callable[..., None], *arguments: Any) -> Iterator[Any]:
    # A child that is killed leaves semaphores that the tracker cleans up; that it says so helps nobody.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker")
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    # Not a daemon of multiprocessing's, which may have no children of its own; else ended as one is.
    process = context.Process(target=_child, args=(sender, os.getpid(), work, *arguments))
    process.start()
    atexit.register(process.kill)
    sender.close()
    try:
        while True:
            try:
                message = receiver.recv()
            except EOFError:
                process.join()
                if process.exitcode:
                    yield ProcessDied(exit_code=process.exitcode)
                return
            if isinstance(message, _Refused):
                raise UserError(message.sentence)
            yield message
    finally:
        process.kill()
        process.join()
        atexit.unregister(process.kill)
        receiver.close()


def _child(channel: Connection, parent: int, work: Callable[..., None], *arguments: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    end_with_parent(parent)
    silence_output()
    _say_refusals(channel.send, work, *arguments)
    channel.close()


def _say_refusals(send: Callable[[Any], None], work: Callable[..., None], *arguments: Any) -> None:
    try:
        work(send, *arguments)
    except UserError as error:
        send(_Refused(sentence=str(error)))


def _train(
    send: Callable[[Any], None],
    task: TrainingTask,
    config: Mapping[str, Value],
    folder: Path,
    resume_from: Path | None,
    score: bool,
    started_s: float,
    place: Place | None = None,
) -> None:
    from bench.hf import score_final, train_trial

    checkpoint = resume_from

    def report(result: EpochResult) -> None:
        nonlocal checkpoint
        checkpoint = result.checkpoint
        send(result)

    try:
        train_trial(
            task,
            config,
            folder=folder,
            resume_from=resume_from,
            on_epoch=report,
            process_started_s=started_s,
            place=place,
        )
        if score and checkpoint is not None:
            send(score_final(task, checkpoint))
    except TrialFailed as failure:
        send(failure)


def _launch(send: Callable[[Any], None], task: TrainingTask, *arguments: Any) -> None:
    """Start the trial's ranks and watch over them: all are ended when one dies, which ends the trial as one death."""
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    launch = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=task.processes,
        run_id="trial",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",  # its server binds a free port itself, and so does the ranks' store
        local_addr="127.0.0.1",
        max_restarts=0,
        logs_specs=DefaultLogsSpecs(log_dir=os.devnull),
        signals_to_handle="SIGTERM",
    )
    try:
        elastic_launch(launch, _rank)(send, os.getpid(), task, *arguments)
    except ChildFailedError as error:
        send(ProcessDied(exit_code=min(failure.exitcode for failure in error.failures.values())))


def _rank(
    send: Callable[[Any], None],
    launcher: int,
    task: TrainingTask,
    config: Mapping[str, Value],
    folder: Path,
    resume_from: Path | None,
    score: bool,
    started_s: float,
) -> None:
    """One of the trial's processes; rank 0 says what the trial says."""
    end_with_parent(launcher)
    from bench.hf import follow_trial
    from bench.hf.meeting import Place

    place = Place.from_environment()
    if place.rank == 0:
        _say_refusals(send, _train, task, config, folder, resume_from, score, started_s, place)
    else:
        follow_trial(task, config, folder=folder, resume_from=resume_from, place=place)


def _prepare(send: Callable[[Any], None], task: TrainingTask) -> None:
    from bench.hf import deepspeed, hashes, load_config, prepare

    load_config(task)
    if task.uses_deepspeed:
        deepspeed.build(task)
    prepare(task)
    send(Prepared(facts=hashes(task)))


def end_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the thread that started it ends (Linux)."""
    import ctypes

    set_parent_death_signal = 1  # PR_SET_PDEATHSIG
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    if os.getppid() != parent:  # it was dead already
        os._exit(1)


def silence_output() -> None:
    """Send what libraries print to /dev/null; what a trial has to say goes through its channel."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os.close(null)
