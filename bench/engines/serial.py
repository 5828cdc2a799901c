"""The serial engine: a grid's configurations one after the other, each in a process of its own."""

from __future__ import annotations

from bench.engines.process import ProcessDied, run_trial_process
from bench.engines.session import TRIAL_RETRIES, Session
from bench.events import FINAL_TRIAL, FinalScored, Phases, Purpose, TrialCreated, TrialEnded, WorkLost
from bench.hyperparameters import Value
from bench.strategy import GridPlan
from bench.training import EpochResult, FinalResult, TrainingTask, TrialFailed


def search(session: Session, plan: GridPlan) -> None:
    """Run what is left of the grid, in its order, or the venue's one trial, holding the devices of one."""
    grant = session.open_grant(session.study.devices_per_trial, "search")
    for number, config in enumerate(plan.configs, 1):
        if session.venue.trial not in (None, number):
            continue
        run_trial(session, session.task, f"{number:04d}", dict(config), purpose="search")
    session.close_grant(grant)


def retrain(session: Session, task: TrainingTask, config: dict[str, Value]) -> None:
    """The final retrain: `config` with fresh seeds for the task's epochs, scored on the test split."""
    grant = session.open_grant(session.study.devices_per_trial, "final")
    run_trial(session, task, FINAL_TRIAL, config, purpose="final")
    session.close_grant(grant)


def run_trial(session: Session, task: TrainingTask, trial: str, config: dict[str, Value], *, purpose: Purpose) -> None:
    """Train one trial to its end, going on from its last checkpoint where an earlier attempt left one."""
    now_s = session.clock.now_s
    if session.state.get(trial) is None:
        session.emit(TrialCreated(at_s=now_s(), trial=trial, config=config, purpose=purpose))
    folder = session.trial_folder(trial)
    deaths = 0
    while not session.trial(trial).ended:
        epoch = session.trial(trial).epochs
        started_s = now_s()
        session.start_trial(trial, epoch)
        resume_from = folder / f"epoch-{epoch:04d}" if epoch else None
        for message in run_trial_process(
            task, config, folder=folder, resume_from=resume_from, score=purpose == "final"
        ):
            match message:
                case EpochResult():
                    session.finish_epoch(trial, message, worker="process")
                    started_s = now_s()
                case FinalResult():
                    session.emit(
                        FinalScored(
                            at_s=now_s(),
                            test_loss=message.test_loss,
                            exact_match=message.exact_match,
                            f1=message.f1,
                            examples=message.examples,
                            phases=message.phases,
                        )
                    )
                    started_s = now_s()
                case TrialFailed():
                    session.emit(
                        TrialEnded(
                            at_s=now_s(),
                            trial=trial,
                            state=message.state,
                            detail=message.detail,
                            phases=message.phases,
                        )
                    )
                case ProcessDied():
                    deaths += 1
                    reason = f"its process ended with exit code {message.exit_code}"
                    session.emit(
                        WorkLost(
                            at_s=now_s(),
                            trial=trial,
                            busy_s=now_s() - started_s,
                            devices=session.study.devices_per_trial,
                            reason=reason,
                        )
                    )
                    if deaths > TRIAL_RETRIES:
                        session.emit(
                            TrialEnded(
                                at_s=now_s(), trial=trial, state="failed", detail=f"{reason}, {deaths} times in a row"
                            )
                        )
        if not session.trial(trial).ended and session.trial(trial).epochs >= task.epochs:
            session.emit(TrialEnded(at_s=now_s(), trial=trial, state="completed", phases=Phases()))
