"""The live view of a run: a table that changes on a terminal, one line for each thing that happens elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from bench.events import (
    FINAL_TRIAL,
    EpochFinished,
    Event,
    FinalScored,
    GrantOpened,
    Note,
    RunResumed,
    SearchFinished,
    TrialEnded,
    TrialReconfigured,
    TrialStarted,
    WorkLost,
)
from bench.hyperparameters import short_name, shown
from bench.metrics import EVAL_LOSS, METRICS
from bench.study import Study
from bench.trials import Incumbent, RunState, Trial

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

SHOWN_TRIALS = 14
SHOWN_AFTER_S = 2.0
LINE_EVERY_S = 5.0

OnDone = Callable[[int, int], None]
"""Told now and then how many are done, of how many."""


class View(Protocol):
    """Shown every event, with the state after it."""

    def show(self, event: Event, state: RunState) -> None: ...


@contextmanager
def progress_view(study: Study, unit: str) -> Iterator[View]:
    """The view that suits standard error: live on a terminal, plain lines elsewhere."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield Lines(study, unit)
        return
    from rich.live import Live

    with Live(console=console, refresh_per_second=4, transient=True) as live:
        yield LiveTable(study, unit, live)


class Lines:
    """One plain line for each epoch and each end; of one attempt at a run."""

    def __init__(self, study: Study, unit: str) -> None:
        self._study = study
        self._unit = unit
        self._held = False
        print(preparing(study), file=sys.stderr, flush=True)

    def show(self, event: Event, state: RunState) -> None:
        line = self._line(event, state)
        if line:
            print(f"[{clock_text(state.ledger.elapsed_s)}] {line}", file=sys.stderr, flush=True)

    def _line(self, event: Event, state: RunState) -> str | None:
        study = self._study
        match event:
            case GrantOpened(purpose="search", devices=devices):
                again, self._held = self._held, True
                what = "device" if devices == 1 else "devices"
                return f"{devices} more {what} held" if again else f"{intention(study)}, {devices} {what} held"
            case EpochFinished(trial=trial, epoch=epoch, eval_loss=loss):
                last = study.final_epochs if trial == FINAL_TRIAL else study.epochs
                so_far = summary(study, state, self._unit)
                return f"{label(trial)} epoch {epoch}/{last}: eval loss {number(loss)} ({so_far})"
        return told(event, state, self._unit)


def preparing(study: Study) -> str:
    """What goes on before the first trial, and for how long."""
    compiling = (
        ", a minute more where DeepSpeed compiles its extension first" if study.deepspeed or study.own_stages else ""
    )
    return f"Reading model and data, starting workers (about ten seconds{compiling}) …"


def intention(study: Study) -> str:
    """What a study is to do, in a few words."""
    trials = f"up to {study.samples} trials of {study.epochs} epochs"
    return ", ".join((f"{study.strategy}, seed {study.seed}: {trials}", *study.particulars))


def told(event: Event, state: RunState, unit: str) -> str | None:
    """An event in words, with the state after it; None for one that says little by itself. Messages are as their
    writers made them: the reader makes them harmless."""
    match event:
        case TrialStarted(trial=trial, epoch=0):
            return f"{label(trial)} starts: {settings(state.get(trial))}"
        case TrialEnded(trial=trial, state="completed" | "stopped" as how):
            return f"{label(trial)} {how}"
        case TrialEnded(trial=trial, state=how, detail=detail):
            return f"{label(trial)} {how}: {detail}"
        case TrialReconfigured(trial=trial, donor=donor, donor_epoch=epoch):
            return f"{label(trial)} takes over trial {donor} as of epoch {epoch}"
        case WorkLost(trial=trial, reason=reason):
            return f"{label(trial)} lost its epoch in progress: {reason}"
        case SearchFinished(winner=winner):
            spent, _ = state.ledger.spent()
            return f"search finished: winner {winner or 'none'}, {spent or 0:.2f} {unit}-minutes allocated"
        case FinalScored(test_loss=loss, exact_match=exact, f1=f1):
            return f"winner on the test split: loss {number(loss)}, exact match {exact or 0:.1f} %, F1 {f1 or 0:.1f} %"
        case RunResumed():
            return "going on with an earlier run: what it trained is not trained again"
        case Note(message=message):
            return message
    return None


class LiveTable:
    """Trials, incumbent, cost so far and time left, redrawn in place."""

    def __init__(self, study: Study, unit: str, live: Live) -> None:
        from rich.text import Text

        self._study = study
        self._unit = unit
        self._live = live
        live.update(Text(preparing(study)))

    def show(self, event: Event, state: RunState) -> None:
        self._live.update(self._render(state))

    def _render(self, state: RunState) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(title=f"{self._study.strategy} on {self._study.workload} ({self._study.recipe})", expand=False)
        names = map(short_name, self._study.space.names)
        for header in ("trial", *names, "state", "epochs", "eval loss"):
            table.add_column(header, justify="left" if header == "state" else "right")
        trials = [t for t in state.trials if t.state != "waiting"]
        hidden = max(0, len(trials) - SHOWN_TRIALS)
        for trial in trials[hidden:]:
            best = state.incumbent if state.incumbent and state.incumbent.trial == trial.trial else None
            table.add_row(*self._row(trial, best), style="bold" if best else "")
        if not trials:
            return Text(preparing(self._study))
        lines = [Text(f"… {hidden} earlier trials")] if hidden else []
        return Group(
            *lines, table, Text(summary(self._study, state, self._unit)), Text("Ctrl-C stops and keeps everything.")
        )

    def _row(self, trial: Trial, best: Incumbent | None) -> tuple[str, ...]:
        config = trial.config
        return (
            label(trial.trial).removeprefix("trial "),
            *(shown(config[name], ".3g") if name in config else "" for name in self._study.space.names),
            trial.state,
            f"{trial.epochs or 0}",
            number(trial.last_loss) + mark(best),
        )


def summary(study: Study, state: RunState, unit: str) -> str:
    """Trials, incumbent, cost so far and time left, in one line."""
    search = [t for t in state.trials if t.purpose == "search"]
    parts = [f"{sum(t.ended for t in search)}/{study.samples} trials"]
    if state.incumbent is not None:
        parts.append(f"best {best(state.incumbent)}")
    allocated, _ = state.ledger.spent()
    parts.append(f"{allocated or 0:.2f} {unit}-min")
    left_s = time_left_s(study, state)
    if left_s is not None:
        parts.append(f"about {clock_text(left_s)} left")
    return ", ".join(parts)


def mark(incumbent: Incumbent | None) -> str:
    """What stands beside the loss of the trial that is the incumbent."""
    if incumbent is None:
        return ""
    return f" ← best: {best(incumbent)}" if incumbent.values else " ← best"


def best(incumbent: Incumbent) -> str:
    """The incumbent's metrics, or its loss."""
    values = incumbent.values or {EVAL_LOSS: incumbent.eval_loss}
    return ", ".join(METRICS[name].shown(value) for name, value in values.items())


def time_left_s(study: Study, state: RunState, at_once: int | None = None) -> float | None:
    """Seconds until search and final retrain are done, if epochs (and, in new processes, starts) go on costing what
    they have cost, and the trials to come get as many epochs as those that have ended. `at_once`: trials that run side
    by side (None: as many as the study's engine has room for). None before the first epoch."""
    search = [t for t in state.trials if t.purpose == "search"]
    done = sum(t.epochs or 0 for t in search)
    if not done:
        return None
    startup_s = sum(t.busy_s["startup"] for t in search)
    epoch_s = (sum(t.runtime_s for t in search) - startup_s) / done
    trial_s = startup_s / sum(t.state != "waiting" for t in search) if study.engine in ("serial", "array") else 0.0
    ended = [t.epochs or 0 for t in search if t.ended]
    expected = sum(ended) / len(ended) if ended else study.epochs
    coming = study.samples - sum(t.state != "waiting" for t in search)
    left = sum(max(0.0, expected - (t.epochs or 0)) for t in search if not t.ended and t.state != "waiting")
    slots = at_once or (1 if study.engine == "serial" else study.slots)
    search_left_s = (coming * trial_s + (left + coming * expected) * epoch_s) / slots
    final = state.get(FINAL_TRIAL)
    final_left = study.final_epochs - ((final.epochs or 0) if final else 0)
    return (0.0 if state.search_finished else search_left_s) + final_left * epoch_s


def settings(trial: Trial | None) -> str:
    """A trial's configuration, in the reports' words."""
    config = trial.config if trial is not None else {}
    return ", ".join(f"{short_name(name)} {shown(value, '.3g')}" for name, value in config.items())


def label(trial: str) -> str:
    return "final retrain" if trial == FINAL_TRIAL else f"trial {trial}"


def number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


@contextmanager
def counter(what: str) -> Iterator[OnDone]:
    """Shows on standard error how many of `what` are done and when all will be, once that takes more than two seconds:
    a bar on a terminal, lines elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    bar = Progress(
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    task = bar.add_task("", total=None)
    began_s = time.monotonic()
    said_s = began_s + SHOWN_AFTER_S - LINE_EVERY_S
    first: tuple[float, int] | None = None  # before it workers start, which says nothing of what is to come

    def show(done: int, total: int) -> None:
        nonlocal said_s, first
        now_s = time.monotonic()
        bar.update(task, completed=done, total=total)
        first_s, first_done = first = first or (now_s, done)
        if done in (first_done, total) or now_s - began_s < SHOWN_AFTER_S:
            return
        if console.is_terminal:
            bar.start()
        elif now_s - said_s >= LINE_EVERY_S:
            said_s = now_s
            left_s = (now_s - first_s) / (done - first_done) * (total - done)
            print(f"{done}/{total} {what}, about {clock_text(left_s)} left", file=sys.stderr, flush=True)

    try:
        yield show
    finally:
        if console.is_terminal:  # elsewhere it would end with an empty line
            bar.stop()


def clock_text(seconds: float) -> str:
    """Minutes and seconds, with hours where there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
