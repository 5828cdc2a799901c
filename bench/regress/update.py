"""Renewing references: simulated again or from measured runs, with the reason and what changed kept in a history."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.errors import UserError, unknown
from bench.files import write_together
from bench.lock import hold
from bench.progress import OnDone
from bench.provenance import git_state
from bench.regress.exact import Now, compare_virtual, differences
from bench.regress.metrics import METRICS
from bench.regress.reference import (
    HISTORY_NAME,
    SCHEMA_VERSION,
    Reference,
    encode_reference,
    load_references,
)
from bench.regress.runs import Group, collect_runs
from bench.regress.virtual import NAME as STUDIES_NAME
from bench.regress.virtual import deciding_versions, load_studies, simulate

LOCK_NAME = ".lock"
NAME_RULE = "abcdefghijklmnopqrstuvwxyz0123456789-"


def update(
    folder: Path,
    names: Sequence[str],
    *,
    reason: str,
    runs: Path | None,
    jobs: int | None = None,
    on_done: OnDone | None = None,
    now: datetime | None = None,
) -> dict[str, list[str]]:
    """Renew the references in `folder` and return what changed in each, in words; one that did not change is left as it
    is, byte for byte.

    `names`: references, or sets of them (`tiny-squad-cpu` is all `tiny-squad-cpu-*`); none: all. Virtual ones are
    simulated again; measured ones are made from the runs below `runs`, and a new name from those of the one measured
    study there. Raises UserError, before anything is written.
    """
    if not reason.strip():
        raise UserError("--reason is empty: say in a sentence why the references change.")
    busy = f"Another process is renewing the references in {folder}: wait until it is done."
    with hold(folder / LOCK_NAME, instead="--references", busy=busy):
        try:
            history = _history(folder / HISTORY_NAME)
            renewed, changed = _renewed(folder, names, runs, jobs, on_done)
            stamp = (now or datetime.now(UTC)).strftime("%Y-%m-%d")
            commit = (git_state(Path.cwd()) or {}).get("commit")
            files = {}
            for name in changed:
                made = replace(renewed[name], date=stamp, commit=commit, reason=reason.strip())
                files[folder / f"{name}.json"] = encode_reference(made)
            if changed:
                history.append({"date": stamp, "commit": commit, "reason": reason.strip(), "changed": changed})
                text = json.dumps(history, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
                files[folder / HISTORY_NAME] = text.encode()
            write_together(files)
            return changed
        finally:
            (folder / LOCK_NAME).unlink(missing_ok=True)


def _renewed(
    folder: Path, names: Sequence[str], runs: Path | None, jobs: int | None, on_done: OnDone | None
) -> tuple[dict[str, Reference], dict[str, list[str]]]:
    """The references made again, and what changed in those that did."""
    old = load_references(folder)
    studies = load_studies(folder / STUDIES_NAME)
    known = sorted({*studies, *(n for n, r in old.items() if r.kind == "measured")})
    picked, new_name = _pick(names, known, runs)
    renewed = _virtual({n: s for n, s in studies.items() if n in picked}, jobs, on_done)
    renewed |= _measured([n for n in picked if n not in studies], old, new_name, runs, explicit=bool(names))
    told = {name: _changes(old.get(name), reference) for name, reference in sorted(renewed.items())}
    return renewed, {name: what for name, what in told.items() if what}


def _pick(names: Sequence[str], known: Sequence[str], runs: Path | None) -> tuple[list[str], str | None]:
    """The known references that are asked for, and a name that is to be new."""
    picked: list[str] = []
    new: list[str] = []
    for name in names:
        own = [k for k in known if k == name or k.startswith(f"{name}-")]
        picked += own
        if not own:
            new.append(name)
    if new and (runs is None or len(new) > 1):
        raise unknown("reference", new[0], known)
    if new and (not new[0] or set(new[0]) - set(NAME_RULE) or f"{new[0]}.json" == HISTORY_NAME):
        raise UserError(f"'{new[0]}' cannot name a reference: use lower-case letters, digits and hyphens.")
    return (list(dict.fromkeys(picked)) if names else list(known)), (new[0] if new else None)


def _virtual(studies: dict[str, Any], jobs: int | None, on_done: OnDone | None) -> dict[str, Reference]:
    if not studies:
        return {}
    packages = deciding_versions()
    simulated = simulate(studies, jobs=jobs, on_done=on_done)
    return {
        name: _reference("virtual", studies[name][0].to_dict(), None, packages, own) for name, own in simulated.items()
    }


def _measured(
    names: Sequence[str], old: dict[str, Reference], new_name: str | None, runs: Path | None, *, explicit: bool
) -> dict[str, Reference]:
    """From the runs below `runs`. A reference that was asked for by name must have some there."""
    if not names and new_name is None:
        return {}
    if runs is None or not runs.is_dir():
        if explicit:
            raise UserError("A measured reference is made from runs: name the folder that holds them with --runs.")
        return {}
    groups = [g for g in collect_runs(runs).groups if not g.virtual]
    made = {}
    for name in names:
        own = [g for g in groups if _reference_of(g).key() == old[name].key()]
        if len(own) > 1:
            raise UserError(f"{runs} holds runs of {name} from {len(own)} machines: keep those of one apart.")
        if own:
            made[name] = _reference_of(own[0])
        elif explicit:
            raise UserError(f"{runs} holds no finished runs of {name}: name a folder that does with --runs.")
    if new_name is not None:
        if len(groups) != 1:
            raise UserError(
                f"There is no reference '{new_name}', and {runs} holds measured runs of {len(groups)} studies or "
                "machines: give a folder with those of one to make it."
            )
        made[new_name] = _reference_of(groups[0])
    return made


def _reference_of(group: Group) -> Reference:
    runs = sorted(group.runs, key=lambda run: run.seed)  # stable: by time within a seed
    return _reference("measured", group.study, group.machine, {}, runs)


def _reference(
    kind: Any, study: dict[str, Any], machine: dict[str, Any] | None, packages: dict[str, str], runs: Sequence[Any]
) -> Reference:
    study = json.loads(json.dumps({**study, "seed": runs[0].seed}))  # as it will be read back
    return Reference(
        schema_version=SCHEMA_VERSION,
        kind=kind,
        study=study,
        machine=machine,
        packages=packages,
        runs=tuple(runs),
        date="",
        commit=None,
        reason="",
    )


def _changes(old: Reference | None, new: Reference) -> list[str]:
    """What is different in a renewed reference, in words; empty where nothing is."""
    if old is None:
        return [f"new, {len(new.runs)} runs"]
    told: list[str] = []
    if old.kind == new.kind == "virtual":
        findings = compare_virtual("", old, Now(study=new.study, runs=new.runs, packages=new.packages))
        told = [f"{f.metric}: {f.detail.rstrip('.')}" for f in findings if f.failed]
        if len(new.runs) != len(old.runs):
            told.append(f"{len(old.runs)} seeds became {len(new.runs)}")
    elif old.runs != new.runs:
        again = len({r.journal_sha256 for r in old.runs} & {r.journal_sha256 for r in new.runs})
        told.append(f"{len(old.runs)} runs became {len(new.runs)}, {again} of them the same")
        told += differences(_medians(old), _medians(new))
    told += differences({"machine": old.machine}, {"machine": new.machine})
    told += [f"package {text}" for text in differences(old.packages, new.packages)]
    return told


def _medians(reference: Reference) -> dict[str, str]:
    from statistics import median

    values = {m: median([run.value(m) for run in reference.runs]) for m in METRICS if m != "trial_losses"}
    return {f"median {name}": f"{value:.6g}" for name, value in values.items()}


def _history(path: Path) -> list[Any]:
    """What was renewed before, oldest first. Raises UserError where it cannot be read: no reason may be lost."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
        if not isinstance(entries, list):
            raise ValueError("it is not a list")
    except (OSError, ValueError) as error:
        raise UserError(f"The history {path} cannot be read ({error}): restore it from a copy.") from None
    return entries
