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
from bench.regress.reference import Reference
from bench.regress.runs import Runs
from bench.regress.side import as_references, read_side, tolerances_of
from bench.regress.sought import Renewal, Sought
from bench.regress.tolerances import Tolerances
from bench.regress.virtual import NAME as STUDIES_NAME
from bench.regress.virtual import deciding_versions, load_studies, simulate

ELSEWHERE = (
    "Cannot be judged: the new runs come from another machine than the reference, or from one that they do not name; "
    "make a reference from runs of that machine"
)


@dataclass(frozen=True, kw_only=True)
class Gate:
    """`level`: the false-alarm rate of each of the `tests` (measured runs alone). `remarks`: sentences about what was
    left out. `renewal`: how what moved is accepted (None: the base is runs, which are not renewed)."""

    findings: tuple[Finding, ...]
    false_alarm_rate: float
    tests: int
    remarks: tuple[str, ...] = ()
    renewal: Renewal | None = None

    @property
    def level(self) -> float:
        return self.false_alarm_rate / max(self.tests, 1)


def gate(base_path: Path, new_path: Path, on_done: OnDone | None = None) -> Gate:
    """Compare two sides given by paths. Raises UserError where the base is virtual and has nothing in common
    with new; a measured base cannot be judged then."""
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
    if not now and not repeats:
        raise UserError(
            f"{base_path} and {new_path} have no study in common: give runs of the same studies (seeds may differ)."
        )
    runs = new_path if new.folder is None else None
    return judge(
        base.references, now, repeats, tolerances_of(base_path), (*base.left_out, *new.left_out),
        sought=Sought(where=new_path, found=tuple(new.measured.values()), runs=runs is not None, left_out=new.left_out),
        renewal=None if base.folder is None else Renewal(references=base.folder, runs=runs),
    )  # fmt: skip


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
    base_path: Path,
    runs: Runs,
    runs_path: Path,
    *,
    asked: bool = True,
    jobs: int | None = None,
    on_done: OnDone | None = None,
) -> Gate:
    """The references against their virtual studies simulated now, and against measured `runs` of `runs_path`. `asked`:
    somebody named those runs; ones that happened to be there and cannot be judged count as not run. Raises UserError
    where there are no references, none that is measured for runs that somebody named, or where studies and references
    are not the same."""
    side = read_side(base_path)
    references, measured = side.references, side.measured
    renewal = Renewal(references=base_path, runs=runs_path)
    if asked and not measured:
        raise UserError(
            f"{base_path} holds no measured reference to judge the runs in {runs_path} by: make one with "
            f"`{renewal.command(measured=True, name='measured-NAME')}`, or leave --runs out."
        )
    studies = load_studies(base_path / STUDIES_NAME)
    virtual = {name for name, r in references.items() if r.kind == "virtual"}
    for name in sorted(virtual ^ set(studies)):
        lacks = f"no study in {STUDIES_NAME}" if name in virtual else "no reference yet"
        make = f"make it with `{renewal.command(measured=False, name=name)}`"
        raise UserError(
            f"The virtual study {name} has {lacks}: {'add one or remove its file' if name in virtual else make}."
        )
    news = simulate(studies, jobs=jobs, on_done=on_done)
    packages = deciding_versions()
    now = {name: Now(study=studies[name][0].to_dict(), runs=own, packages=packages) for name, own in news.items()}
    found = [r for r in as_references(runs).values() if r.kind == "measured"]
    repeats = {name: [r for r in found if r.key() == own.key()] for name, own in measured.items()}
    sought = Sought(where=runs_path, found=tuple(found), left_out=runs.left_out)
    judged = judge(
        references, now, repeats, tolerances_of(base_path), runs.left_out,
        sought=sought if asked else None, renewal=renewal,
    )  # fmt: skip
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
    *,
    sought: Sought | None = None,
    renewal: Renewal | None = None,
) -> Gate:
    """The findings on all references, in order of names. The false-alarm rate is split evenly over all tests of
    measured runs (Bonferroni); virtual runs need none. `sought`: runs that somebody named (None: nobody did), by which
    every measured reference must be judged, but for those of other machines where one of this is."""
    keys = {reference.key(): name for name, reference in base.items()}
    said = [f"{keys[key]}: {_runs(n)} left out: {why}." for key, why, n in left_out if key in keys]
    pairs: dict[str, Pair] = {}
    elsewhere: dict[str, int] = {}
    for name, others in repeats.items():
        own, elsewhere[name] = _fresh(name, base, others, said)
        if own:
            pairs[name] = Pair(name=name, base=base[name].runs, new=own)
    if sought and pairs:
        strange = sum(len(r.runs) for r in sought.found if r.key() not in keys)
        said += [f"{_runs(strange)} left out: of studies that no reference is of."] if strange else []
    tests = len(METRICS) * len(pairs)
    level = tolerances.false_alarm_rate / max(tests, 1)
    findings: list[Finding] = []
    for name, reference in sorted(base.items()):
        if name in now:
            findings += compare_virtual(name, reference, now[name])
        elif name in pairs:
            findings += compare_measured(pairs[name], tolerances.find(reference.workload, reference.profile), level)
        elif elsewhere.get(name):
            remedy = "" if renewal is None else f": {renewal.command(measured=True, name='NAME', reason='TEXT')}"
            findings.append(_untold(name, f"{ELSEWHERE}{remedy}."))
        elif reference.kind == "measured" and sought and sought.must_judge(reference, any_judged=bool(pairs)):
            findings.append(_untold(name, sought.why_not(reference)))
        else:
            findings.append(Finding(study=name, metric="all", kind=reference.kind, verdict="not run", detail=NOT_RUN))
    return Gate(
        findings=tuple(findings), false_alarm_rate=tolerances.false_alarm_rate, tests=tests, remarks=tuple(said),
        renewal=renewal,
    )  # fmt: skip


def _untold(name: str, detail: str) -> Finding:
    return Finding(study=name, metric="all", kind="measured", verdict="cannot tell", detail=detail)


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
