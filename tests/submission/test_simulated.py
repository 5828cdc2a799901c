"""Simulated runs are simulated again; nothing of a stranger's is run for it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bench.curve_model import CurveModel
from bench.curves import load_curve_set
from bench.profile import load_profile
from bench.run import Interrupted
from bench.simulate import simulate_study, virtual_study
from bench.strategy import load_strategy
from bench.study import NodeLoss
from bench.submission import check_submission, simulated
from tests.submission.forgeries import EPOCH, study
from tests.submission.planted import NOW_S, Events, forge, found, of_kind

OWN = "mine = 'never imported'\nraise SystemExit(mine)\n"


BEFALLEN: tuple[dict[str, Any], ...] = (
    {},
    {"failure_rate": 0.1},
    {"node_losses": (NodeLoss(node=0, at_s=9, away_s=5),)},
    {"time_budget_s": 30},
)


@cache
def model_of(curves: str) -> CurveModel:
    return CurveModel(load_curve_set(curves))


def simulate(results: Path, name: str, curves: str = "tiny-squad", profile: str = "cpu", **options: Any) -> Path:
    """The folder of a simulated run; of one that stalled too."""
    strategy, model, hardware = load_strategy(name), model_of(curves), load_profile(profile)
    plan = virtual_study(strategy, model.curve_set, hardware, samples=9, **options)
    with suppress(Interrupted):
        simulate_study(plan, strategy, hardware, model, results=results)
    return results / "runs" / plan.run_id()


def test_simulated_runs_come_out_the_same(tmp_path: Path) -> None:
    for seed, options in enumerate(BEFALLEN):
        for name in ("manual", "asha", "pbt"):
            simulate(tmp_path, name, seed=seed, **options)
    simulate(tmp_path, "hyperband", time_budget_s=15)  # trials are stopped that have finished their last epoch
    simulate(tmp_path, "random", "published-v100", "v100", failure_rate=0.1)
    assert not found(tmp_path / "runs")
    assert set(found(tmp_path / "runs", "warning")) <= {"no-statement", "provisional", "interrupted"}


def better(events: Events) -> None:
    of_kind(events, EPOCH)[3]["eval_loss"] *= 0.999


def later(events: Events) -> None:
    events[-1]["at_s"] += 1


def longer(events: Events) -> None:
    events.append({"kind": "note", "at_s": events[-1]["at_s"], "level": "info", "message": "more"})


def shorter(events: Events) -> None:
    events[-1:] = []
    events[-1] = {"kind": "run_finished", "at_s": events[-1]["at_s"]}


def own_origin(events: Events) -> None:
    events[0]["provenance"]["simulated"]["error"] = None
    events[0]["provenance"]["probe"] = {}


def own_strategy(events: Events) -> None:
    study(strategy="mine", strategy_file="mine.py")(events)


def other_numpy(events: Events) -> None:
    events[0]["provenance"]["packages"]["numpy"] = "1.0"
    better(events)


def other_curves(events: Events) -> None:
    events[0]["study"]["simulation"]["curves_sha256"] = "0" * 64


def unknown_curves(events: Events) -> None:
    events[0]["study"]["simulation"]["curves"] = "../../etc"


def endless(events: Events) -> None:
    study(samples=10**9)(events)


def own_clock(events: Events) -> None:
    for event in events:
        event["at_s"] += 5


DEFECTS: dict[str, tuple[Callable[[Events], None], set[str], set[str]]] = {
    "a better loss": (better, {"simulation-differs"}, set()),
    "a later end": (later, {"simulation-differs"}, set()),
    "more than was simulated": (longer, {"simulation-differs"}, set()),
    "less than was simulated": (shorter, {"simulation-differs"}, set()),
    "another seed than said": (study(seed=500), {"simulation-differs"}, set()),
    "a machine": (own_origin, {"simulated-probe", "simulation-differs"}, set()),
    "a beginning of its own": (own_clock, {"impossible-time", "simulation-differs"}, set()),
    "a strategy of the submitter's": (own_strategy, set(), {"strategy-file", "not-simulated-again"}),
    "other packages": (other_numpy, set(), {"not-simulated-again"}),
    "other curves": (other_curves, set(), {"not-simulated-again"}),
    "curves that are a path": (unknown_curves, set(), {"not-simulated-again"}),
    "more work than is done for anybody": (endless, {"missing-trials"}, {"not-simulated-again"}),
}


def test_forged_simulations_are_found(tmp_path: Path) -> None:
    """All in one submission: the process that simulates starts once."""
    places: dict[str, str] = {}
    for seed, (defect, (change, _, _)) in enumerate(DEFECTS.items()):
        run = forge(simulate(tmp_path, "asha", seed=seed), change)
        if change is own_strategy:
            (run / "mine.py").write_text(OWN)
        places[defect] = run.name
    findings = check_submission(tmp_path / "runs", now_s=NOW_S).findings
    for defect, (_, errors, warnings) in DEFECTS.items():
        told = {(f.level, f.code) for f in findings if f.where.partition("/")[0] == places[defect]}
        expected = {("error", code) for code in errors} | {("warning", code) for code in warnings}
        assert told - {("warning", "provisional")} == expected, defect


@pytest.mark.parametrize("limit", ["TIME_LIMIT_S", "ALL_TIME_S"])
def test_a_simulation_that_takes_too_long_is_given_up(
    limit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulate(tmp_path, "random")
    monkeypatch.setattr(simulated, limit, 0.0)
    assert not found(tmp_path / "runs")
    assert set(found(tmp_path / "runs", "warning")) == {"no-statement", "not-simulated-again", "provisional"}
