"""The typed events of a run. Costs, records, reports and pictures are computed from these alone.

Every event carries `at_s`: seconds since the Unix epoch where time is real, seconds since the start of the run
where it is virtual. A journal never goes back in time. NaN has no place in JSON: a loss that is not a finite number
is `None`, and the trial's state says why.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from bench.hyperparameters import Value

SCHEMA_VERSION = 1

State = Literal["completed", "stopped", "nan", "oom", "timeout", "failed"]
"""How a trial ended: it reached its last epoch; the strategy stopped it; its loss was not finite; it ran out of
memory; it hung; it raised or its process died too often. A trial without an end is running, paused or lost."""

Purpose = Literal["search", "final"]
"""Search cost stops when the search ends; the final retrain of the winner is a line of its own."""

FINAL_TRIAL = "final"
"""The trial id of the final retrain."""


@dataclass(frozen=True, kw_only=True)
class Phases:
    """Seconds of a trial's segment, split by what they went to. Their sum is the segment's busy time."""

    startup_s: float = 0.0
    train_s: float = 0.0
    eval_s: float = 0.0
    checkpoint_s: float = 0.0
    restore_s: float = 0.0

    @property
    def total_s(self) -> float:
        return self.startup_s + self.train_s + self.eval_s + self.checkpoint_s + self.restore_s

    def __add__(self, other: Phases) -> Phases:
        return Phases(**{name: seconds + getattr(other, name) for name, seconds in asdict(self).items()})


@dataclass(frozen=True, kw_only=True)
class RunStarted:
    """The first event: what is run, on what, with what. `study` and `provenance` are plain data."""

    kind: Literal["run_started"] = "run_started"
    at_s: float
    schema_version: int
    run_id: str
    study: dict[str, Any]
    provenance: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class RunResumed:
    """The run goes on in a new process, after an interruption or a kill."""

    kind: Literal["run_resumed"] = "run_resumed"
    at_s: float
    provenance: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class RunInterrupted:
    """The run ended early but in order, and can be resumed."""

    kind: Literal["run_interrupted"] = "run_interrupted"
    at_s: float
    reason: str


@dataclass(frozen=True, kw_only=True)
class RunFinished:
    kind: Literal["run_finished"] = "run_finished"
    at_s: float


@dataclass(frozen=True, kw_only=True)
class Heartbeat:
    """The run was alive at `at_s`: bounds what is charged if it is killed."""

    kind: Literal["heartbeat"] = "heartbeat"
    at_s: float


@dataclass(frozen=True, kw_only=True)
class GrantOpened:
    """`devices` devices are held from now on, whether they work or not. `held_since_s`: from then on, where they were
    held before the run could say so (a job that had to start first)."""

    kind: Literal["grant_opened"] = "grant_opened"
    at_s: float
    grant: str
    devices: int
    purpose: Purpose
    held_since_s: float | None = None

    @property
    def opened_s(self) -> float:
        return self.at_s if self.held_since_s is None else self.held_since_s


@dataclass(frozen=True, kw_only=True)
class GrantClosed:
    """The devices are given back. A grant that a kill left open ends with the last event before the run resumed.
    `held_until_s`: they were held no longer than that, where it was found out later (a node that died)."""

    kind: Literal["grant_closed"] = "grant_closed"
    at_s: float
    grant: str
    held_until_s: float | None = None

    @property
    def closed_s(self) -> float:
        return self.at_s if self.held_until_s is None else self.held_until_s


@dataclass(frozen=True, kw_only=True)
class TrialCreated:
    """A configuration was suggested. `model_based`: whether a model of earlier results chose it (None: the
    strategy has no model)."""

    kind: Literal["trial_created"] = "trial_created"
    at_s: float
    trial: str
    config: dict[str, Value]
    model_based: bool | None = None
    purpose: Purpose = "search"


@dataclass(frozen=True, kw_only=True)
class TrialStarted:
    """A trial holds `devices` devices, or a share of one, from now on, and starts after `epoch` completed epochs."""

    kind: Literal["trial_started"] = "trial_started"
    at_s: float
    trial: str
    epoch: int
    devices: int | float


@dataclass(frozen=True, kw_only=True)
class EpochFinished:
    """One epoch of one trial: trained, evaluated, its checkpoint on disk.

    `eval_loss` and `train_loss`: mean cross-entropy in nats a labelled token (None: not finite). `phases`: what the
    time since the trial's last event went to. `samples_per_s`, `tokens_per_s`: of the training phase alone, tokens
    without padding. Memory: peaks in MiB, of the fullest device (None on a CPU), and on the host of all the trial's
    processes together, of which the first reports. `config`: the configuration in force, as read back from the
    optimiser. `worker`: which process trained it.
    """

    kind: Literal["epoch_finished"] = "epoch_finished"
    at_s: float
    trial: str
    epoch: int
    eval_loss: float | None
    train_loss: float | None
    phases: Phases
    samples_per_s: float | None
    tokens_per_s: float | None
    device_memory_mib: float | None
    host_memory_mib: float | None
    config: dict[str, Value]
    worker: str


@dataclass(frozen=True, kw_only=True)
class TrialReconfigured:
    """A trial takes over a donor's weights and optimiser as of `donor_epoch`, and goes on with `config`."""

    kind: Literal["trial_reconfigured"] = "trial_reconfigured"
    at_s: float
    trial: str
    donor: str
    donor_epoch: int
    config: dict[str, Value]


@dataclass(frozen=True, kw_only=True)
class TrialPaused:
    """A trial gave its devices back after `epoch` completed epochs and may go on later."""

    kind: Literal["trial_paused"] = "trial_paused"
    at_s: float
    trial: str
    epoch: int


@dataclass(frozen=True, kw_only=True)
class TrialEnded:
    """A trial is over. `phases`: time since its last event (an epoch that did not finish)."""

    kind: Literal["trial_ended"] = "trial_ended"
    at_s: float
    trial: str
    state: State
    detail: str = ""
    phases: Phases = field(default_factory=Phases)


@dataclass(frozen=True, kw_only=True)
class WorkLost:
    """Device time that a trial spent since its last event and that will not be used; it is charged all the same."""

    kind: Literal["work_lost"] = "work_lost"
    at_s: float
    trial: str
    busy_s: float
    devices: int | float
    reason: str


@dataclass(frozen=True, kw_only=True)
class TrialSummarised:
    """A trial of which only the totals are known (a transcribed table): its last loss and its runtime."""

    kind: Literal["trial_summarised"] = "trial_summarised"
    at_s: float
    trial: str
    eval_loss: float | None
    runtime_s: float
    devices: int
    epochs: int | None = None


@dataclass(frozen=True, kw_only=True)
class SearchFinished:
    """The search is over. `winner`: the trial with the lowest loss, or best by the study's first metric, at full
    fidelity (None: no trial got there)."""

    kind: Literal["search_finished"] = "search_finished"
    at_s: float
    winner: str | None


@dataclass(frozen=True, kw_only=True)
class FinalScored:
    """The retrained winner on the test split: loss in nats a token, exact match and F1 in per cent, `examples`
    scored. `phases`: what scoring took."""

    kind: Literal["final_scored"] = "final_scored"
    at_s: float
    test_loss: float | None
    exact_match: float | None
    f1: float | None
    examples: int
    phases: Phases


@dataclass(frozen=True, kw_only=True)
class Note:
    """Something a reader of the results should know."""

    kind: Literal["note"] = "note"
    at_s: float
    level: Literal["info", "warning"]
    message: str


Event = (
    RunStarted
    | RunResumed
    | RunInterrupted
    | RunFinished
    | Heartbeat
    | GrantOpened
    | GrantClosed
    | TrialCreated
    | TrialStarted
    | EpochFinished
    | TrialReconfigured
    | TrialPaused
    | TrialEnded
    | WorkLost
    | TrialSummarised
    | SearchFinished
    | FinalScored
    | Note
)
