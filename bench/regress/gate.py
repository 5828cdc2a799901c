"""One gate: two sides, what they have in common, and what is found there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.errors import UserError
from bench.progress import OnDone
from bench.regress.exact import Now, compare_virtual
from bench.regress.findings import NOT_RUN, Finding
from bench.regress.measured import Pair, compare_measured
from bench.regress.metrics import METRICS, RunMetrics
from bench.regress.reference import HISTORY_NAME, Reference, load_reference, load_references
from bench.regress.runs import Runs, collect_runs
from bench.regress.tolerances import NAME as TOLERANCES_NAME
from bench.regress.tolerances import Tolerances, load_tolerances
from bench.regress.virtual import NAME as STUDIES_NAME
from bench.regress.virtual import deciding_versions, load_studies, simulate
from bench.resources import resource_dir

ELSEWHERE = (
    "Cannot be judged: the new runs come from another machine than the reference, or from one that they do not name; "
    "make a reference from runs of that machine: sweepmark regress --update --reason TEXT --runs DIR NAME."
)


@dataclass(frozen=True, kw_only=True)
class Gate:
    """`level`: the false-alarm rate of each of the `tests` (measured runs alone). `remarks`: sentences about what was
    left out."""

    findings: tuple[Finding, ...]
    false_alarm_rate: float
    tests: int
    remarks: tuple[str, ...] = ()

    @property
    def level(self) -> float:
        return self.false_alarm_rate / max(self.tests, 1)


@dataclass(frozen=True, kw_only=True)
class Side:
    """References by name, or runs."""

    references: dict[str, Reference]
    left_out: tuple[tuple[str, str, int], ...] = ()


def read_side(path: Path, on_done: OnDone | None = None) -> Side:
    """References of a file or a folder, or the runs below a folder as references. Raises UserError where there is
    neither."""
    if path.is_file():
        return Side(references={path.stem: load_reference(path)})
    if not path.is_dir():
        raise UserError(f"{path} does not exist: give a reference, a folder with references, or one with runs.")
    if any(p.name != HISTORY_NAME and p.name != "record.json" for p in path.glob("*.json")):
        return Side(references=load_references(path))
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


def gate(base_path: Path, new_path: Path, on_done: OnDone | None = None) -> Gate:
    """Compare two sides given by paths. Raises UserError where they have nothing in common."""
    base, new = read_side(base_path, on_done), read_side(new_path, on_done)
    now: dict[str, Now] = {}
    repeats: dict[str, list[Reference]] = {}
    for name, reference in base.references.items():
        if reference.kind == "virtual":
            other = _virtual_match(name, reference, new.references)
            if other is not None:
                now[name] = Now(study=other.study, runs=other.runs, packages=other.packages)
        else:
            repeats[name] = [r for r in new.references.values() if r.kind == "measured" and r.key() == reference.key()]
    if not now and not any(repeats.values()):
        raise UserError(
            f"{base_path} and {new_path} have no study in common: give runs of the same studies (seeds may differ)."
        )
    return judge(base.references, now, repeats, tolerances_of(base_path), (*base.left_out, *new.left_out))


def _virtual_match(name: str, base: Reference, new: dict[str, Reference]) -> Reference | None:
    """The same study, perhaps on a changed curve set; else one of the same name."""
    virtual = {n: r for n, r in new.items() if r.kind == "virtual"}
    for other in virtual.values():
        if _without_digest(other) == _without_digest(base):
            return other
    return virtual.get(name)


def _without_digest(reference: Reference) -> dict[str, object]:
    simulation = dict(reference.study.get("simulation") or {}, curves_sha256="")
    return {**reference.study, "seed": 0, "simulation": simulation}


def default_gate(
    base_path: Path, runs: Runs, *, asked: bool = True, jobs: int | None = None, on_done: OnDone | None = None
) -> Gate:
    """The references against their virtual studies simulated now, and against measured `runs`. `asked`: somebody named
    those runs; ones that happened to be there and cannot be judged count as not run. Raises UserError where there are
    no references, or where studies and references are not the same."""
    references = read_side(base_path).references
    studies = load_studies(base_path / STUDIES_NAME)
    virtual = {name for name, r in references.items() if r.kind == "virtual"}
    for name in sorted(virtual ^ set(studies)):
        lacks = f"no study in {STUDIES_NAME}" if name in virtual else "no reference yet"
        raise UserError(
            f"The virtual study {name} has {lacks}: "
            f"{'add one or remove its file' if name in virtual else 'make it with --update and a reason'}."
        )
    news = simulate(studies, jobs=jobs, on_done=on_done)
    packages = deciding_versions()
    now = {name: Now(study=studies[name][0].to_dict(), runs=own, packages=packages) for name, own in news.items()}
    measured = {name: r for name, r in references.items() if r.kind == "measured"}
    found = [r for r in as_references(runs).values() if r.kind == "measured"]
    repeats = {name: [r for r in found if r.key() == own.key()] for name, own in measured.items()}
    judged = judge(references, now, repeats, tolerances_of(base_path), runs.left_out)
    if asked:
        return judged
    findings = [replace(f, verdict="not run") if f.verdict == "cannot tell" else f for f in judged.findings]
    return replace(judged, findings=tuple(findings))


def judge(
    base: dict[str, Reference],
    now: dict[str, Now],
    repeats: dict[str, list[Reference]],
    tolerances: Tolerances,
    left_out: Sequence[tuple[str, str, int]] = (),
) -> Gate:
    """The findings on all references, in order of names. The false-alarm rate is split evenly over all tests of
    measured runs (Bonferroni); virtual runs need none."""
    keys = {reference.key(): name for name, reference in base.items()}
    said = [f"{keys[key]}: {_runs(n)} left out: {why}." for key, why, n in left_out if key in keys]
    pairs: dict[str, Pair] = {}
    elsewhere: dict[str, int] = {}
    for name, others in repeats.items():
        own, elsewhere[name] = _fresh(name, base, others, said)
        if own:
            pairs[name] = Pair(name=name, base=base[name].runs, new=own)
    tests = len(METRICS) * len(pairs)
    level = tolerances.false_alarm_rate / max(tests, 1)
    findings: list[Finding] = []
    for name, reference in sorted(base.items()):
        if name in now:
            findings += compare_virtual(name, reference, now[name])
        elif name in pairs:
            findings += compare_measured(pairs[name], tolerances.find(reference.workload, reference.profile), level)
        elif elsewhere.get(name):
            findings.append(Finding(study=name, metric="all", kind="measured", verdict="cannot tell", detail=ELSEWHERE))
        else:
            findings.append(Finding(study=name, metric="all", kind=reference.kind, verdict="not run", detail=NOT_RUN))
    return Gate(
        findings=tuple(findings), false_alarm_rate=tolerances.false_alarm_rate, tests=tests, remarks=tuple(said)
    )


def _runs(count: int) -> str:
    return f"{count} run was" if count == 1 else f"{count} runs were"


def _fresh(
    name: str, base: dict[str, Reference], others: Sequence[Reference], said: list[str]
) -> tuple[tuple[RunMetrics, ...], int]:
    """The new runs on the reference's machine, and how many there are on machines that no reference is of."""
    own = base[name]
    known = {run.journal_sha256 for run in own.runs}
    machines = [r.machine for r in base.values() if r.key() == own.key() and r.machine is not None]
    fresh: list[RunMetrics] = []
    again = elsewhere = 0
    for other in others:
        runs = [run for run in other.runs if run.journal_sha256 not in known]
        again += len(other.runs) - len(runs)
        if other.machine is not None and other.machine == own.machine:
            fresh += runs
        elif other.machine not in machines:
            elsewhere += len(runs)
    if again:
        said.append(f"{name}: {_runs(again)} left out: in the reference already.")
    if fresh and elsewhere:
        said.append(f"{name}: {_runs(elsewhere)} left out: of another machine.")
    return tuple(fresh), elsewhere
