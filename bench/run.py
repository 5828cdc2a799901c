"""One run of a study, from its first event to its record; an unfinished one is gone on with."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.clock import WallClock
from bench.engines.session import HERE, SearchStalled, Session, Venue
from bench.errors import UserError
from bench.events import (
    FINAL_TRIAL,
    SCHEMA_VERSION,
    Event,
    RunFinished,
    RunInterrupted,
    RunResumed,
    RunStarted,
    SearchFinished,
    WorkLost,
)
from bench.metrics import MEMORY
from bench.profile import Profile
from bench.provenance import own_strategy
from bench.record import Record, record_run
from bench.runlog import RunLog
from bench.seeds import child_seed
from bench.strategy import GridPlan, Request, Strategy, TunePlan
from bench.study import Study
from bench.training import TrainingTask
from bench.trials import RunState
from bench.workload import load_recipe, load_workload
from bench.zero import deepspeed_path

EXIT_STALLED = 1
"""What a program ends with whose search stalled."""

RETRAIN_LEFT = "The search is over; its winner is retrained by a job of its own"
"""Why a run is interrupted whose retrain is another process's."""

Observer = Callable[[Event, RunState], None]
SEED_NAMES = ("search", "init", "data order", "final init", "final data order")


class Interrupted(Exception):
    """The run ended early and in order, by a signal or because it had `stalled`; the same command goes on."""

    def __init__(self, reason: str, *, stalled: bool = False) -> None:
        super().__init__(reason)
        self.stalled = stalled


def run_folder(results: Path, study: Study) -> Path:
    return results / "runs" / study.run_id()


def training_task(study: Study, profile: Profile, cache: Path) -> TrainingTask:
    """What the study's trials have in common."""
    return TrainingTask(
        workload=load_workload(study.workload),
        recipe=load_recipe(study.recipe),
        precision=profile.precision,
        device=profile.device,
        threads=profile.cpus_per_device,
        processes=study.devices_per_trial,
        init_seed=child_seed(study.seed, "init"),
        data_seed=child_seed(study.seed, "data order"),
        epochs=study.epochs,
        cache=cache,
        model=_absolute(study.model),
        dataset=_absolute(study.dataset),
        deepspeed=deepspeed_path(study.deepspeed).absolute() if study.deepspeed else None,
        own_stages=study.own_stages,
        own_processes=MEMORY in study.metrics and profile.device == "cpu",
    )


def _absolute(path: str | None) -> Path | None:
    return Path(path).absolute() if path else None  # workers have working directories of their own


def run_study(
    study: Study,
    strategy: Strategy,
    profile: Profile,
    *,
    results: Path,
    provenance: dict[str, Any],
    observers: tuple[Observer, ...] = (),
    venue: Venue = HERE,
) -> Record:
    """Run the study in `results/runs/<id>`, or go on with it, and write its record; for a single trial (see `Venue`) in
    `trial_folder`.

    `provenance`: what the record says of machine and software; hashes and seeds are added here. Raises UserError, and
    Interrupted where the run was ended from outside or has stalled; the record is written then too.
    """
    strategy.check(load_workload(study.workload))
    whole = run_folder(results, study).absolute()
    folder = whole if venue.trial is None else trial_folder(whole, venue.trial)
    task = training_task(study, profile, whole.parent / ".cache")
    before = folder.exists()
    log = RunLog(folder, observers)
    try:
        if log.state.status != "finished":
            _go_on(log, study, strategy, task, provenance, venue)
        if log.state.status == "finished":
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    finally:
        log.close()
        if log.state.started is not None:
            record = record_run(folder)
        elif not before:  # refused before it began: leave nothing behind
            shutil.rmtree(folder)
    return record


def trial_folder(run_folder: Path, number: int) -> Path:
    """Where the journal of one trial is kept that is trained apart from the others."""
    return run_folder / ".trials" / f"{number:04d}"


def _go_on(
    log: RunLog, study: Study, strategy: Strategy, task: TrainingTask, provenance: dict[str, Any], venue: Venue
) -> None:
    from bench.engines.process import prepare_in_process

    clock = WallClock(not_before_s=log.state.ended_s)
    plan = None if log.state.search_finished else _plan(study, strategy)
    provenance = provenance | _inputs(prepare_in_process(task)) | own_strategy(study.strategy_file)
    provenance["seeds"] = {name: child_seed(study.seed, name) for name in SEED_NAMES}
    if log.state.started is None:
        log.emit(
            RunStarted(
                at_s=clock.now_s(),
                schema_version=SCHEMA_VERSION,
                run_id=study.run_id(),
                study=study.to_dict(),
                provenance=provenance,
            )
        )
    else:
        _check_same_inputs(log.state.started.provenance, provenance)
        _charge_lost(log, log.state.ended_s, "the run was killed")  # up to its last sign of life
        log.emit(RunResumed(at_s=clock.now_s(), provenance=provenance))
    log.start_heartbeat(clock)
    session = Session(
        study=study,
        strategy=strategy,
        task=task,
        folder=log.folder,
        state=log.state,
        emit=log.emit,
        clock=clock,
        venue=venue,
    )
    try:
        if plan is not None:
            _search(session, plan, log.past)
            if venue.trial is None:
                winner = log.state.winner
                log.emit(SearchFinished(at_s=clock.now_s(), winner=winner.trial if winner else None))
        if venue.retrain:
            _retrain(session)
        elif venue.trial is None and winner_left(log.state, study):
            log.emit(RunInterrupted(at_s=clock.now_s(), reason=RETRAIN_LEFT))
            return
        log.emit(RunFinished(at_s=clock.now_s()))
    except BaseException as error:
        _charge_lost(log, clock.now_s(), "the run was interrupted")
        by_signal, stalled = isinstance(error, KeyboardInterrupt), isinstance(error, SearchStalled)
        reason = "Interrupted by a signal" if by_signal else f"{error}"
        log.emit(RunInterrupted(at_s=clock.now_s(), reason=reason[:500]))
        if by_signal or stalled:
            raise Interrupted(reason, stalled=stalled) from None
        raise


def plan_study(study: Study, strategy: Strategy) -> GridPlan | TunePlan:
    """The strategy's plan for a study. Raises UserError where it has none."""
    strategy.check_metrics(study.metrics)
    request = Request(
        space=study.space,
        samples=study.samples,
        epochs=study.epochs,
        slots=study.slots,
        seed=child_seed(study.seed, "search"),
        settings=study.settings,
        objectives=len(study.metrics),
    )
    return strategy.plan(request)


def _plan(study: Study, strategy: Strategy) -> GridPlan | TunePlan:
    plan = plan_study(study, strategy)
    if study.engine != "array":
        return plan
    from bench.engines.fixed import fixed

    return fixed(plan, strategy, study.samples)


def _search(session: Session, plan: GridPlan | TunePlan, past: list[Event]) -> None:
    if session.study.trials_per_device > 1:  # they share the device's CPU cores too
        threads = max(1, session.task.threads // session.study.trials_per_device)
        session = replace(session, task=replace(session.task, threads=threads))
    if isinstance(plan, GridPlan):
        from bench.engines import serial

        serial.search(session, plan)
    else:
        from bench.engines import raytune

        raytune.search(session, plan, past)


def _retrain(session: Session) -> None:
    """The winner once more, with fresh seeds and for the final epochs, scored on the test split."""
    from bench.engines.serial import retrain

    winner = session.state.winner
    if winner is None or not winner_left(session.state, session.study):
        return
    seed = session.study.seed
    task = replace(
        session.task,
        init_seed=child_seed(seed, "final init"),
        data_seed=child_seed(seed, "final data order"),
        epochs=session.study.final_epochs,
    )
    retrain(session, task, dict(winner.best_config or winner.config))


def winner_left(state: RunState, study: Study) -> bool:
    """Whether there is a winner that is still to be retrained."""
    final = state.get(FINAL_TRIAL)
    return state.winner is not None and study.final_epochs > 0 and (final is None or not final.ended)


def _charge_lost(log: RunLog, until_s: float, reason: str) -> None:
    """Charge the epochs that were under way, of which nobody will report, from each trial's last event."""
    for trial in log.state.trials:
        if trial.state == "running" and trial.devices is not None:
            spent_s = max(0.0, until_s - log.last_event_s[trial.trial])
            log.emit(WorkLost(at_s=until_s, trial=trial.trial, busy_s=spent_s, devices=trial.devices, reason=reason))


def _image(provenance: dict[str, Any]) -> str:
    image = provenance.get("image")
    return f"in image {str(image.get('digest'))[:19]}" if isinstance(image, dict) else "in no image"


def _inputs(facts: dict[str, Any]) -> dict[str, Any]:
    """What the record says of model, tokenizer and data."""
    hashes = {name: facts[f"{name}_sha256"] for name in ("model", "tokenizer", "data")}
    return {"hashes": hashes, "splits": facts["splits"], "parameters": facts["parameters"]}


def _check_same_inputs(before: dict[str, Any], now: dict[str, Any]) -> None:
    began, here = (_image(provenance) for provenance in (before, now))
    if began != here:
        raise UserError(
            f"This run began {began} and would go on {here}: run it there (run --container IMAGE), or start a new run "
            "with --fresh."
        )
    for name, digest in (before.get("hashes") or {}).items():
        if now.get("hashes", {}).get(name) != digest:
            raise UserError(
                f"The {name} is not the one that this run began with (sha256 {str(digest)[:12]}…): put that one "
                "back, or start a new run with --fresh."
            )
