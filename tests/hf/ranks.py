"""Trials of two processes: rank 0 in the test's own, rank 1 in one that is kept for the next trial."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.hyperparameters import Value
from bench.training import EpochResult, TrainingTask

Spoil = Callable[[pytest.MonkeyPatch], None]
"""Breaks something in rank 1, for one trial."""


class SecondRank:
    """The process of rank 1. `told`: what it wrote down during its last trial."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._channel, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other,), daemon=True)
        self.process.start()
        other.close()
        self.told: Any = None

    def train(
        self, task: TrainingTask, config: Mapping[str, Value], *, spoil: Spoil | None = None, **options: Any
    ) -> list[EpochResult]:
        """A trial of both ranks; what rank 0 reports."""
        from bench.hf import train_trial
        from bench.hf.meeting import Meeting

        results: list[EpochResult] = []
        on_epoch = options.pop("on_epoch", results.append)
        meeting = Meeting(2)
        resume_from = options.get("resume_from")
        self._channel.send((task, config, options["folder"], resume_from, meeting.place(1), spoil))
        try:
            train_trial(task, config, on_epoch=on_epoch, place=meeting.place(0), **options)
        finally:
            if self.process.is_alive():
                assert self._channel.poll(20), "rank 1 is not done with the trial"
            with contextlib.suppress(EOFError, ConnectionError):
                self.told = self._channel.recv()
            meeting.close()
        return results

    def end(self) -> None:
        self.process.kill()
        self.process.join()


def _serve(channel: Any) -> None:
    from bench.engines.process import end_with_parent
    from bench.hf import follow_trial

    end_with_parent(os.getppid())
    while True:
        task, config, folder, resume_from, place, spoil = channel.recv()
        with pytest.MonkeyPatch.context() as patched, written_down(patched) as told:
            if spoil is not None:
                spoil(patched)
            follow_trial(task, config, folder=folder, resume_from=resume_from, place=place)
        channel.send(told)


@contextlib.contextmanager
def written_down(patched: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """After every epoch: checksums of weights and optimiser state, and the state of torch's random numbers."""
    import torch

    from bench.hf import checkpoint
    from bench.hf.moments import checksums

    told: list[Any] = []
    original = checkpoint.save

    def save(trainer: Any, *rest: Any) -> None:
        sums = {name: value.item() for name, value in checksums(trainer).items()}
        told.append((sums, bytes(torch.get_rng_state().tolist()), trainer.lr_scheduler.last_epoch))
        original(trainer, *rest)

    patched.setattr(checkpoint, "save", save)
    yield told


def out_of_memory(patched: pytest.MonkeyPatch) -> None:
    from bench.hf.trainer import TrialTrainer

    original = TrialTrainer.training_step

    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.state.global_step == 7:  # in the second epoch
            raise MemoryError
        return original(self, *args, **kwargs)

    patched.setattr(TrialTrainer, "training_step", step)


def killed(patched: pytest.MonkeyPatch) -> None:
    from bench.hf.trainer import TrialTrainer

    original = TrialTrainer.training_step

    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.state.global_step == 7:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(self, *args, **kwargs)

    patched.setattr(TrialTrainer, "training_step", step)


def other_weights(patched: pytest.MonkeyPatch) -> None:
    """One weight of the checkpoint is another, by the last bit."""
    import torch

    from bench.hf import checkpoint

    original = checkpoint.load_weights

    def load(path: Path) -> dict[str, torch.Tensor]:
        weights = original(path)
        some = weights["transformer.ln_f.weight"].view(torch.int32)
        some[0] ^= 1
        return weights

    patched.setattr(checkpoint, "load_weights", load)
