"""What a reader must know before believing the numbers, each a sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from bench.errors import UserError
from bench.hyperparameters import shown
from bench.metrics import MEMORY, TRIAL_COST, study_metrics
from bench.record import Record
from bench.report.costs import startup_share
from bench.report.entries import Entry
from bench.report.keys import search_is_over
from bench.report.wording import count, kind_of_device, listed, some
from bench.study import Study
from bench.workload import load_recipe

SEEDS_FOR_A_CLAIM = 5
TROUBLE = frozenset({"nan", "oom", "timeout", "failed"})
"""States in which a trial ended that nobody wanted to end so."""
STARTUP_SHARE = 0.2
"""Of a run's busy cost; below it start-up is not worth a warning."""
RATIOS_APART = 0.1
"""So far apart, relatively, the ratios on busy and on training time must be for one."""


def run_warnings(record: Record) -> list[str]:
    """What is odd about one run."""
    found = _state_warnings(record)
    if record.winner is not None and record.winner.edges:
        names = listed([f"{name} {shown(record.winner.config[name], 'g')}" for name in record.winner.edges])
        found.append(
            f"The winner lies on an edge of the search space ({names}): a better one may lie beyond. Widen the range."
        )
    found += _model_warnings(record)
    found += _recipe_warnings(record)
    found += _metric_warnings(record)
    found += _cost_warnings(record)
    found += _provenance_warnings(record)
    found += [note.message for note in record.notes if note.level == "warning"]
    return found


def comparison_warnings(entries: Sequence[Entry]) -> list[str]:
    """What is odd about the runs side by side; each run's own warnings come with its label, equal ones once."""
    found: dict[str, list[str]] = {}
    for entry in entries:
        for warning in run_warnings(entry.record):
            found.setdefault(warning, []).append(entry.label)
    everybody = len(entries)
    lines = [w if len(who) == everybody else f"{some(who)}: {w}" for w, who in found.items()]
    lines += refusals(entries)
    lines += startup_warnings(entries)
    lines += final_warnings(entries)
    lines += _differing(entries, "commits", lambda p: (p.get("git") or {}).get("commit"))
    lines += _differing(entries, "machines", lambda p: p.get("host"))
    lines += provisional(entries)
    return lines


def refusals(entries: Iterable[Entry]) -> list[str]:
    """Why runs have no cost ratio."""
    reasons: dict[str, list[str]] = {}
    for entry in entries:
        if entry.baseline is None:
            reasons.setdefault(entry.refusal, []).append(entry.label)
    return [f"No cost ratio for {some(who)}: {reason}." for reason, who in reasons.items()]


def startup_warnings(entries: Iterable[Entry]) -> list[str]:
    """Where much of a cost ratio is start-up, and training alone compares differently."""
    found: dict[str, float] = {}
    for entry in entries:
        busy, train, share = entry.ratio("busy"), entry.train_ratio, _most_startup(entry)
        if busy and train is not None and share > STARTUP_SHARE and abs(train / busy - 1) > RATIOS_APART:
            found[f"{train:.2f} (busy {busy:.2f}) of {entry.label}"] = share
    if not found:
        return []
    return [
        f"Start-up is up to {max(found.values()):.0%} of a run's busy cost: much of the cost ratio is imports, which "
        f"longer trials would dilute. On training time alone it is: {some(list(found))}."
    ]


def _most_startup(entry: Entry) -> float:
    """Start-up's share of the run's busy cost or of its baseline's, whichever is more."""
    return max(startup_share(r) or 0.0 for r in (entry.record, entry.baseline) if r is not None)


def final_warnings(entries: Iterable[Entry]) -> list[str]:
    """Where winners of comparable searches were retrained for different lengths."""
    lengths: dict[object, dict[int, list[str]]] = {}
    for entry in entries:
        if entry.baseline is not None:
            lengths.setdefault(entry.search_key, {}).setdefault(entry.study.final_epochs, []).append(entry.label)
    found = []
    for by_length in lengths.values():
        said = [f"{count(n, 'epoch') if n else 'none'}: {some(labels)}" for n, labels in by_length.items()]
        if len(said) > 1:
            found.append(f"Final retrains differ ({' / '.join(said)}): search costs compare, test losses do not.")
    return found


def provisional(entries: Sequence[Entry]) -> list[str]:
    """Fewer than five seeds of a strategy support no claim."""
    seeds: dict[str, set[int]] = {}
    names: dict[str, str] = {}
    for entry in entries:
        seeds.setdefault(entry.group, set()).add(entry.study.seed)
        names[entry.group] = entry.study.strategy
    few = {group: len(s) for group, s in seeds.items() if len(s) < SEEDS_FOR_A_CLAIM}
    if not few:
        return []
    counts = Counter((names[group], number) for group, number in few.items())
    said = listed([f"{name} has {number}" for name, number in counts])
    return [f"Provisional: fewer than {SEEDS_FOR_A_CLAIM} seeds ({said}); differences may be chance."]


def _state_warnings(record: Record) -> list[str]:
    found = []
    if record.status != "finished":
        found.append(_unfinished(record))
    if record.winner is None and search_is_over(record):
        found.append(_without_winner(record))
    return found


def _unfinished(record: Record) -> str:
    """What happened, and how to go on."""
    ended = sum(t.ended for t in record.search_trials)
    where = "before its first trial" if not record.search_trials else f"after {ended} of its trials had ended"
    if search_is_over(record):
        where = "in the final retrain"
    if record.status == "interrupted":
        how = f"The run was interrupted {where}"
    else:
        how = f"The run is not finished: it is under way, or it was killed {where}"
    return f"{how}. What is shown is what there is so far; `sweepmark resume {record.run_id}` goes on with it."


def _without_winner(record: Record) -> str:
    states = Counter(t.state for t in record.search_trials)
    if not states:
        return "The search ended without a trial: its strategy suggested none. Correct it and run again with --fresh."
    ends = ", ".join(f"{number} {state}" for state, number in states.items() if state in TROUBLE)
    epochs = count(int(record.study["epochs"]), "epoch")
    if states.keys() & (TROUBLE - {"nan"}):
        remedy = "See below the trials what ended them, mend that and run again with --fresh."
    elif states.keys() <= {"nan"}:
        remedy = "Lower the bounds of the learning rate."
    else:
        remedy = "Allow more trials or a strategy that stops fewer."
    full = f"No trial is known to have trained for all of {epochs} with a finite loss"
    return f"{full}{f' ({ends})' if ends else ''}: there is no winner. {remedy}"


def _model_warnings(record: Record) -> list[str]:
    suggestions = [t.model_based for t in record.search_trials if t.model_based is not None]
    if not suggestions or any(suggestions) or not search_is_over(record):
        return []
    return [
        f"{record.study['strategy']} has a model of earlier results, but none of its {len(suggestions)} suggestions "
        "came from it: this was random sampling. Allow more trials."
    ]


def _recipe_warnings(record: Record) -> list[str]:
    return _about_recipe(str(record.study["recipe"]))


@cache
def _about_recipe(name: str) -> list[str]:
    try:
        recipe = load_recipe(name)
    except UserError:  # a recipe of somebody else's: nothing is known of it
        return []
    if recipe.applies_weight_decay:
        return []
    return [f"The recipe {name} does not apply weight decay: trials that differ in it alone are repeats."]


def _metric_warnings(record: Record) -> list[str]:
    """What Ray's workers, and trials beside each other, do to some metrics."""
    names = study_metrics(record.study)
    found: list[str] = []
    if record.study["engine"] != "ray":
        return found
    if TRIAL_COST in names:
        found.append(f"{TRIAL_COST} holds the imports of a worker's process in the first trial of each worker.")
    if MEMORY in names and kind_of_device(str(record.study["profile"])) == "cpu":
        found.append(f"{MEMORY} holds Ray's own part of a worker's process, which the grid's processes are without.")
    beside = Study.from_dict(record.study).slots
    found += [
        f"{name} was measured with up to {beside} trials beside each other, which slow each other down where they "
        "share a machine; the grid's had it to themselves (one slot, as by --devices 1, measures alone)."
        for name in names
        if name in ("samples_per_s", "tokens_per_s") and beside > 1
    ]
    return found


def _cost_warnings(record: Record) -> list[str]:
    found = []
    if not (record.costs.search.complete and record.costs.final.complete):
        found.append("Devices were still held when the journal ended: they are charged up to its last event.")
    allocated, busy = record.costs.search.allocated_device_min, record.costs.search.busy_device_min
    if allocated is not None and busy > allocated * 1.001:
        found.append(
            f"Trials were busy for {busy:.2f} device-minutes but only {allocated:.2f} were held: the journal does not "
            "add up."
        )
    if record.resumes:
        found.append(f"The run was resumed {_times(record.resumes)}; what was lost each time is charged.")
    return found


def _provenance_warnings(record: Record) -> list[str]:
    found = []
    git = record.provenance.get("git")
    if isinstance(git, dict) and git.get("clean") is False:
        found.append("Measured from a working tree with uncommitted changes: its commit does not say what ran.")
    commits = {_commit(p) for p in (record.provenance, *record.resumed_provenance)} - {None}
    if len(commits) > 1:
        found.append("The run was resumed from another commit than it was started from.")
    return found


def _commit(provenance: dict[str, Any]) -> str | None:
    git = provenance.get("git")
    return str(git["commit"]) if isinstance(git, dict) and git.get("commit") else None


def _differing(entries: Sequence[Entry], what: str, of: Any) -> list[str]:
    values = {str(v) for v in (of(e.record.provenance) for e in entries) if v}
    if len(values) < 2:
        return []
    return [f"The runs come from {len(values)} different {what}: differences between them may be differences of those."]


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"
