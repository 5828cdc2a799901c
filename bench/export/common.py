"""What all exports tell of a run: names without danger, times, outcomes, costs and facts."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from bench.events import EpochFinished, Event, TrialEnded, TrialPaused, TrialStarted, WorkLost
from bench.ledger import Costs
from bench.record import Record, encode_record
from bench.trials import Config, Trial, TrialState

FAILED: frozenset[TrialState] = frozenset({"nan", "oom", "timeout", "failed"})
"""The states that other tools call failed."""

NAME_CHARACTERS, TEXT_CHARACTERS = 80, 500


def safe_name(text: str) -> str:
    """The text where it can be a file's name and a key anywhere (letters, digits, `.`, `_`, `-`, no dot in front), else
    what is left of it with six digits of its hash, so that two texts stay two names."""
    kept = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip(".-")
    if kept == text and 0 < len(kept) <= NAME_CHARACTERS:
        return text
    kept = kept[: NAME_CHARACTERS - 7]
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:6]
    return f"{kept}-{digest}" if kept else digest


def one_line(text: object) -> str:
    """The text on one line, without control characters, cut to a length that every tool takes."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return line if len(line) <= TEXT_CHARACTERS else line[: TEXT_CHARACTERS - 1] + "…"


@dataclass(frozen=True, kw_only=True)
class Source:
    """A run to export. `events`: its journal, which alone knows when trials started (None: not at hand)."""

    record: Record
    events: Sequence[Event] | None = None

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the record: the same run in the same state."""
        return hashlib.sha256(encode_record(self.record)).hexdigest()

    @property
    def simulated(self) -> bool:
        return self.record.study.get("simulation") is not None

    @property
    def label(self) -> str:
        """The run's name in other tools: safe as a file name, and it says where the run is simulated."""
        return safe_name(self.record.run_id) + ("-simulated" if self.simulated else "")

    @cached_property
    def times(self) -> Mapping[str, tuple[float, float]]:
        """By trial, seconds at which it first started and last reported, on the record's clock. Without the journal the
        start is the end less the time that the trial worked, so later than the true one where it waited."""
        record = self.record
        times: dict[str, tuple[float, float]] = {}
        for event in self.events or ():
            if isinstance(event, (TrialStarted, EpochFinished, TrialPaused, TrialEnded, WorkLost)):
                times[event.trial] = (times.get(event.trial, (event.at_s, 0))[0], event.at_s)
        for trial in record.trials:
            if trial.trial not in times:
                end_s = trial.curve[-1].at_s if trial.curve else record.started_s
                times[trial.trial] = (max(record.started_s, end_s - trial.runtime_s), end_s)
        return times


Outcome = Literal["failed", "ended", "cut", "open"]
"""What became of a trial in the words that other tools have. `ended`: it completed or was stopped. `cut`: its run is
over or was interrupted before it ended. `open`: it may go on."""


def outcome(record: Record, trial: Trial) -> Outcome:
    """What became of a trial."""
    if trial.state in FAILED:
        return "failed"
    if trial.ended:
        return "ended"
    return "open" if record.status == "running" else "cut"


def exported_config(trial: Trial) -> Config:
    """The configuration that a trial's loss belongs to: the one in force at its best loss, else the latest."""
    return trial.config if trial.best_config is None else trial.best_config


def changes_text(trial: Trial) -> str:
    """How the configuration of a trial changed on its way (population-based training); empty where it did not."""
    return "; ".join(
        f"after epoch {c.epoch} weights of trial {one_line(c.donor)} as of epoch {c.donor_epoch}, "
        + ", ".join(f"{one_line(k)} {c.previous.get(k, '–')} to {v}" for k, v in c.config.items())
        for c in trial.history
    )


def cost_numbers(record: Record) -> dict[str, float]:
    """What the run cost and how its winner scored: all that is known, units in the names."""
    numbers: dict[str, float | None] = {"elapsed_s": record.costs.elapsed_s}
    costs: Mapping[str, Costs] = {"search": record.costs.search, "final": record.costs.final}
    for purpose, cost in costs.items():
        numbers |= {
            f"{purpose}_allocated_device_min": cost.allocated_device_min,
            f"{purpose}_busy_device_min": cost.busy_device_min,
            f"{purpose}_idle_device_min": cost.idle_device_min,
            f"{purpose}_utilisation": cost.utilisation,
            f"{purpose}_wall_s": cost.wall_s,
        }
        numbers |= {f"{purpose}_{phase}_device_min": minutes for phase, minutes in cost.by_phase_device_min.items()}
    if record.winner is not None:
        numbers["winner_eval_loss"] = record.winner.eval_loss
    if record.final is not None:
        final = record.final
        numbers |= {"test_loss": final.test_loss, "test_exact_match": final.exact_match, "test_f1": final.f1}
    return {name: value for name, value in numbers.items() if value is not None}


def study_facts(source: Source) -> dict[str, str]:
    """What the run does, each on one line."""
    study = source.record.study
    names = ("workload", "recipe", "strategy", "profile", "engine", "seed", "samples", "epochs", "final_epochs")
    told = {name: one_line(study[name]) for name in (*names, "devices", "devices_per_trial") if name in study}
    told |= {f"setting_{safe_name(name)}": one_line(value) for name, value in dict(study.get("settings") or {}).items()}
    return told | {name: one_line(study[name]) for name in ("model", "dataset_name") if study.get(name)}


def run_facts(source: Source) -> dict[str, str]:
    """What became of the run and how it came about, each on one line."""
    record = source.record
    told = {"run": one_line(record.run_id), "status": record.status, "numbers": nature(source)}
    git = record.provenance.get("git")
    if isinstance(git, dict) and git.get("commit"):
        told["commit"] = one_line(git["commit"])
    if record.winner is not None:
        told["winner"] = f"trial {record.winner.number}"
    if record.notes:
        told["notes"] = one_line(" ".join(note.message for note in record.notes))
    return told


def nature(source: Source) -> str:
    """Whether the numbers are measured or simulated, and on what."""
    simulation = source.record.study.get("simulation")
    if simulation is None:
        return "measured"
    return one_line(f"simulated in virtual time on the curves {simulation.get('curves')}")
