"""A side of a comparison: references of a file or a folder, or runs that are taken for some."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.errors import UserError
from bench.progress import OnDone
from bench.regress.reference import HISTORY_NAME, Reference, load_reference, load_references
from bench.regress.runs import Runs, collect_runs
from bench.regress.tolerances import NAME as TOLERANCES_NAME
from bench.regress.tolerances import Tolerances, load_tolerances
from bench.resources import resource_dir


@dataclass(frozen=True, kw_only=True)
class Side:
    """References by name, or runs. `folder`: that of the references (None: they are runs)."""

    references: dict[str, Reference]
    left_out: tuple[tuple[str, str, int], ...] = ()
    folder: Path | None = None

    @property
    def measured(self) -> dict[str, Reference]:
        return {name: r for name, r in self.references.items() if r.kind == "measured"}


def read_side(path: Path, on_done: OnDone | None = None) -> Side:
    """References of a file or a folder, or the runs below a folder as references. Raises UserError where there is
    neither."""
    if path.is_file():
        return Side(references={path.stem: load_reference(path)}, folder=path.parent)
    if not path.is_dir():
        raise UserError(f"{path} does not exist: give a reference, a folder with references, or one with runs.")
    if any(p.name != HISTORY_NAME and p.name != "record.json" for p in path.glob("*.json")):
        return Side(references=load_references(path), folder=path)
    runs = collect_runs(path, on_done)
    if not runs.groups:
        raise UserError(
            f"{path} holds neither references nor finished runs: give a folder with *.json references or with runs."
        )
    return Side(references=as_references(runs), left_out=runs.left_out)


def as_references(runs: Runs) -> dict[str, Reference]:
    """Groups of runs under names that tell their study; machines apart."""
    found: dict[str, Reference] = {}
    for group in runs.groups:
        study = group.study
        name = f"{study['strategy']}-{study['workload']}-{study['recipe']}-{study['profile']}-{study['engine']}"
        number = 1
        while (unique := name if number == 1 else f"{name}-{number}") in found:
            number += 1
        found[unique] = Reference(
            schema_version=1,
            kind="virtual" if group.virtual else "measured",
            study=study,
            machine=group.machine,
            packages=group.packages,
            runs=tuple(group.runs),
            date="",
            commit=None,
            reason="",
        )
    return found


def tolerances_of(base: Path) -> Tolerances:
    """Those beside the base, else the project's own."""
    folder = base if base.is_dir() else base.parent
    path = folder / TOLERANCES_NAME
    return load_tolerances(path if path.is_file() else resource_dir("results/reference") / TOLERANCES_NAME)
