"""What an engine asks of the training code, and what it gets back. Loads neither torch nor ray."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bench.events import Phases, State
from bench.hyperparameters import Value
from bench.workload import Recipe, Workload

Precision = Literal["fp32", "fp16", "bf16"]
Device = Literal["cpu", "cuda"]

FIRST_STEP = "first step"
"""What a trial's first training step takes longer than later ones (kernels chosen or compiled, memory claimed); charged
to training."""


@dataclass(frozen=True, kw_only=True)
class TrainingTask:
    """Everything that is the same for all trials of a study.

    `model`, `dataset`: paths that replace the workload's own (a model folder, a file in SQuAD's JSON). `deepspeed`: a
    DeepSpeed configuration file (None: the plain Trainer). `init_seed`: the weights and dropout. `data_seed`: the order
    of the examples. `epochs`: of a trial. `processes`: that train one trial together, a device each; the batch size is
    that of each. `threads`: CPU threads a process. `cache`: a folder where what is the same for all trials (tokenised
    data, tokenizer) is kept under its checksum. `keep_checkpoints`: the newest so many of a trial stay on disk.
    `own_stages`: each trial's configuration names its ZeRO stage. `own_processes`: what a process held before a trial
    must not be in the trial's memory. `samples`: a folder where each process writes its memory over time (None: nobody
    looks at it).
    """

    workload: Workload
    recipe: Recipe
    precision: Precision
    device: Device
    threads: int
    processes: int = 1
    init_seed: int
    data_seed: int
    epochs: int
    cache: Path
    model: Path | None = None
    dataset: Path | None = None
    deepspeed: Path | None = None
    keep_checkpoints: int = 3
    own_stages: bool = False
    own_processes: bool = False
    samples: Path | None = None

    @property
    def needs_own_process(self) -> bool:
        """Whether each trial wants a process of its own; DeepSpeed leaves global state in one that it has used."""
        return self.uses_deepspeed or self.own_processes

    @property
    def uses_deepspeed(self) -> bool:
        """Whether DeepSpeed trains any of the trials."""
        return self.deepspeed is not None or self.own_stages


@dataclass(frozen=True, kw_only=True)
class EpochResult:
    """One epoch, trained, evaluated and saved; see `events.EpochFinished` for the units. `checkpoint`: its folder, on
    disk already (where the workload has no checkpoints, only after the last epoch). `startup_parts_s`: of a trial's
    first epoch, what its start-up went to by part, and `FIRST_STEP`; for `sweepmark startup`, not in the journal."""

    epoch: int
    eval_loss: float
    train_loss: float
    phases: Phases
    samples_per_s: float
    tokens_per_s: float
    device_memory_mib: float | None
    host_memory_mib: float
    config: dict[str, Value]
    checkpoint: Path
    startup_parts_s: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class FinalResult:
    """A trained model on the test split: loss in nats a token, exact match and F1 in per cent."""

    test_loss: float
    exact_match: float
    f1: float
    examples: int
    phases: Phases


@dataclass(kw_only=True, eq=False)
class TrialFailed(Exception):
    """A trial that cannot go on: its state and one sentence about it. `phases`: the time since its last epoch.

    Not frozen: context managers set an exception's traceback. Survives pickling, so it may cross processes.
    """

    state: State
    detail: str
    phases: Phases

    def __str__(self) -> str:
        return f"{self.state}: {self.detail}"

    def __reduce__(self) -> tuple[Callable[..., TrialFailed], tuple[State, str, Phases]]:
        return _trial_failed, (self.state, self.detail, self.phases)


def _trial_failed(state: State, detail: str, phases: Phases) -> TrialFailed:
    return TrialFailed(state=state, detail=detail, phases=phases)


OnEpoch = Callable[[EpochResult], None]
"""Called after each epoch, when its checkpoint is on disk. May raise to end the trial."""
