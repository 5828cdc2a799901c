"""Small, consistent journals for tests: `journal(...)` is a run as an engine would have written it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.events import (
    FINAL_TRIAL,
    SCHEMA_VERSION,
    EpochFinished,
    Event,
    FinalScored,
    GrantClosed,
    GrantOpened,
    Phases,
    RunFinished,
    RunStarted,
    SearchFinished,
    State,
    TrialCreated,
    TrialEnded,
    TrialStarted,
)
from bench.hyperparameters import Value
from bench.space import Choice, LogUniform, SearchSpace
from bench.study import EngineName, Study

SPACE = SearchSpace(
    (
        LogUniform("learning_rate", 5e-6, 2e-4, (1e-5, 2e-4, 5e-6)),
        Choice("batch_size", (1, 2)),
        Choice("weight_decay", (0.0, 0.01)),
    )
)

STARTUP_S = 3.0
EPOCH = Phases(train_s=8.0, eval_s=1.0, checkpoint_s=1.0)


@dataclass(frozen=True, kw_only=True)
class Run:
    """A trial to be: its configuration, its losses epoch by epoch (None: not finite), and how it ended."""

    losses: Sequence[float | None]
    lr: float = 1e-5
    batch_size: int = 1
    weight_decay: float = 0.0
    others: Mapping[str, Value] = field(default_factory=dict)
    state: State = "completed"
    model_based: bool | None = None

    @property
    def config(self) -> dict[str, Value]:
        own = {"learning_rate": self.lr, "batch_size": self.batch_size, "weight_decay": self.weight_decay}
        return {**own, **self.others}


def study(strategy: str = "manual", **changes: Any) -> Study:
    """A study of two epochs on one GPU a trial; `changes` replace its fields."""
    engine: EngineName = "serial" if strategy == "manual" else "ray"
    fields: dict[str, Any] = {
        "workload": "bloom560m-squad",
        "recipe": "qa",
        "strategy": strategy,
        "settings": {},
        "space": SPACE,
        "profile": "a100",
        "engine": engine,
        "seed": 0,
        "samples": 12,
        "epochs": 2,
        "final_epochs": 4,
        "devices": 1,
        "devices_per_trial": 1,
    }
    return Study(**(fields | changes))


def provenance(**changes: Any) -> dict[str, Any]:
    """What a run says of where it ran."""
    return {
        "git": {"commit": "c0ffee" * 6 + "c0ff", "clean": True},
        "host": "2 cores, 1 x A100",
        "hashes": {"model": "m1", "tokenizer": "t1", "data": "d1"},
        "seeds": {"search": 1, "init": 2, "data": 3},
    } | changes


def started(of: Study | None = None, at_s: float = 0.0, **changes: Any) -> RunStarted:
    of = of or study()
    return RunStarted(
        at_s=at_s,
        schema_version=SCHEMA_VERSION,
        run_id=of.run_id(),
        study=of.to_dict(),
        provenance=provenance(**changes),
    )


def epoch(trial: str, number: int, loss: float | None, at_s: float, phases: Phases = EPOCH, **changes: Any) -> Event:
    """An EpochFinished with all that a test rarely cares about filled in."""
    fields: dict[str, Any] = {
        "train_loss": loss,
        "samples_per_s": 10.0,
        "tokens_per_s": 1000.0,
        "device_memory_mib": None,
        "host_memory_mib": 900.0,
        "config": {},
        "worker": "w0",
    } | changes
    return EpochFinished(at_s=at_s, trial=trial, epoch=number, eval_loss=loss, phases=phases, **fields)


def journal(
    runs: Sequence[Run],
    of: Study | None = None,
    *,
    speed: float = 1.0,
    idle_s: float = 1.0,
    start_s: float = 0.0,
    final_loss: float | None = 2.0,
    provenance_changes: Mapping[str, Any] | None = None,
) -> list[Event]:
    """A finished run in which `runs` are trained one after the other on one grant, then the winner is retrained.

    Each trial takes 3 s to start and 10 s an epoch (8 train, 1 eval, 1 checkpoint), times `speed`; `idle_s` passes
    before each. The retrain holds a grant of its own, takes one epoch of 20 s and 2 s of scoring (`final_loss` None: no
    retrain). Busy never exceeds allocated.
    """
    of = of or study()
    now = start_s
    devices = of.devices_per_trial
    events: list[Event] = [
        started(of, now, **(provenance_changes or {})),
        GrantOpened(at_s=now, grant="search", devices=of.devices, purpose="search"),
    ]
    best: tuple[float, str, dict[str, Value]] | None = None
    for index, run in enumerate(runs):
        trial = f"t{index}"
        now += idle_s
        events.append(TrialCreated(at_s=now, trial=trial, config=run.config, model_based=run.model_based))
        events.append(TrialStarted(at_s=now, trial=trial, epoch=0, devices=devices))
        for number, loss in enumerate(run.losses, 1):
            startup_s = STARTUP_S if number == 1 else 0.0
            phases = Phases(startup_s=startup_s * speed, train_s=8 * speed, eval_s=speed, checkpoint_s=speed)
            now += phases.total_s
            events.append(epoch(trial, number, loss, now, phases, config=run.config))
            if loss is not None and number == of.epochs and (best is None or loss < best[0]):
                best = (loss, trial, run.config)
        events.append(TrialEnded(at_s=now, trial=trial, state=run.state))
    events.append(SearchFinished(at_s=now, winner=None if best is None else best[1]))
    events.append(GrantClosed(at_s=now, grant="search"))
    if best is not None and final_loss is not None:
        events += final_retrain(now, best[2], devices, final_loss)
        now = events[-1].at_s
    events.append(RunFinished(at_s=now))
    return events


def final_retrain(now: float, config: dict[str, Value], devices: int, loss: float) -> list[Event]:
    """One epoch of 20 s and 2 s of scoring, on a grant of its own."""
    trained = now + 20.0
    scored = trained + 2.0
    return [
        GrantOpened(at_s=now, grant=FINAL_TRIAL, devices=devices, purpose="final"),
        TrialCreated(at_s=now, trial=FINAL_TRIAL, config=config, purpose="final"),
        TrialStarted(at_s=now, trial=FINAL_TRIAL, epoch=0, devices=devices),
        epoch(FINAL_TRIAL, 1, loss, trained, Phases(train_s=20.0)),
        TrialEnded(at_s=trained, trial=FINAL_TRIAL, state="completed"),
        FinalScored(
            at_s=scored,
            test_loss=loss,
            exact_match=40.0,
            f1=50.0,
            examples=100,
            phases=Phases(eval_s=2.0),
        ),
        GrantClosed(at_s=scored, grant=FINAL_TRIAL),
    ]
