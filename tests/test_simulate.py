"""Many simulated runs, the targets they are measured by, and the report on them."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bench.curve_model import CurveModel
from bench.curves import Curve, CurveSet, Epoch, ModelError, write_metadata, write_table
from bench.errors import UserError
from bench.progress import counter
from bench.report.model import Report
from bench.simulate_head import load_validation
from bench.simulate_many import Outcome, outcome_of, simulate_many
from bench.simulate_report import simulate_report
from bench.simulate_scores import Score, scores
from bench.simulate_targets import Targets, draw_config, hard_target_loss, target_loss
from bench.space import Choice, LogUniform, SearchSpace
from bench.study import Simulation, Study
from bench.trials import Incumbent, fold
from tests.builders import Run, journal, study

SPACE = SearchSpace(
    (
        LogUniform("learning_rate", 1e-4, 1e-2, (1e-3, 1e-2, 1e-4)),
        Choice("batch_size", (8,)),
        Choice("weight_decay", (0.0,)),
    )
)
RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
BEST = {"learning_rate": 1e-3, "batch_size": 8, "weight_decay": 0.0}
GOAL = Targets(grid=2.0, hard=1.0)


def curve_set(**changes: Any) -> CurveSet:
    """Two seeds of a bowl in log(learning rate) with its bottom, a loss of 1 after the last epoch, at 1e-3."""
    curves = [
        Curve(
            config={"learning_rate": rate, "batch_size": 8, "weight_decay": 0.0},
            seed=seed,
            startup_s=1.0,
            epochs=tuple(
                Epoch(
                    epoch=epoch,
                    eval_loss=(1 + abs(math.log10(rate) + 3)) * (3 - epoch) * (1.01 if seed else 0.99),
                    train_loss=1.0,
                    train_s=10.0 + seed,
                    eval_s=1.0,
                    checkpoint_s=0.5,
                    samples_per_s=10.0,
                )
                for epoch in (1, 2)
            ),
        )
        for rate in RATES
        for seed in (0, 1)
    ]
    fields: dict[str, Any] = {
        "name": "bowl",
        "kind": "fitted",
        "summary": "a bowl in the learning rate",
        "workload": "tiny-squad",
        "recipe": "qa",
        "profile": "v100",
        "space": SPACE,
        "epochs": 2,
        "seeds": (0, 1),
        "curves": tuple(curves),
    }
    return CurveSet(**(fields | changes))


MODEL = CurveModel(curve_set())


def virtual(strategy: str, seed: int = 0) -> Study:
    simulation = Simulation(curves="bowl", curves_sha256="0", node_devices=4, node_cpus=8, trial_cpus=2)
    return study(strategy, seed=seed, space=SPACE, profile="v100", engine="virtual", devices=4, simulation=simulation)


def outcome(strategy: str, seed: int = 0, *steps: tuple[float, float], **changes: Any) -> Outcome:
    """`steps`: loss and allocated device-minutes of each incumbent; the search cost 100 unless `changes` say else."""
    trace = tuple(
        Incumbent(trial=f"t{i}", eval_loss=loss, at_s=60 * cost, allocated_device_min=cost, busy_device_min=cost / 2)
        for i, (loss, cost) in enumerate(steps)
    )
    fields: dict[str, Any] = {
        "strategy": strategy,
        "seed": seed,
        "trace": trace,
        "finals": tuple((loss, 5.0) for loss, _ in steps),
        "winner": BEST if steps else None,
        "allocated_device_min": 100.0,
        "busy_device_min": 50.0,
        "wall_s": 1500.0,
        "trials": 12,
        "stopped": 3,
        "suggestions": 0,
        "model_based": 0,
        "stalled": "",
    }
    return Outcome(**(fields | changes))


def compared(seeds: int = 20, **changes: Any) -> list[Outcome]:
    """manual gets to the target at 80, random at 40 under every other seed, asha at 20."""
    runs = []
    for seed in range(seeds):
        runs += [
            outcome("manual", seed, (3.0, 10.0), (2.0, 80.0)),
            outcome("random", seed, (2.0, 40.0)) if seed % 2 else outcome("random", seed, (2.5, 40.0)),
            outcome("asha", seed, (1.5, 20.0), **({"allocated_device_min": 50.0} | changes)),
        ]
    return runs


def by_name(found: list[Score]) -> dict[str, Score]:
    return {s.strategy: s for s in found}


def test_an_outcome_is_what_the_run_came_to() -> None:
    runs = [
        Run(losses=[5.0, 4.0], lr=1e-5, model_based=False),
        Run(losses=[6.0], state="stopped", model_based=True),
        Run(losses=[5.0, 3.5], lr=5e-6, model_based=True),
        Run(losses=[5.0, None], state="nan", model_based=False),
    ]
    of = study("bohb", seed=7)
    state = fold(journal(runs, of))
    found = outcome_of(of, state)
    assert (found.strategy, found.seed, found.trials, found.stopped) == ("bohb", 7, 4, 1)
    assert (found.suggestions, found.model_based, found.stalled) == (4, 2, "")
    assert found.trace == tuple(state.trace)
    assert found.best_loss == 3.5
    assert found.winner == runs[2].config
    assert [loss for loss, _ in found.finals] == [4.0, 3.5]
    assert [busy for _, busy in found.finals] == pytest.approx([23 / 60, 23 / 60])
    costs = state.ledger.costs("search")
    assert (found.allocated_device_min, found.busy_device_min) == (costs.allocated_device_min, costs.busy_device_min)
    assert found.wall_s == costs.wall_s


def test_a_search_without_an_incumbent_has_no_loss() -> None:
    assert outcome("asha").best_loss == math.inf


def fake(of: Study, curves: str) -> Outcome:
    """A run that took some time and depends on its study alone."""
    assert curves == "bowl"
    time.sleep(0.001 * (of.seed % 3))
    return outcome(of.strategy, of.seed, (float(of.seed), 1.0))


def fail(of: Study, curves: str) -> Outcome:
    raise UserError(f"{of.strategy} {of.seed} {curves}")


def test_outcomes_do_not_depend_on_the_number_of_processes() -> None:
    studies = [virtual(name, seed) for name in ("manual", "asha") for seed in range(40)]
    told: list[tuple[int, int]] = []
    alone = simulate_many(studies, curves="bowl", jobs=1, one=fake)
    together = simulate_many(studies, curves="bowl", jobs=2, one=fake, on_done=lambda *n: told.append(n))
    assert alone == together
    assert [(o.strategy, o.seed) for o in alone] == [(s.strategy, s.seed) for s in studies]
    assert told[-1] == (80, 80)
    assert told == sorted(told)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_users_mistake_in_a_run_reaches_the_user(jobs: int) -> None:
    with pytest.raises(UserError, match=r"asha \d bowl"):
        simulate_many([virtual("asha", seed) for seed in range(4)], curves="bowl", jobs=jobs, one=fail)


def test_nothing_to_simulate() -> None:
    assert simulate_many([], curves="bowl") == []


def test_progress_is_told_in_lines_once_it_takes_long(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr("bench.progress.time.monotonic", lambda: now[0])
    with counter("simulated runs") as show:
        now[0] += 60.0  # workers start
        for done in range(1, 11):
            now[0] += 1.0
            show(done, 10)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["2/10 simulated runs, about 0:08 left", "7/10 simulated runs, about 0:03 left"]


def test_theta_1_is_what_the_winner_gets_again() -> None:
    lucky = [outcome("manual", seed, (0.5, 10.0)) for seed in range(10)]
    found = target_loss(lucky, MODEL, epochs=2)
    assert found == pytest.approx(1.0, rel=0.02)  # the bottom of the bowl, not the 0.5 that the seeds won with
    assert found == target_loss(lucky, MODEL, epochs=2)
    assert target_loss(lucky, MODEL, epochs=1) == pytest.approx(2.0, rel=0.04)


def test_theta_1_needs_a_winner() -> None:
    with pytest.raises(UserError, match="no winner that could be a target"):
        target_loss([outcome("manual")], MODEL, epochs=2)


def test_theta_2_is_a_quantile_of_random_search() -> None:
    """The loss at a distance d of the bottom is 1 + d, d being uniform up to 1: the 2 % quantile is about 1.02."""
    assert hard_target_loss(MODEL, SPACE, epochs=2) == pytest.approx(1.02, rel=0.03)


def test_configurations_are_drawn_from_the_space() -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    drawn = [draw_config(SPACE, rng) for _ in range(5000)]
    rates = sorted(float(config["learning_rate"]) for config in drawn)
    assert 1e-4 <= rates[0] <= rates[-1] <= 1e-2
    assert rates[2500] == pytest.approx(1e-3, rel=0.15)
    assert {config["batch_size"] for config in drawn} == {8}


def test_scores_of_a_comparison_worked_by_hand() -> None:
    manual, random, asha = scores(compared(), GOAL)
    assert [s.strategy for s in (manual, random, asha)] == ["manual", "random", "asha"]
    assert (asha.grid.success_rate, random.grid.success_rate) == (1.0, 0.5)
    assert (asha.grid.cost, asha.grid.expected) == (20.0, 20.0)
    assert random.grid.cost == math.inf
    assert random.grid.expected == (10 * 40 + 10 * 100) / 10
    assert manual.grid.ratio is None
    assert asha.grid.ratio is not None
    assert asha.grid.ratio.value == pytest.approx(0.25)
    assert asha.grid.over_manual is not None
    assert asha.grid.over_manual.value == 1.0
    assert random.grid.over_manual is not None
    assert random.grid.over_manual.value == 0.5
    assert asha.cost_ratio == pytest.approx(0.5)
    assert asha.loss_difference is not None
    assert asha.loss_difference.value == -0.5
    # The grid: one hit of 5 busy minutes, 45 of others, each before the hit in half of the orders; half of it idle.
    assert manual.grid.random_order_ratio == pytest.approx(80 / ((5 + 45 / 2) * 2))


def test_loss_is_compared_at_the_cost_of_the_whole_grid() -> None:
    late = outcome("asha", 0, (1.9, 50.0), (1.0, 101.0), allocated_device_min=200.0)
    runs = [outcome("manual", 0, (2.0, 80.0)), outcome("random", 0), late]
    found = by_name(scores(runs, GOAL))
    assert found["asha"].loss_difference is not None
    assert found["asha"].loss_difference.value == pytest.approx(-0.1)
    assert found["random"].loss_difference is not None
    assert found["random"].loss_difference.value == math.inf


def test_others_come_after_the_references_by_what_a_success_costs() -> None:
    runs = [
        *(outcome(name, 0, (2.0, cost)) for name, cost in (("tpe", 30.0), ("asha", 10.0), ("random", 50.0))),
        outcome("manual", 0, (2.0, 90.0)),
        outcome("bohb", 0),
    ]
    assert [s.strategy for s in scores(runs, GOAL)] == ["manual", "random", "asha", "tpe", "bohb"]


@pytest.mark.parametrize(
    ("runs", "why"),
    [
        ([outcome("manual", 0)], "no outcomes of random"),
        ([outcome("manual", 0), outcome("random", 1)], "random has other seeds"),
        ([outcome("manual", 0), outcome("random", 0), outcome("random", 0)], "random has other seeds"),
    ],
)
def test_seeds_must_be_paired(runs: list[Outcome], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        scores(runs, GOAL)


def report(runs: list[Outcome], folder: Path | None = None, **changes: Any) -> Report:
    names = dict.fromkeys(o.strategy for o in runs)
    studies = [virtual(name, seed) for name in names for seed in {o.seed for o in runs}]
    return simulate_report(runs, studies, CurveModel(curve_set(**changes)), validation=folder or Path("no-such-folder"))


def winning(seeds: int, **changes: Any) -> list[Outcome]:
    """As `compared`, on losses about the bowl's bottom: asha always gets there first."""
    runs = []
    for seed in range(seeds):
        runs += [
            outcome("manual", seed, (0.9, 80.0)),
            outcome("random", seed, (0.9, 79.0 + 2 * (seed % 2))),
            outcome("asha", seed, (0.9, 20.0), **changes),
        ]
    return runs


def test_the_report_says_what_it_rests_on() -> None:
    error = ModelError(
        loss_median=0.02, loss_q90=0.1, loss_rank_correlation=0.93, seconds_median_relative=0.043, points=10
    )
    head = "\n".join(report(winning(3), error=error, limits=("No seeds were published.",)).head)
    assert "Simulated, from the fitted curves bowl: a bowl in the learning rate." in head
    assert "each of 10 points left out in turn: loss wrong by 0.0200 in the median" in head
    assert "Limit: No seeds were published." in head
    assert "Profile v100: 4 slots" in head
    assert "seeds 0 to 2; at most 12 trials of 2 epochs; costs are GPU-minutes allocated." in head
    assert "Not validated against real runs on bowl." in head
    assert "is not known" in "\n".join(report(winning(3)).head)


AGREEMENT = {
    "runs": 3,
    "replayed": 2,
    "rank_correlation": 0.9,
    "same_configs": 1.0,
    "same_last_epochs": 0.75,
    "cost_error_median": 0.052,
    "busy_error_median": 0.01,
    "loss_error_median": 0.0312,
    "approximate": False,
}


def validation_file(folder: Path, **changes: Any) -> None:
    data = {"schema_version": 1, "curves": "bowl", "table_sha256": None, "strategies": {"asha": AGREEMENT | changes}}
    (folder / "bowl.json").write_text(json.dumps(data))


def test_the_report_shows_its_validation(tmp_path: Path) -> None:
    validation_file(tmp_path)
    assert report(winning(3), tmp_path).head[-1] == (
        "Against real runs, medians: asha (3 runs, 2 replayed with the same decisions): rank correlation 0.90, cost "
        "wrong by 5.2%, best loss by 0.031. Not validated against real runs: manual and random."
    )
    validation_file(tmp_path, rank_correlation=None, loss_error_median=None)
    assert "rank correlation none, cost wrong by 5.2%." in report(winning(3), tmp_path).head[-1]


def test_the_report_says_when_the_curves_are_others_than_those_validated(tmp_path: Path) -> None:
    validation_file(tmp_path)
    head = report(winning(3), tmp_path, table_sha256="another").head[-1]
    assert "That was with another table of bowl than these numbers rest on" in head


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"schema_version": 2, "curves": "bowl", "table_sha256": null, "strategies": {}}',
        '{"schema_version": 1, "curves": "other", "table_sha256": null, "strategies": {}}',
        '{"schema_version": 1, "curves": "bowl", "strategies": {}}',
        '{"schema_version": 1, "curves": "bowl", "table_sha256": null, "strategies": {"asha": {"runs": 3}}}',
        json.dumps(
            {
                "schema_version": 1,
                "curves": "bowl",
                "table_sha256": None,
                "strategies": {"asha": AGREEMENT | {"more": 1}},
            }
        ),
    ],
)
def test_a_malformed_validation_is_told_in_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "bowl.json").write_text(text)
    with pytest.raises(UserError, match=r"bowl\.json.*make it again"):
        load_validation("bowl", tmp_path)


def test_a_win_is_claimed_by_the_rule_alone() -> None:
    lines = report(winning(20)).comparison
    assert lines[0] == (
        "asha needs fewer GPU-minutes than manual to be as good as the grid's winner: in 100% of seeds [100%, 100%]."
    )
    assert lines[-1].startswith("Nothing is claimed of random and manual:")
    assert len(lines) == 3  # over manual, over random, and what is not claimed


def test_a_loss_is_claimed_by_the_same_rule() -> None:
    runs = [o if o.strategy != "asha" else outcome("asha", o.seed) for o in winning(20)]
    assert report(runs).comparison[0].startswith("manual needs fewer GPU-minutes than asha")


def test_warnings() -> None:
    runs = winning(20, suggestions=12, stalled="t3 waits for a device.")
    warnings = "\n".join(report(runs).warnings)
    assert "Provisional: 20 seeds; 200 or more" in warnings
    assert "none of its 240 suggestions came from it" in warnings
    assert "asha stalled under 20 of 20 seeds; the first: t3 waits for a device." in warnings
    quiet = report(winning(200, suggestions=12, model_based=3))
    assert quiet.warnings == ()
    assert quiet.table("strategies").column("model_share")[2] == 0.25


def test_rows_of_a_strategy_that_copies_weights_are_approximate() -> None:
    runs = [*winning(3), *(outcome("pbt", seed, (0.9, 30.0)) for seed in range(3))]
    found = report(runs)
    assert "pbt (approximate)" in found.table("strategies").column("label")
    assert any(line.startswith("Approximate: pbt.") for line in found.head)


def test_all_forms_hold_the_same_numbers() -> None:
    runs = [*winning(20), *(outcome("tpe", seed) for seed in range(20))]
    found = report(runs)
    rows = {row["strategy"]: row for row in csv.DictReader(io.StringIO(found.to_csv()))}
    assert float(rows["asha"]["ratio"]) == pytest.approx(0.25)
    assert rows["tpe"]["expected_device_min"] == ""
    data = json.loads(found.to_json())
    assert set(data["tables"]) == {"strategies", "hard_target"}
    plain = {row["strategy"]: row for row in data["tables"]["strategies"]["rows"]}
    assert plain["tpe"]["ratio"] is None
    assert plain["asha"]["p_over_manual_low"] == 1.0
    assert rows["tpe"]["ratio_shown"] == "never"
    assert "| asha | 100% |" in found.to_markdown()


@pytest.mark.alone
def test_statistics_of_many_seeds_are_quick() -> None:
    """8 strategies, 200 seeds, 10,000 resamples: seconds would be felt."""
    names = ("manual", "random", "a", "b", "c", "d", "e", "f")
    runs = [outcome(name, seed, (2.0, 20.0 + seed)) for name in names for seed in range(200)]
    began = time.perf_counter()
    scores(runs, GOAL)
    assert time.perf_counter() - began < 3


@pytest.fixture(scope="module")
def bowl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("curves") / "bowl"
    write_metadata(folder, curve_set())
    write_table(folder, curve_set())
    return folder


def simulated(bowl: Path, *args: str) -> str:
    """What the command prints, for two epochs under two seeds in this process alone."""
    from bench.cli.simulate import simulate

    always = ["--curves", str(bowl), "--epochs", "2", "--seeds", "2", "--jobs", "1"]
    result = CliRunner().invoke(simulate, [*always, *args], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_command_compares_with_both_references(bowl: Path) -> None:
    data = json.loads(simulated(bowl, "--strategy", "asha", "--profile", "v100", "--json"))
    rows = data["tables"]["strategies"]["rows"]
    assert [row["strategy"] for row in rows] == ["manual", "random", "asha"]
    assert all(row["seeds"] == 2 and row["search_device_min"] > 0 for row in rows)
    assert any(line.startswith("Provisional: 2 seeds") for line in data["warnings"])


def test_the_same_command_prints_the_same(bowl: Path) -> None:
    args = ("--strategy", "bohb", "--csv")
    assert simulated(bowl, *args) == simulated(bowl, *args)
    assert simulated(bowl, *args) != simulated(bowl, *args, "--seed", "2")


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (["--strategy", "ahsa"], "did you mean 'asha'"),
        (["--profile", "v10"], "did you mean 'v100'"),
        (["--set", "eta=3"], "no setting 'eta'"),
        (["--strategy", "asha", "--set", "grace_period"], "has no value"),
        (["--json", "--csv"], "Only one of"),
        (["--curves", "no/such/set"], "Cannot read no/such/set"),
    ],
)
def test_a_users_mistake_on_the_command_line(bowl: Path, args: list[str], why: str) -> None:
    with pytest.raises(UserError, match=re.escape(why)):
        simulated(bowl, *args)


def test_settings_reach_the_strategies_that_have_them(bowl: Path) -> None:
    args = ("--strategy", "asha", "--profile", "v100", "--csv")
    plain, changed = (
        {row["strategy"]: row for row in csv.DictReader(io.StringIO(simulated(bowl, *args, *more)))}
        for more in ((), ("--set", "grace_period=2"))
    )
    assert float(plain["asha"]["stopped"]) > 0
    assert float(changed["asha"]["stopped"]) == 0  # two epochs are all there are
    assert plain["random"]["search_device_min"] == changed["random"]["search_device_min"]


def test_the_references_come_with_any_strategy() -> None:
    from bench.cli.simulate import _names

    assert _names("asha, bohb,random") == ["manual", "random", "asha", "bohb"]
    assert {"manual", "random", "pbt", "tpe"} < set(_names("all"))
