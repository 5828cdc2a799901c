"""The processes of one node in a training that several nodes make together."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from bench.engines.process import Message, ProcessDied, end_with_parent, silence_output
from bench.errors import UserError
from bench.events import Phases
from bench.hyperparameters import Value
from bench.training import TrainingTask, TrialFailed

if TYPE_CHECKING:
    from bench.hf.meeting import Place

END_S = 60.0
"""How long the others may take to end after the first, before they are ended."""


class Ranks:
    """A process for each of `places`, from the beginning until `close`."""

    def __init__(self, task: TrainingTask, config: Mapping[str, Value], places: Sequence[Place], folder: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._receiver, sender = context.Pipe(duplex=False)
        self._leads = places[0].rank == 0
        began_s = time.time()
        self._processes = [
            context.Process(
                target=_rank,
                args=(sender if place.rank == 0 else None, os.getpid(), task, config, place, folder, began_s),
            )
            for place in places
        ]
        for process in self._processes:
            process.start()
        sender.close()

    def messages(self) -> Iterator[Message]:
        """What the training says, where its first process is one of these, until that has ended."""
        while self._leads:
            try:
                yield self._receiver.recv()
            except EOFError:
                break
        first = self._processes[0]
        first.join()
        if self._leads and first.exitcode:
            yield ProcessDied(exit_code=first.exitcode)

    def exit_codes(self) -> list[int]:
        """Of all, once they have ended; those that do not are ended."""
        deadline_s = time.monotonic() + END_S
        for process in self._processes:
            process.join(max(0.0, deadline_s - time.monotonic()))
        late = [process for process in self._processes if process.is_alive()]
        self.close()
        return [0 if process in late else process.exitcode or 0 for process in self._processes]

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.join()
        self._receiver.close()


def _rank(
    channel: Connection | None,
    parent: int,
    task: TrainingTask,
    config: Mapping[str, Value],
    place: Place,
    folder: Path,
    began_s: float,
) -> None:
    """One of them; `channel`: of the first, which says what the training says."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    end_with_parent(parent)
    silence_output()
    from bench.hf import follow_trial, train_trial
    from bench.hf.group import RankLost

    if channel is None:
        follow_trial(task, config, folder=folder, resume_from=None, place=place)
        return
    try:
        train_trial(task, config, folder=folder, on_epoch=channel.send, process_started_s=began_s, place=place)
    except TrialFailed as failure:
        channel.send(failure)
    except (UserError, RankLost) as error:
        channel.send(TrialFailed(state="failed", detail=str(error), phases=Phases()))
