"""The facts of a run as its page and a comparison show them, each said once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bench.events import FinalScored
from bench.record import Record
from bench.report.costs import final_device_min
from bench.report.machine import machine
from bench.report.wording import data_name, device_of
from bench.site.provenance import tree
from bench.study import Study
from bench.tables import MISSING, clean
from bench.trials import TrialState


@dataclass(frozen=True, kw_only=True)
class Fact:
    """`text`: as people read it. `term`: anchor of its explanation, or nothing."""

    name: str
    text: str
    term: str = ""


def run_label(study: Study) -> str:
    """Short, for headings and pictures; two runs may share it."""
    return clean(f"{study.strategy}, seed {study.seed}")


def settings(study: Study) -> str:
    """A strategy's settings in a line; empty where it has none."""
    return _pairs(study.settings)


def facts(record: Record, study: Study) -> list[Fact]:
    """What the run is, what it cost and what it found. Any two runs have the same facts in the same order."""
    search, minutes = record.costs.search, device_of(record).minutes
    winner = record.winner
    return [
        Fact(name="strategy", text=study.strategy),
        Fact(name="settings", text=settings(study) or "none"),
        Fact(name="seed", text=str(study.seed), term="seed"),
        Fact(name="measured or simulated", text=origin(study), term=origin(study)),
        Fact(name="status", text=record.status),
        Fact(name="workload", text=study.workload, term="workload"),
        Fact(name="recipe", text=study.recipe, term="workload"),
        Fact(name="profile", text=study.profile, term="workload"),
        Fact(name="data", text=data_name(study)),
        Fact(name="machine", text=machine(record) or ("none" if study.simulation else "not probed"), term="measured"),
        Fact(name="trials × epochs", text=f"{study.samples} × {study.epochs}", term="full-fidelity"),
        Fact(name="trials ended", text=_states(record), term="states"),
        Fact(name="winner", text=_pairs(winner.config) if winner else "none", term="incumbent"),
        Fact(name="loss in search", text=_number(None if winner is None else winner.eval_loss, ".4f"), term="loss"),
        Fact(name=f"allocated ({minutes})", text=_number(search.allocated_device_min, ".2f"), term="allocated"),
        Fact(name=f"busy ({minutes})", text=_number(search.busy_device_min, ".2f"), term="busy"),
        Fact(name=f"idle ({minutes})", text=_number(search.idle_device_min, ".2f"), term="idle"),
        Fact(name="utilisation", text=_number(search.utilisation, ".0%"), term="utilisation"),
        Fact(name="devices", text=f"{search.devices or study.devices}"),
        Fact(name="search wall time (min)", text=_number(None if search.wall_s is None else search.wall_s / 60, ".2f")),
        Fact(name=f"final retrain ({minutes})", text=_number(final_device_min(record), ".2f"), term="final-retrain"),
        Fact(name="final epochs", text=str(study.final_epochs), term="final-retrain"),
        *_scores(record.final),
        Fact(name="ended", text=ended(record, study)),
        Fact(name="commit", text=commit(record)),
    ]  # fmt: skip


def headline(record: Record) -> list[Fact]:
    """The few numbers that a run's page begins with."""
    search, winner, minutes = record.costs.search, record.winner, device_of(record).minutes
    shown = [
        Fact(name="loss in search", text=_number(None if winner is None else winner.eval_loss, ".4f"), term="loss"),
        Fact(name=f"{minutes} allocated", text=_number(search.allocated_device_min, ".2f"), term="allocated"),
        Fact(name=f"{minutes} busy", text=_number(search.busy_device_min, ".2f"), term="busy"),
        Fact(name="utilisation", text=_number(search.utilisation, ".0%"), term="utilisation"),
    ]
    if record.final is not None:
        shown += [fact for fact in _scores(record.final) if fact.text != MISSING]
    return shown


def origin(study: Study) -> str:
    return "simulated" if study.simulation is not None else "measured"


def ended(record: Record, study: Study) -> str:
    """When its last event was, in UTC; virtual time has no date."""
    if study.simulation is not None:
        return "in virtual time"
    return datetime.fromtimestamp(record.ended_s, UTC).strftime("%Y-%m-%d %H:%M UTC")


def commit(record: Record) -> str:
    """The commit that ran, and whether files beside it had changed."""
    git = record.provenance.get("git")
    if not isinstance(git, dict) or not git.get("commit"):
        return MISSING
    return clean(f"{str(git['commit'])[:12]} (tree {tree(git.get('clean'))})")


def _scores(final: FinalScored | None) -> list[Fact]:
    """The retrained winner on the test split."""
    return [
        Fact(name="loss on test split", text=_number(None if final is None else final.test_loss, ".4f"), term="loss"),
        Fact(name="exact match (%)", text=_number(None if final is None else final.exact_match, ".1f"), term="em-f1"),
        Fact(name="F1 (%)", text=_number(None if final is None else final.f1, ".1f"), term="em-f1"),
    ]


def _pairs(values: Any) -> str:
    return clean(", ".join(f"{name} {_value(value)}" for name, value in dict(values).items()))


def _value(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _number(value: float | None, spec: str) -> str:
    return MISSING if value is None else format(value, spec)


def _states(record: Record) -> str:
    return ", ".join(f"{number} {state}" for state, number in _counts(record)) or "none"


def _counts(record: Record) -> Iterator[tuple[TrialState, int]]:
    states = [t.state for t in record.search_trials]
    for state in dict.fromkeys(sorted(states)):
        yield state, states.count(state)
