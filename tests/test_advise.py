"""Advice: what it chooses among, by which seeds and curves, and what it says of the choice."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bench.advise import (
    ADVISED,
    Advice,
    Goal,
    Ground,
    advise,
    expected_cost,
    grounds,
    losses_within,
    rung_seeds,
    runs_at_most,
    seed_ranges,
)
from bench.advise_candidates import GRIDS, Candidate, candidates
from bench.advise_command import command
from bench.advise_report import advise_report
from bench.curve_model import CurveModel
from bench.curves import load_curve_set, write_metadata, write_table
from bench.errors import UserError
from bench.profile import load_profile
from bench.report.model import Report
from bench.simulate_many import Outcome
from bench.statistics import Resamples
from bench.strategy import load_strategy
from bench.study import Study
from tests.test_simulate import curve_set, outcome

CPU = load_profile("cpu")
BEST = Candidate(strategy="asha", settings=(("reduction_factor", "4"),), samples=24, devices=1)
TRIED = (
    Candidate(strategy="random", samples=8, devices=1),
    Candidate(strategy="asha", samples=24, devices=2),
    BEST,
    Candidate(strategy="tpe", samples=24, devices=1),
)


def written(folder: Path, **changes: Any) -> str:
    """The bowl of the tests of simulation, as a set on the cpu profile; where it lies."""
    found = curve_set(**({"profile": "cpu"} | changes))
    write_metadata(folder, found)
    write_table(folder, found)
    return str(folder)


@pytest.fixture(scope="module")
def bowl(tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(tmp_path_factory.mktemp("curves") / "bowl")


@pytest.fixture(scope="module")
def parts(bowl: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Ground, Ground]:
    return grounds(bowl, folder=tmp_path_factory.mktemp("parts"))


class Planted:
    """Instead of simulation: what a study costs to a loss of 0.9, times a little noise. Keeps what it was asked."""

    def __init__(self, cost: Callable[[Study], float], misses: Callable[[Study], bool] = lambda study: False) -> None:
        self._cost = cost
        self._misses = misses
        self.asked: list[tuple[str, Study]] = []

    def __call__(self, studies: Sequence[Study], curves: str) -> list[Outcome]:
        self.asked += [(curves, study) for study in studies]
        return [self._outcome(study) for study in studies]

    def _outcome(self, study: Study) -> Outcome:
        noise = 1 + study.seed % 7 / 100
        cost = 50.0 if study.strategy == "manual" else self._cost(study) * noise
        model = {"suggestions": 24} if study.strategy == "tpe" else {}
        steps = [] if self._misses(study) else [(0.9, cost)]
        return outcome(study.strategy, study.seed, *steps, **model)


def planted(study: Study) -> float:
    """Cheapest with the settings of `BEST`."""
    return 10.0 if study.settings.get("reduction_factor") == 4 else 20.0 + study.samples / 10 + study.devices


def advice(parts: tuple[Ground, Ground], simulate: Planted, goal: Goal | None = None, **changes: Any) -> Advice:
    options = {"seeds": 9, "report_seeds": 6} | changes
    return advise(TRIED, goal or Goal(), CPU, *parts, simulate, **options)


def test_a_planted_best_candidate_is_found(parts: tuple[Ground, Ground]) -> None:
    found = advice(parts, Planted(planted))
    assert found.choice.candidate == BEST
    assert found.row(ADVISED).candidate == BEST
    assert [row.study.strategy for row in found.rows] == ["manual", "random", "asha", "asha", "random", "tpe"]
    assert [(r.candidates, r.seeds) for r in found.rungs] == [(4, 1), (3, 3), (3, 9)]  # one of each strategy stays


def test_ties_go_to_the_cheaper_search() -> None:
    dear, cheap = ([outcome("asha", 0, (0.9, 5.0), allocated_device_min=cost)] for cost in (100.0, 50.0))
    assert Goal().rank(cheap, 0.9) < Goal().rank(dear, 0.9)


def test_of_those_that_never_get_there_the_lower_loss_goes_on() -> None:
    near, far = ([outcome("asha", 0, (loss, 5.0))] for loss in (1.1, 1.2))
    assert Goal().rank(near, 0.9) < Goal().rank(far, 0.9)
    assert math.isinf(Goal().value(near, 0.9))


def test_the_same_advice_comes_again(parts: tuple[Ground, Ground]) -> None:
    first, second = (advice(parts, Planted(planted)) for _ in range(2))
    assert first == second
    assert advise_report(first).to_json() == advise_report(second).to_json()
    other = advice(parts, Planted(planted), seed=1)
    assert other.choosing_seeds != first.choosing_seeds


@pytest.mark.parametrize("seed", range(20))
def test_seeds_to_choose_and_to_report_are_disjoint(seed: int) -> None:
    chosen, told = seed_ranges(seed, 40, 200)
    assert (len(chosen), len(told)) == (40, 200)
    assert not set(chosen) & set(told)


def test_seeds_are_kept_apart_where_they_would_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    near = {"advise: choosing": 100, "advise: reporting": 90}
    monkeypatch.setattr("bench.advise.child_seed", lambda seed, name: near[name])
    chosen, told = seed_ranges(0, 40, 200)
    assert not set(chosen) & set(told)


def test_what_is_held_out_takes_no_part_in_the_choice(parts: tuple[Ground, Ground]) -> None:
    choosing, reporting = parts
    assert (choosing.curve_set.seeds, reporting.curve_set.seeds) == ((0,), (1,))
    assert {c.seed for c in load_curve_set(choosing.curves).curves} == {0}
    assert {c.seed for c in load_curve_set(reporting.curves).curves} == {1}
    simulate = Planted(planted)
    found = advice(parts, simulate)
    for curves, study in simulate.asked:
        if curves == reporting.curves:
            assert study.seed in found.reporting_seeds
        elif study.seed not in found.choosing_seeds:  # the advice once more, to tell its optimism
            assert study.settings == found.row(ADVISED).study.settings
    assert all(o.seed in found.reporting_seeds for row in found.rows for o in row.outcomes)
    assert all(o.seed in found.choosing_seeds for o in found.choice.outcomes)


def test_a_third_of_the_seeds_is_held_out(tmp_path: Path) -> None:
    three = curve_set()
    curves = tuple(replace(c, seed=s) for c in three.curves if c.seed == 0 for s in range(3))
    name = written(tmp_path / "three", curves=curves, seeds=(0, 1, 2))
    choosing, reporting = grounds(name, folder=tmp_path)
    assert (choosing.curve_set.seeds, reporting.curve_set.seeds) == ((0, 1), (2,))
    assert choosing.said == "recorded seeds 0 and 1 of bowl"


def test_a_part_with_one_seed_has_the_noise_of_the_whole(bowl: str, parts: tuple[Ground, Ground]) -> None:
    whole = CurveModel(load_curve_set(bowl)).noise_log_loss
    for part in parts:
        assert CurveModel(part.curve_set).noise_log_loss == pytest.approx(whole)


def test_nothing_is_held_out_of_a_single_seed(tmp_path: Path) -> None:
    curves = tuple(c for c in curve_set().curves if c.seed == 0)
    name = written(tmp_path / "one", curves=curves, seeds=(0,), noise_log_loss=0.01)
    choosing, reporting = grounds(name, folder=tmp_path)
    assert choosing == reporting
    with pytest.raises(UserError, match="holds one seed"):
        grounds(name, folder=tmp_path, hold_out=True)
    found = advice((choosing, reporting), Planted(planted))
    assert found.again is None
    assert any(line.startswith("Nothing of bowl was held out") for line in advise_report(found).warnings)


def test_other_curves_can_be_reported_on(bowl: str, tmp_path: Path) -> None:
    other = written(tmp_path / "other", name="other", curves=curve_set().curves[:-2])
    choosing, reporting = grounds(bowl, folder=tmp_path, report_curves=other)
    assert (choosing.curve_set.name, reporting.curve_set.name) == ("bowl", "other")
    with pytest.raises(UserError, match="cannot check advice"):
        grounds(bowl, folder=tmp_path, report_curves=bowl)
    with pytest.raises(UserError, match="cannot check advice"):
        grounds(bowl, folder=tmp_path, report_curves="published-v100")
    with pytest.raises(UserError, match="give one of --hold-out and --report-curves"):
        grounds(bowl, folder=tmp_path, report_curves=other, hold_out=True)


def test_a_budget_asks_for_the_lowest_loss_within_it(parts: tuple[Ground, Ground]) -> None:
    late = [outcome("asha", s, (2.0, 10.0), (0.5, 40.0)) for s in range(3)]
    soon = [outcome("asha", s, (1.0, 10.0)) for s in range(3)]
    assert Goal(budget_device_min=20.0).rank(soon, 0.9) < Goal(budget_device_min=20.0).rank(late, 0.9)
    assert Goal(budget_device_min=50.0).rank(late, 0.9) < Goal(budget_device_min=50.0).rank(soon, 0.9)
    assert losses_within(late, 20.0) == [2.0, 2.0, 2.0]
    found = advice(parts, Planted(planted), Goal(budget_device_min=15.0))
    assert found.choice.candidate == BEST  # alone ends a trial within 15
    report = advise_report(found)
    row = report.to_dict()["tables"]["advice"]["rows"][2]
    assert row["loss_within_budget"] == 0.9
    assert any("when 15 device-minutes are allocated" in line for line in report.comparison)


def test_a_target_is_the_same_loss_everywhere(parts: tuple[Ground, Ground]) -> None:
    found = advice(parts, Planted(planted), Goal(target_loss=0.95))
    assert (found.choosing_target, found.target) == (0.95, 0.95)
    assert found.grid_target == pytest.approx(1.0, rel=0.05)  # the aim stays the manual grid's quality
    assert all(row["target_loss"] == 0.95 for row in advise_report(found).to_dict()["tables"]["advice"]["rows"])


@pytest.mark.parametrize(
    ("goal", "why"),
    [
        (Goal(target_loss=0.5), "No candidate reaches a loss of 0.5 under any of 9 seeds: give a higher --target"),
        (Goal(budget_device_min=5.0), "With a budget of 5 device-minutes no candidate ends a trial"),
    ],
)
def test_what_cannot_be_had_is_told(parts: tuple[Ground, Ground], goal: Goal, why: str) -> None:
    with pytest.raises(UserError, match=why):
        advice(parts, Planted(planted), goal)


def test_a_target_is_missed_where_no_search_has_an_incumbent(parts: tuple[Ground, Ground]) -> None:
    nothing = Planted(planted, misses=lambda study: study.strategy != "manual")
    with pytest.raises(UserError, match="No candidate"):
        advice(parts, nothing)


def test_a_budget_and_a_target_are_too_much() -> None:
    with pytest.raises(UserError, match="one of --budget and --target"):
        Goal(budget_device_min=1.0, target_loss=1.0)


def test_a_rung_has_three_times_the_seeds_of_the_one_before() -> None:
    assert rung_seeds(40) == [5, 14, 40]
    assert rung_seeds(2) == [1, 2]
    assert rung_seeds(1) == [1]


def test_no_more_runs_than_announced(parts: tuple[Ground, Ground]) -> None:
    simulate = Planted(planted)
    advice(parts, simulate)
    assert len(simulate.asked) <= runs_at_most(TRIED, 9, 6)


def example(parts: tuple[Ground, Ground], **changes: Any) -> Study:
    return replace(Candidate(strategy="random").study(parts[0].curve_set, CPU, epochs=2), **changes)


def test_candidates_are_the_grids_of_the_suite(parts: tuple[Ground, Ground]) -> None:
    found = candidates(None, example(parts))
    assert len(found) == len(set(found))
    assert {c.strategy for c in found} == {"asha", "asha-tpe", "bohb", "hyperband", "random", "tpe"}
    assert {c.strategy for c in candidates(["pbt"], example(parts))} == {"pbt"}
    assert {c.devices for c in found} == {1, 2}
    for strategy, grid in GRIDS.items():
        assert set(grid) <= set(load_strategy(strategy).settings)
    assert not any(("grace_period", "2") in c.settings for c in found)  # trials have two epochs
    longer = candidates(["asha"], example(parts, epochs=5))
    assert any(("grace_period", "2") in c.settings for c in longer)


def test_each_candidate_can_be_planned(parts: tuple[Ground, Ground]) -> None:
    for candidate in {(c.strategy, c.settings): c for c in candidates(None, example(parts))}.values():
        study = candidate.study(parts[0].curve_set, CPU, epochs=2)
        assert study.samples == candidate.samples
        assert study.slots == candidate.devices


def test_the_manual_grid_is_no_candidate(parts: tuple[Ground, Ground]) -> None:
    with pytest.raises(UserError, match="leave it out of --strategy"):
        candidates(["manual"], example(parts))
    with pytest.raises(UserError, match="did you mean 'asha'"):
        candidates(["ahsa"], example(parts))


def test_the_command_line_asks_for_the_study(parts: tuple[Ground, Ground]) -> None:
    """As parsed by the command that it is for, but for the engine."""
    from bench.cli.run import run
    from bench.cli.runner import Runner

    study = BEST.study(parts[0].curve_set, CPU, epochs=2)
    words = shlex.split(command(study))
    assert words[:2] == ["sweepmark", "run"]
    options = run.make_context("run", words[2:]).params
    assert (options["strategy"], options["settings"]) == ("asha", ("reduction_factor=4",))
    assert (options["samples"], options["devices"], options["epochs"]) == (24, 1, 2)
    assert (options["lr_lower"], options["lr_upper"], options["bs_choices"]) == (1e-4, 1e-2, (8,))
    options = {k: v for k, v in options.items() if k not in ("strategy", "seeds", "no_baseline", "fresh", "as_json")}
    virtual = {"engine": "virtual", "curves": parts[0].curves, "recipe": None, "final_epochs": 0, "results": None}
    again = Runner(Path()).study(strategy_name="asha", **(options | virtual))
    assert replace(again, space=study.space, simulation=study.simulation) == study


def test_a_strategy_of_ones_own_takes_part(parts: tuple[Ground, Ground], tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(Path("strategies/random.py").read_text().replace('name="random"', 'name="own"'))
    own = candidates([str(path)], example(parts))
    assert {c.samples for c in own} == {12, 24, 48}
    found = advise(own, Goal(), CPU, *parts, Planted(planted), seeds=2, report_seeds=2)
    assert advise_report(found).head[0].startswith(f"Run it with: sweepmark run --strategy {path} ")


def test_a_real_run_with_fewer_devices_a_trial_is_warned_of(bowl: str, tmp_path: Path) -> None:
    name = written(tmp_path / "pairs", devices_per_trial=2)
    found = advise(
        [replace(BEST, devices=2)],
        Goal(),
        CPU,
        *grounds(name, folder=tmp_path),
        Planted(planted),
        seeds=2,
        report_seeds=2,
    )
    assert any("The curves are of trials on 2 devices" in line for line in advise_report(found).warnings)


def test_settings_of_every_kind_can_be_typed(parts: tuple[Ground, Ground]) -> None:
    of = Candidate(strategy="tpe", settings=(("multivariate", "true"), ("n_startup_trials", "2")), devices=1)
    study = of.study(parts[0].curve_set, CPU, epochs=None)
    assert command(study).endswith("--set n_startup_trials=2 --set multivariate=true")
    named = replace(study, dataset_name="a slice", model="models/my model")
    assert "--model 'models/my model' --dataset FILE --dataset-name 'a slice'" in command(named)


def test_expected_cost_has_an_interval() -> None:
    resamples = Resamples.draw(4, seed=0)
    certain = resamples.expected_running_cost([2.0] * 4, [9.0] * 4)
    assert (certain.value, certain.low, certain.high) == (2.0, 2.0, 2.0)
    missed = resamples.expected_running_cost([2.0, 2.0, 2.0, math.inf], [9.0] * 4)
    assert missed.value == (3 * 2.0 + 9.0) / 3
    assert missed.low == 2.0
    assert missed.high > missed.value
    never = resamples.expected_running_cost([math.inf] * 4, [9.0] * 4)
    assert (never.value, never.low, never.high) == (math.inf, math.inf, math.inf)


def told(parts: tuple[Ground, Ground], **changes: Any) -> Report:
    return advise_report(advice(parts, Planted(planted), **changes))


def test_the_report_says_what_was_reached_of_the_aim(parts: tuple[Ground, Ground]) -> None:
    [aim] = [line for line in told(parts).comparison if line.startswith("Aim:")]
    assert "for a tenth of its device-minutes. Found: 0.10" in aim  # 10 to 10.6 of the 100 that the grid costs
    assert "neither reached nor missed for certain" in aim or "not reached" in aim
    cheap = advise_report(advice(parts, Planted(lambda study: planted(study) / 2)))
    assert any("so the tenth is reached" in line for line in cheap.comparison)


def test_the_report_shows_the_optimism_of_the_choice(parts: tuple[Ground, Ground]) -> None:
    found = advice(parts, Planted(planted))
    rows = advise_report(found).to_dict()["tables"]["optimism"]["rows"]
    assert [row["curves"] for row in rows] == ["recorded seed 0 of bowl"] * 2 + ["recorded seed 1 of bowl"]
    assert rows[0]["objective"] == pytest.approx(expected_cost(found.choice.outcomes, found.choosing_target))
    assert [row["seeds"] for row in rows] == [9, 6, 6]


def test_the_report_says_what_it_rests_on(parts: tuple[Ground, Ground]) -> None:
    report = told(parts)
    head = "\n".join(report.head)
    assert report.head[0].startswith("Run it with: sweepmark run --strategy asha --profile cpu ")
    assert "Chosen on recorded seed 0 of bowl" in head
    assert "all that is reported is on recorded seed 1 of bowl" in head
    assert "Simulated, from the fitted curves bowl" in head
    assert any(line.startswith("tpe, 24 trials on 1 device: 0 model-based suggestions") for line in report.warnings)
    assert any(line.startswith("Provisional: 6 seeds") for line in report.warnings)


def test_the_report_is_for_machines_too(parts: tuple[Ground, Ground]) -> None:
    report = told(parts)
    data = json.loads(report.to_json())
    assert data["schema_version"] == 1
    assert set(data["tables"]) == {"advice", "optimism", "rungs"}
    row = data["tables"]["advice"]["rows"][2]
    assert (row["role"], row["strategy"], row["samples"], row["devices"]) == ("advised", "asha", 24, 1)
    assert row["expected_device_min_low"] <= row["expected_device_min"] <= row["expected_device_min_high"]
    assert row["share_of_grid"] == pytest.approx(row["expected_device_min"] / 100)
    assert row["settings"] == "grace_period=1 reduction_factor=4 brackets=1"
    assert row["success_rate"] == 1.0
    assert report.to_csv().splitlines()[0].startswith("label,role,success_rate,")


def test_a_better_one_under_fresh_seeds_is_named(parts: tuple[Ground, Ground]) -> None:
    lucky, _ = seed_ranges(0, 9, 6)
    simulate = Planted(lambda study: planted(study) * (1 if study.seed in lucky else 3) if study.samples == 24 else 15)
    report = advise_report(advice(parts, simulate))
    assert any("did better than what was advised" in line for line in report.comparison)


def test_pbt_is_marked_approximate(parts: tuple[Ground, Ground]) -> None:
    pbt = Candidate(strategy="pbt", samples=4, devices=1)
    found = advise([pbt], Goal(), CPU, *parts, Planted(planted), seeds=2, report_seeds=2)
    report = advise_report(found)
    rows = report.to_dict()["tables"]["advice"]["rows"]
    assert [(row["label"], row["approximate"]) for row in rows[2:3]] == [
        ("pbt, 4 trials on 1 device (approximate)", True)
    ]
    assert any(line.startswith("Approximate: pbt.") for line in report.head)


def test_defaults_that_are_advised_are_told_once(parts: tuple[Ground, Ground]) -> None:
    plain = Candidate(strategy="asha", samples=12, devices=2)
    found = advise([plain], Goal(), CPU, *parts, Planted(planted), seeds=2, report_seeds=2)
    assert [row.role for row in found.rows] == ["reference", "reference", "advised"]


def advised(bowl: str, *args: str) -> str:
    """What the command prints, in this process alone."""
    from bench.cli.advise import advise as command_

    always = ["--curves", bowl, "--strategy", "random,hyperband", "--epochs", "2", "--seeds", "2"]
    always += ["--report-seeds", "3", "--jobs", "1"]
    result = CliRunner().invoke(command_, [*always, *args], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_command_advises(bowl: str) -> None:
    first = advised(bowl, "--target", "1.2", "--json")
    data = json.loads(first)
    assert data["title"].startswith("Advice for profile cpu: ")
    assert data["tables"]["advice"]["rows"][0]["strategy"] == "manual"
    assert data["tables"]["rungs"]["rows"][-1]["seeds"] == 2
    assert first == advised(bowl, "--target", "1.2", "--json")
    assert "## Advice for profile cpu" in advised(bowl, "--budget", "3", "--markdown", "--no-hold-out")


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (["--budget", "1", "--target", "1"], "one of --budget and --target"),
        (["--strategy", "ahsa"], "did you mean 'asha'"),
        (["--profile", "cup"], "did you mean 'cpu'"),
        (["--epochs", "9"], "9 epochs are more than the 2"),
        (["--report-curves", "no/such/set"], "Cannot read no/such/set"),
        (["--json", "--csv"], "Only one of"),
    ],
)
def test_a_users_mistake_on_the_command_line(bowl: str, args: list[str], why: str) -> None:
    with pytest.raises(UserError, match=re.escape(why)):
        advised(bowl, *args)
