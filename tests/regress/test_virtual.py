"""Virtual runs: the references are those of the code, clean repeats never alarm, planted defects always do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

import pytest

from bench.curve_model import CurveModel, DrawnCurve
from bench.engines.virtual.work import Work
from bench.events import Phases
from bench.hyperparameters import Value
from bench.regress.exact import Now
from bench.regress.findings import Finding, exit_status
from bench.regress.gate import Gate, default_gate, judge
from bench.regress.output import findings_table
from bench.regress.reference import load_references
from bench.regress.runs import Runs
from bench.regress.tolerances import load_tolerances
from bench.regress.virtual import NAME, deciding_versions, load_studies, simulate
from tests.regress.planted import REFERENCES

STRATEGIES = ("tiny-squad-cpu-asha", "tiny-squad-cpu-random", "tiny-squad-cpu-manual")


@pytest.fixture(scope="module")
def studies() -> dict[str, Any]:
    return load_studies(REFERENCES / NAME)


def again(studies: dict[str, Any]) -> Gate:
    """Three of the studies through the simulator, here."""
    picked = {name: studies[name] for name in STRATEGIES}
    packages = deciding_versions()
    now = {
        name: Now(study=picked[name][0].to_dict(), runs=runs, packages=packages)
        for name, runs in simulate(picked, jobs=1).items()
    }
    base = {name: r for name, r in load_references(REFERENCES).items() if name in picked}
    return judge(base, now, {}, load_tolerances(REFERENCES / "tolerances.toml"))


def moved(gate: Gate, metric: str) -> dict[str, Finding]:
    """By strategy."""
    return {f.study.rpartition("-")[2]: f for f in gate.findings if f.failed and f.metric == metric}


@pytest.mark.parametrize("jobs", [1, 2])
def test_clean_repeats_never_alarm(jobs: int) -> None:
    """All 101 runs, in one process and in two: 202 repeats."""
    gate = default_gate(REFERENCES, Runs(groups=()), REFERENCES, asked=False, jobs=jobs)
    virtual = [f for f in gate.findings if f.kind == "virtual"]
    assert len({f.study for f in virtual}) == 23
    assert {f.verdict for f in virtual} == {"same"}
    assert exit_status(gate.findings) == 0


def plant_draw(monkeypatch: pytest.MonkeyPatch, change: Callable[[DrawnCurve], DrawnCurve]) -> None:
    draw = CurveModel.draw

    def planted(self: CurveModel, config: Mapping[str, Value], *, seed: int, trial: str) -> DrawnCurve:
        return change(draw(self, config, seed=seed, trial=trial))

    monkeypatch.setattr(CurveModel, "draw", planted)


def plant_phases(monkeypatch: pytest.MonkeyPatch, change: Callable[[Phases], Phases]) -> None:
    phases = Work._phases
    monkeypatch.setattr(Work, "_phases", lambda *args: change(phases(*args)))


def test_a_loss_one_per_cent_worse_is_caught(monkeypatch: pytest.MonkeyPatch, studies: dict[str, Any]) -> None:
    plant_draw(monkeypatch, lambda c: replace(c, losses=tuple(None if v is None else 1.01 * v for v in c.losses)))
    gate = again(studies)
    losses = moved(gate, "eval_loss")
    assert exit_status(gate.findings) == 1
    assert [f.change for f in losses.values()] == [pytest.approx(0.01, abs=2e-4)] * 3
    assert not moved(gate, "allocated_device_min")
    assert "moved in 5 of 5 seeds" in losses["asha"].detail
    assert "(+1.0 %)" in losses["asha"].detail


def test_a_search_five_per_cent_dearer_is_caught(monkeypatch: pytest.MonkeyPatch, studies: dict[str, Any]) -> None:
    def dearer(p: Phases) -> Phases:
        return Phases(**{name: 1.05 * seconds for name, seconds in asdict(p).items()})

    plant_phases(monkeypatch, dearer)
    gate = again(studies)
    busy = moved(gate, "busy_device_min")
    assert exit_status(gate.findings) == 1
    assert busy["random"].change == pytest.approx(0.05, abs=1e-3)
    assert set(busy) == set(moved(gate, "allocated_device_min")) == {"asha", "random", "manual"}


def test_the_numbers_of_a_row_are_of_the_seed_that_moved_most() -> None:
    """Base, new and change agree; those of another seed would not."""
    name = STRATEGIES[0]
    base = load_references(REFERENCES)[name]
    factors = (1.01, 1.0, 1.5, 1.02, 1.0)
    runs = [replace(run, eval_loss=(run.eval_loss or 0) * f) for run, f in zip(base.runs, factors, strict=True)]
    now = {name: Now(study=base.study, runs=runs, packages=base.packages)}
    gate = judge({name: base}, now, {}, load_tolerances(REFERENCES / "tolerances.toml"))
    (found,) = (f for f in gate.findings if f.metric == "eval_loss")
    assert found.base == base.runs[2].eval_loss
    assert found.new == runs[2].eval_loss
    assert found.change == pytest.approx(0.5)
    assert found.of == f"seed {base.runs[2].seed}"
    (unmoved,) = (f for f in gate.findings if f.metric == "epochs_trained")
    assert (unmoved.of, unmoved.change) == ("median", 0)
    row = next(line for line in findings_table(gate).to_markdown().splitlines() if "eval" in line)
    cells = [cell.strip(" *") for cell in row.split("|")]
    assert cells[3:7] == [f"{found.base:.4g}", f"{found.new:.4g}", found.of, "+50.0 %"]


def test_weight_decay_ignored_is_caught(monkeypatch: pytest.MonkeyPatch, studies: dict[str, Any]) -> None:
    draw = CurveModel.draw

    def planted(self: CurveModel, config: Mapping[str, Value], *, seed: int, trial: str) -> DrawnCurve:
        return draw(self, {**config, "weight_decay": 0.0}, seed=seed, trial=trial)

    monkeypatch.setattr(CurveModel, "draw", planted)
    gate = again(studies)
    assert exit_status(gate.findings) == 1
    assert set(moved(gate, "trial_losses")) == {"asha", "random", "manual"}


def test_a_scheduler_that_never_stops_is_caught(monkeypatch: pytest.MonkeyPatch, studies: dict[str, Any]) -> None:
    from ray.tune.schedulers import ASHAScheduler, TrialScheduler

    monkeypatch.setattr(ASHAScheduler, "on_trial_result", lambda *_: TrialScheduler.CONTINUE)
    gate = again(studies)
    assert exit_status(gate.findings) == 1
    assert set(moved(gate, "epochs_trained")) == set(moved(gate, "busy_device_min")) == {"asha"}
    assert moved(gate, "epochs_trained")["asha"].new == 60  # 12 trials of 5 epochs
    assert "epochs instead of" in moved(gate, "trial_losses")["asha"].detail


def test_start_up_doubled_is_caught(monkeypatch: pytest.MonkeyPatch, studies: dict[str, Any]) -> None:
    plant_phases(monkeypatch, lambda p: replace(p, startup_s=2 * p.startup_s))
    gate = again(studies)
    startup = moved(gate, "startup_device_min")
    assert exit_status(gate.findings) == 1
    assert [f.change for f in startup.values()] == [pytest.approx(1.0)] * 3
    assert set(startup) == {"asha", "random", "manual"}


def test_another_curve_set_is_said_and_nothing_else_compared(studies: dict[str, Any]) -> None:
    name = STRATEGIES[0]
    base = load_references(REFERENCES)[name]
    study = studies[name][0].to_dict()
    study["simulation"]["curves_sha256"] = "0" * 64
    now = {name: Now(study=study, runs=base.runs, packages=base.packages)}
    gate = judge({name: base}, now, {}, load_tolerances(REFERENCES / "tolerances.toml"))
    assert [f.verdict for f in gate.findings].count("moved") == 1
    assert "has changed" in gate.findings[0].detail


def test_events_alone_that_differ_are_caught_and_versions_named() -> None:
    name = STRATEGIES[0]
    base = load_references(REFERENCES)[name]
    runs = [replace(base.runs[0], journal_sha256="0" * 64), *base.runs[1:]]
    now = {name: Now(study=base.study, runs=runs, packages={**base.packages, "ray": "9.0"})}
    gate = judge({name: base}, now, {}, load_tolerances(REFERENCES / "tolerances.toml"))
    (failed,) = (f for f in gate.findings if f.failed)
    assert failed.metric == "journal"
    assert "1 of 5 seeds" in failed.detail
    assert "is 9.0" in failed.detail


def test_references_are_small() -> None:
    assert sum(path.stat().st_size for path in REFERENCES.iterdir()) < 1_000_000
