"""Which runs share a board, how rows are scored and ranked, and what is said of them."""

from __future__ import annotations

import csv
import io
import json
import math
import random
from pathlib import Path
from typing import Any

import pytest

from bench.events import Event
from bench.leaderboard import Board, Found, boards
from bench.leaderboard.board_table import board_table, leaderboard_csv, leaderboard_report
from bench.leaderboard.write import leaderboard_texts, write_all
from bench.record import build_record
from bench.study import Simulation
from tests.builders import Run, journal, study

PROBE = {"gpus": [{"name": "A100-SXM4-80GB"}, {"name": "A100-SXM4-80GB"}], "cpu_model": "EPYC", "cpus": 32}
OTHER = {"gpus": [{"name": "A100-PCIE-40GB"}], "cpu_model": "Xeon", "cpus": 8}
GRID = [Run(losses=[5.0, 4.0], lr=1e-5), Run(losses=[5.0, 3.5], lr=5e-6)]
QUICK = [Run(losses=[5.0, 3.4], lr=1.5e-5)]
POOR = [Run(losses=[5.0, 3.9], lr=1.5e-5)]


def found(
    runs: list[Run], strategy: str = "manual", probe: dict[str, Any] = PROBE, *, seed: int = 0, **changes: Any
) -> Found:
    built = journal(runs, study(strategy, seed=seed, **changes), provenance_changes={"probe": probe})
    return of_events(built)


def of_events(events: list[Event]) -> Found:
    record = build_record(events)
    return Found(folder=Path("nowhere"), record=record, name=record.run_id)


def one_board(runs: list[Found]) -> Board:
    made = boards(runs)
    assert len(made) == 1
    return made[0]


def test_a_row_is_a_strategy_over_its_seeds_and_the_cheapest_to_the_target_is_first() -> None:
    runs = [found(GRID, seed=s) for s in (0, 1)] + [found(QUICK, "asha", seed=s) for s in (0, 1)]
    board = one_board(runs)
    assert [(r.rank, r.strategy, r.seeds) for r in board.rows] == [(1, "asha", 2), (2, "manual", 2)]
    # The target is the grid's winner, its second trial: 2 x (1 s idle + 23 s). The other gets there with its first.
    assert board.target == 3.5
    asha, manual = board.rows
    assert asha.ratio is not None
    assert asha.ratio.value == pytest.approx(24 / 48)
    assert manual.ratio is not None
    assert manual.ratio.value == 1
    assert asha.cost_to_target == pytest.approx(24 / 60)
    # In a random order: its own 23 s, half of the other's, and the idle time that goes with them.
    assert asha.over_shuffled == pytest.approx(24 / ((23 + 23 / 2) * 48 / 46))
    assert asha.cost_ratio == pytest.approx(24 / 48)
    assert asha.success_rate == 1
    assert asha.expected == pytest.approx(24 / 60)
    assert asha.better is not None
    assert asha.better.value == 1
    assert asha.allocated_device_min == pytest.approx(24 / 60)
    assert asha.busy_device_min == pytest.approx(23 / 60)
    assert asha.test_loss == 2.0
    assert asha.machine == "2 x A100-SXM4-80GB"


def test_a_strategy_that_misses_is_ranked_last_and_kept() -> None:
    runs = [found(GRID, seed=s) for s in (0, 1)] + [found(POOR, "bohb", seed=s) for s in (0, 1)]
    row = one_board(runs).rows[-1]
    assert row.strategy == "bohb"
    assert row.ratio is not None
    assert math.isinf(row.ratio.value)
    assert row.success_rate == 0
    assert row.rank == 2
    cells = dict(
        zip([c.key for c in board_table(one_board(runs)).columns], board_table(one_board(runs)).rows[-1], strict=True)
    )
    assert cells["ratio_shown"] == "never"


def test_half_of_the_seeds_that_miss_make_the_ratio_infinite_and_ert_twice_the_cost() -> None:
    runs = [found(GRID, seed=s) for s in (0, 1)] + [found(QUICK, "asha", seed=0), found(POOR, "asha", seed=1)]
    row = next(r for r in one_board(runs).rows if r.strategy == "asha")
    assert row.ratio is not None
    assert math.isinf(row.ratio.value)
    assert row.success_rate == 0.5
    assert row.expected == pytest.approx(2 * 24 / 60)


@pytest.mark.parametrize(
    "changes",
    [
        {"workload": "tiny-squad"},
        {"recipe": "workshop"},
        {"profile": "v100"},
        {"dataset": "other.json"},
        {"final_epochs": 8},
        {"devices_per_trial": 2, "devices": 2},
    ],
    ids=lambda c: next(iter(c)),
)
def test_what_does_not_compare_is_on_another_board(changes: dict[str, Any]) -> None:
    made = boards([found(GRID), found(QUICK, "asha", **changes)])
    assert len(made) == 2
    assert len({b.key for b in made}) == 2
    assert len({b.title for b in made}) == 2
    assert [row.ratio is None for b in made for row in b.rows if row.strategy == "asha"] == [True]


def test_measured_and_simulated_runs_never_share_a_board() -> None:
    imagined = Simulation(curves="published-a100", curves_sha256="0" * 64, node_devices=1, node_cpus=16, trial_cpus=2)
    virtual = found(GRID, engine="virtual", simulation=imagined)
    made = boards([found(GRID), virtual])
    assert [b.simulated for b in made] == [False, True]
    assert "measured" in made[0].title
    assert "simulated" in made[1].title
    row = made[1].rows[0]
    assert (row.date, row.machine) == ("", "")
    assert board_table(made[1]).rows[0][-1] == virtual.name
    assert "simulated" in board_table(made[1]).to_markdown()


def test_each_machine_is_compared_with_its_own_grid() -> None:
    slow = journal(GRID, study("manual", seed=1), speed=10, provenance_changes={"probe": OTHER})
    runs = [found(GRID), found(QUICK, "asha"), of_events(slow), found(QUICK, "asha", OTHER, seed=1)]
    board = one_board(runs)
    ratios = {row.machine: row.ratio.value for row in board.rows if row.strategy == "asha" and row.ratio}
    assert ratios["2 x A100-SXM4-80GB"] == pytest.approx(24 / 48)
    assert ratios["1 x A100-PCIE-40GB"] < 0.1


def test_few_seeds_are_provisional_and_have_no_interval() -> None:
    few = [found(GRID, seed=s) for s in range(4)] + [found(QUICK, "asha", seed=s) for s in range(4)]
    enough = [found(GRID, seed=s) for s in range(5)] + [found(QUICK, "asha", seed=s) for s in range(5)]
    assert one_board(few).rows[0].provisional
    assert not one_board(enough).rows[0].provisional
    assert "4 (provisional)" in board_table(one_board(few)).to_markdown()
    assert "0.50 \\[" not in board_table(one_board(few)).to_markdown()
    assert "0.50 \\[0.50, 0.50\\]" in board_table(one_board(enough)).to_markdown()


def test_runs_of_one_seed_twice_are_one_seed() -> None:
    again = of_events(journal(GRID, study("manual"), speed=1.1, provenance_changes={"probe": PROBE}))
    assert one_board([found(GRID), again]).rows[0].seeds == 1


def test_a_grid_of_another_seed_is_said() -> None:
    board = one_board([found(GRID, seed=0), found(QUICK, "asha", seed=3)])
    assert not next(r for r in board.rows if r.strategy == "asha").paired
    assert "grid of another seed" in board_table(board).to_markdown()


def test_without_a_grid_nothing_is_ranked_and_that_is_said() -> None:
    board = one_board([found(QUICK, "asha")])
    assert board.rows[0].rank is None
    assert board.target is None
    assert "no manual grid" in board_table(board).to_markdown()


def test_unfinished_searches_are_counted_and_in_no_row() -> None:
    cut = journal(QUICK, study("asha"), provenance_changes={"probe": PROBE})[:6]
    board = one_board([found(GRID), of_events(cut)])
    assert [r.strategy for r in board.rows] == ["manual"]
    assert board.unfinished == 1
    assert "1 run whose search is not over" in board_table(board).to_markdown()
    assert boards([of_events(cut)]) == []


def test_failed_trials_are_counted() -> None:
    runs = [*QUICK, Run(losses=[5.0, None], state="nan"), Run(losses=[5.0], state="stopped")]
    board = one_board([found(GRID), found(runs, "asha")])
    assert {r.strategy: r.failures for r in board.rows} == {"manual": 0, "asha": 1}


def test_the_order_in_which_runs_come_changes_nothing() -> None:
    runs = [found(GRID, seed=s) for s in range(3)]
    runs += [found(QUICK, name, seed=s) for name in ("asha", "bohb", "random") for s in range(3)]
    first = leaderboard_texts(boards(runs))
    for seed in range(5):
        shuffled = random.Random(seed).sample(runs, len(runs))
        assert leaderboard_texts(boards(shuffled)) == first


def test_csv_holds_all_rows_of_all_boards_with_numbers_in_full() -> None:
    made = boards([found(GRID), found(QUICK, "asha"), found(GRID, recipe="workshop")])
    rows = list(csv.DictReader(io.StringIO(leaderboard_csv(made))))
    assert [(r["board"], r["strategy"]) for r in rows] == [(b.key, r.strategy) for b in made for r in b.rows]
    assert float(rows[0]["ratio"]) == made[0].rows[0].ratio.value  # type: ignore[union-attr]


def test_hostile_text_stays_text_and_json_has_no_infinity() -> None:
    board = one_board([found(GRID), found(POOR, "<script>alert(1)</script>")])
    report = leaderboard_report([board])
    assert "<script>" not in report.to_markdown()
    parsed = json.loads(report.to_json(), parse_constant=lambda c: pytest.fail(c))
    rows = parsed["tables"][board.key]["rows"]
    assert [r["ratio"] for r in rows if r["strategy"].startswith("<script")] == [None]


def test_files_are_written_whole(tmp_path: Path) -> None:
    made = boards([found(GRID), found(QUICK, "asha")])
    paths = write_all(leaderboard_texts(made), tmp_path / "out")
    assert {p.name for p in paths} == {p.name for p in (tmp_path / "out").iterdir()} == {
        "leaderboard.md", "leaderboard.csv", "leaderboard.json"
    }  # fmt: skip
    assert (tmp_path / "out" / "leaderboard.md").read_text() == leaderboard_report(made).to_markdown()


def test_a_grid_that_misses_its_own_target_is_said() -> None:
    poor = [Run(losses=[5.0, 4.0], lr=1e-5), Run(losses=[5.0, 3.9], lr=5e-6)]
    runs = [found(GRID, seed=0), found(GRID, seed=1), found(poor, seed=2)]
    runs += [found(QUICK, "asha", seed=s) for s in range(3)]
    markdown = board_table(one_board(runs)).to_markdown()
    assert "The grid itself missed the target on 33% of its seeds" in markdown
    assert "missed the target" not in board_table(one_board(runs[:2])).to_markdown()


def test_the_control_is_what_random_search_is_expected_to_find() -> None:
    random_runs = [
        found([Run(losses=[5.0, 4.0]), Run(losses=[5.0, 3.0])], "random", seed=0, samples=2),
        found([Run(losses=[5.0, 2.0])], "random", seed=1, samples=2),
    ]
    control = one_board([found(GRID), *random_runs]).control
    assert control is not None
    assert (control.drawn, control.finals) == (2, 3)
    # Pairs of 2, 3 and 4: their minima are 2, 2 and 3.
    assert control.loss == pytest.approx(7 / 3)
    assert one_board([found(GRID), found(QUICK, "asha")]).control is None


def test_strategies_are_compared_across_boards_that_hold_them_all() -> None:
    here = [found(GRID), found(QUICK, "asha"), found(POOR, "bohb")]
    there = [found(GRID, recipe="workshop"), found(POOR, "asha", recipe="workshop")]
    assert leaderboard_report(boards([*here, *there])).tables[-1].name != "across-measured", "two say too little"
    there.append(found(QUICK, "random", recipe="workshop"))
    report = leaderboard_report(boards([*here, *there]))
    across = report.tables[-1]
    assert across.name == "across-measured"
    rows = {row[0]: dict(zip([c.key for c in across.columns], row, strict=True)) for row in across.rows}
    assert [row["boards"] for row in rows.values()] == [2, 2]
    manual, asha = rows.values()
    # ASHA costs half on one board and never gets there on the other, where random search, which is not here, costs
    # half; the grid costs twice that on both.
    assert asha["profile_score"] == pytest.approx(0.5)
    assert manual["profile_score"] == pytest.approx((4 - 2) / 3)
    assert (asha["cheapest_share"], manual["cheapest_share"]) == (0.5, 0.0)
    assert (asha["within_twice_share"], manual["within_twice_share"]) == (0.5, 1.0)
    assert all(table.name != "across-measured" for table in leaderboard_report(boards(here)).tables)
