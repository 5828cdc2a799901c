"""Plans: on a small curve set, and the sums that they rest on."""

from __future__ import annotations

import io
import json
import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from bench.cli.plan import plan
from bench.curve_model import CurveModel
from bench.curves import Curve, CurveSet, Epoch, load_curve_set, write_metadata, write_table
from bench.plan import Fitting, Plan, capacity_of, evaluation_seconds, fits, make_plan, samples_that_fit, spread
from bench.profile import load_profile
from bench.shapes import Assumptions
from bench.simulate import virtual_study
from bench.simulate_many import Outcome, outcome_of, simulate_many
from bench.space import Choice, LogUniform, SearchSpace
from bench.strategy import load_strategy
from bench.study import Study
from bench.trials import RunState

V100 = load_profile("v100")
SPACE = SearchSpace(
    (LogUniform("learning_rate", 1e-4, 1e-2, (1e-3,)), Choice("batch_size", (8,)), Choice("weight_decay", (0.0,)))
)


@pytest.fixture(scope="module")
def curves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bowl in the learning rate; an epoch takes 60 s of training and 3 s of evaluation."""
    folder = tmp_path_factory.mktemp("curves") / "bowl"
    found = CurveSet(
        name="bowl",
        kind="fitted",
        summary="a bowl",
        workload="tiny-squad",
        recipe="qa",
        profile="v100",
        space=SPACE,
        epochs=3,
        seeds=(0, 1),
        limits=("It is made up.",),
        curves=tuple(_curve(rate, seed) for rate in (1e-4, 3e-4, 1e-3, 3e-3, 1e-2) for seed in (0, 1)),
    )
    write_metadata(folder, found)
    write_table(folder, found)
    return folder


def _curve(rate: float, seed: int) -> Curve:
    def point(epoch: int) -> Epoch:
        loss = (1 + abs(math.log10(rate) + 3)) * (4 - epoch) + seed / 100
        return Epoch(
            epoch=epoch, eval_loss=loss, train_loss=loss, train_s=60.0 + seed, eval_s=3.0, checkpoint_s=1.0,
            samples_per_s=10.0,
        )  # fmt: skip

    config: dict[str, float | int] = {"learning_rate": rate, "batch_size": 8, "weight_decay": 0.0}
    return Curve(config=config, seed=seed, startup_s=1.0, epochs=tuple(map(point, (1, 2, 3))))


def studies(curves: Path, name: str, *, seeds: int = 3, **changes: Any) -> list[Study]:
    one = virtual_study(load_strategy(name), load_curve_set(str(curves)), profile=V100, **({"epochs": 3} | changes))
    return [replace(one, seed=seed) for seed in range(seeds)]


def planned(curves: Path, name: str, *, budget: float | None = None, shapes: bool = False, **changes: Any) -> Plan:
    asked = studies(curves, name, **changes)

    def simulate(several: Sequence[Study]) -> Sequence[Outcome]:
        return simulate_many(several, curves=str(curves), jobs=1)

    return make_plan(
        asked, V100, CurveModel(load_curve_set(str(curves))), simulate, budget_device_min=budget,
        assumed=Assumptions(slots=asked[0].slots) if shapes else None,
    )  # fmt: skip


def expected(of: Plan) -> dict[Any, tuple[Any, ...]]:
    table = of.report.table("expected")
    return {row[0]: row[3:] for row in table.rows}


def test_the_grid_costs_what_its_trials_take(curves: Path) -> None:
    """3 trials of the grid, each 27 s to start, then 3 epochs of about 60 + 3 s and the profile's 6.7 to save one."""
    found = planned(curves, "manual", budget=20)
    median, low, high = expected(found)["busy"]
    one_trial_min = (27 + 3 * (60.5 + 3)) / 60
    assert one_trial_min * 0.97 < median < (one_trial_min * 60 + 3 * 6.7) / 60 * 1.03
    assert low <= median <= high
    assert "runs one trial after the other" in found.report.warnings[0]
    assert found.schedule.rows == 1


def test_a_plan_says_what_it_rests_on_and_what_the_settings_aim_at(curves: Path) -> None:
    found = planned(curves, "asha", samples=12)
    assert any("fitted curves bowl" in line for line in found.report.head)
    assert "Limit: It is made up." in found.report.head
    assert found.report.table("rungs").column("trials") == [12, 6, 3]
    reached = found.report.table("reached")
    assert reached.column("by_settings") == [12, 6, 3]
    assert reached.column("median_seed")[0] == 12
    assert found.schedule.rows == 8
    assert max(b.trial or 0 for b in found.schedule.bars) == 12


def test_a_searcher_without_enough_results_is_told(curves: Path) -> None:
    found = planned(curves, "bohb", samples=4, seeds=2)
    assert expected(found)["model_based"] == (0, 0, 0)
    assert "no suggestion comes from the model" in found.report.warnings[0]


def test_a_budget_that_does_not_suffice_says_what_would_fit(curves: Path) -> None:
    usual = expected(planned(curves, "random", samples=16))["allocated"][0]
    found = planned(curves, "random", samples=16, budget=usual * 0.75)
    (row,) = found.report.table("budget").rows
    _, samples, within, most, too_many = row
    assert (samples, within) == (16, 0)
    assert found.report.table("budget").title == "The budget does not suffice"
    assert isinstance(most, int)
    assert isinstance(too_many, int)
    fitting = expected(planned(curves, "random", samples=most))["allocated"]
    beyond = expected(planned(curves, "random", samples=too_many))["allocated"]
    assert fitting[2] <= usual * 0.75 < beyond[2]
    none = planned(curves, "random", samples=16, budget=usual / 100).report.table("budget")
    assert none.notes[0].startswith("Not even one trial fits")


def test_the_median_seed_is_the_one_drawn(curves: Path) -> None:
    found = planned(curves, "random", samples=5, seeds=3)
    held_s = sum(b.end_s - b.start_s for b in found.schedule.bars if b.kind != "queue")
    assert held_s / 60 == pytest.approx(expected(found)["allocated"][0])


def test_evaluations_are_those_of_random_search(curves: Path) -> None:
    seconds = evaluation_seconds(
        studies(curves, "bohb", samples=6)[0], V100, CurveModel(load_curve_set(str(curves)))
    )  # fmt: skip
    assert len(seconds) == 6
    assert all(3 * 63 * 0.9 < s < 3 * (64 + 7.7) * 1.1 for s in seconds)


def test_capacity_is_the_simulated_clusters(curves: Path) -> None:
    found = capacity_of(studies(curves, "asha", nodes=2, devices=8, trial_devices=2)[0], V100)
    assert (found.node.devices, found.node.cpus, found.node.system_cpus) == (4, 20, 2)
    assert (found.demand.workers, found.demand.worker_cpus, found.demand.worker_devices) == (2, 2, 1)
    assert found.slots == 4


class Linear:
    """Costs of `each` device-minutes a trial and 3 a run, and how many trials were tried."""

    def __init__(self, *each: float) -> None:
        self.each = each
        self.tried: list[int] = []

    def __call__(self, several: Sequence[Study]) -> list[Outcome]:
        self.tried.append(several[0].samples)
        empty = outcome_of(several[0], RunState())
        return [
            replace(empty, allocated_device_min=3 + each * study.samples)
            for each, study in zip(self.each, several, strict=True)
        ]


@pytest.mark.parametrize(
    ("budget", "most"), [(2.0, 0), (5.0, 1), (30.0, 24), (100.0, 88), (1e6, 1024), (1130.0, 1024), (600.0, 542)]
)
def test_how_many_trials_fit(curves: Path, budget: float, most: int) -> None:
    """The dearest seed decides: 1.1 a trial. To within 5 %, in a few steps."""
    simulate = Linear(1.0, 1.05, 1.1)
    asked = studies(curves, "random")
    found = samples_that_fit(asked, simulate(asked), budget, simulate)
    assert most / 1.06 <= found.most <= most
    assert found.too_many is None or most < found.too_many <= max(1.06 * most, most + 1)
    assert (found.too_many is None) == (most == 1024)
    assert len(simulate.tried) <= 9


def test_more_trials_than_are_ever_tried_may_be_planned(curves: Path) -> None:
    simulate = Linear(1.0)
    asked = studies(curves, "random", seeds=1, samples=3000)
    assert samples_that_fit(asked, simulate(asked), 1e9, simulate) == Fitting(3000, None)


def test_a_budget_must_do_for_95_in_100_seeds(curves: Path) -> None:
    several = Linear(*([1.0] * 19 + [9.0]))(studies(curves, "random", seeds=20, samples=1))
    assert fits(several, 4.0)
    assert not fits(several[1:], 4.0)


def test_an_interval_holds_the_middle_of_the_values() -> None:
    assert spread([float(n) for n in range(1, 202)]) == (101.0, 6.0, 196.0)
    assert spread([3.0, 1.0, 2.0]) == (2.0, 1.0, 3.0)
    assert spread([1.0, math.inf]) == (math.inf, 1.0, math.inf)


def test_every_form_of_a_plan(curves: Path) -> None:
    found = planned(curves, "hyperband", samples=6, shapes=True)
    data = json.loads(found.to_json())
    assert len(data["shapes"]) == 9
    assert data["schedule"]["bars"]
    assert set(data["tables"]) == {"capacity", "rungs", "reached", "expected", "shapes"}
    console = Console(file=io.StringIO(), width=90)
    found.to_terminal(console)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "asynchronous, big-and-wide" in text
    assert "\x1b" not in text


def test_the_command(curves: Path, tmp_path: Path) -> None:
    picture = tmp_path / "plan.svg"
    result = CliRunner().invoke(
        plan,
        ["--strategy", "asha", "--profile", "v100", "--curves", str(curves), "--seeds", "2", "--jobs", "1",
         "--epochs", "3", "--samples", "6", "--budget", "60", "--svg", str(picture), "--json"],
        catch_exceptions=False,
    )  # fmt: skip
    data = json.loads(result.stdout)
    assert data["tables"]["budget"]["rows"][0]["samples"] == 6
    assert "drawn in" in result.stderr
    assert ElementTree.parse(picture).getroot().tag.endswith("svg")
