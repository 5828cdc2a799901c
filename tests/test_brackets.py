"""Brackets and rungs, as Ray's schedulers lay them out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bench.brackets import Layout, layout
from bench.strategy import Request, load_strategy
from tests.builders import SPACE

Rungs = list[tuple[int, float]]


def laid_out(name: str, samples: int, epochs: int, **settings: str) -> Layout:
    strategy = load_strategy(name)
    plan = strategy.plan(
        Request(
            space=SPACE, samples=samples, epochs=epochs, slots=4, seed=0, settings=strategy.resolve(settings)
        )
    )  # fmt: skip
    return layout(plan, samples=samples, epochs=epochs)


def numpy_state() -> Any:
    state: Any = np.random.get_state()
    return state[1]


def rungs(found: Layout) -> list[tuple[int, Rungs]]:
    return [(b.count, [(r.epochs, r.trials) for r in b.rungs]) for b in found.brackets]


def test_asha_halves_at_each_power_of_two() -> None:
    found = laid_out("asha", 12, 5)
    assert rungs(found) == [(1, [(1, 12), (2, 6), (4, 3), (5, 1.5)])]
    assert not found.exact


def test_a_rung_at_the_last_epoch_decides_nothing() -> None:
    assert rungs(laid_out("asha", 8, 4)) == [(1, [(1, 8), (2, 4), (4, 2)])]


def test_asha_brackets_share_the_trials_and_begin_later() -> None:
    """Ray's weights are exp(number of rungs): 1 / (1 + 1/e) = 73 % begin at the first rung."""
    state = numpy_state()
    found = laid_out("asha", 100, 9, reduction_factor="3", brackets="2")
    first, second = found.brackets
    assert [r.epochs for r in first.rungs] == [1, 3, 9]
    assert [r.epochs for r in second.rungs] == [3, 9]
    assert first.rungs[0].trials + second.rungs[0].trials == 100
    assert 69 < first.rungs[0].trials < 77
    assert np.array_equal(state, numpy_state())


def test_hyperband_for_nine_epochs() -> None:
    """The published brackets for R = 9, eta = 3 in Ray's order and sizes: n0(s) = ceil(3 / (s + 1) * 3^s)."""
    found = laid_out("hyperband", 17, 9)
    assert rungs(found) == [(1, [(9, 3)]), (1, [(3, 5), (9, 2)]), (1, [(1, 9), (3, 3), (9, 1)])]
    assert found.exact
    assert found.notes == ()
    assert found.brackets[2].rungs[0].then == "keeps 3 of 9"
    assert [found.reaching(epochs) for epochs in found.rung_epochs] == [17, 11, 6]


def test_bohb_fills_the_largest_bracket_first_and_leaves_the_last_unfilled() -> None:
    found = laid_out("bohb", 11, 9)
    assert rungs(found) == [(1, [(1, 9), (3, 3), (9, 1)]), (1, [(3, 2), (9, 2)])]


def test_bohb_at_the_workshops_budget() -> None:
    """12 trials of 5 epochs, eta 3: brackets of 3 that end at epoch 3, and of 2 that run through."""
    found = laid_out("bohb", 12, 5)
    assert rungs(found) == [(2, [(1, 3), (3, 1)]), (2, [(5, 2)]), (1, [(1, 2), (3, 1)])]
    assert "ends at 3 of 5 epochs" in found.notes[0]
    assert [found.reaching(e) for e in (1, 2, 3, 4, 5, 6)] == [12, 7, 7, 4, 4, 0]


def test_pbt_copies_a_quarter_after_each_interval() -> None:
    found = laid_out("pbt", 12, 5, perturbation_interval="2")
    assert rungs(found) == [(1, [(2, 12), (4, 12), (5, 12)])]
    assert [r.then for r in found.brackets[0].rungs] == ["3 of 12 copy", "3 of 12 copy", "all end"]


def test_a_population_of_one_copies_nothing() -> None:
    assert laid_out("pbt", 1, 2).brackets[0].rungs[0].then == "0 of 1 copy"


def test_strategies_that_stop_nothing_are_one_rung() -> None:
    assert rungs(laid_out("random", 7, 5)) == [(1, [(5, 7)])]
    assert rungs(laid_out("tpe", 7, 5)) == [(1, [(5, 7)])]
    assert rungs(laid_out("manual", 7, 5)) == [(1, [(5, 12)])]  # the grid's own size


def test_another_scheduler_is_not_guessed_at(tmp_path: Path) -> None:
    path = tmp_path / "median.py"
    path.write_text(
        "from bench.strategy import OBJECTIVE, Strategy, TunePlan\n"
        "def build(request):\n"
        "    from ray.tune.schedulers import MedianStoppingRule\n"
        "    from ray.tune.search.basic_variant import BasicVariantGenerator\n"
        "    return TunePlan(BasicVariantGenerator(), MedianStoppingRule(metric=OBJECTIVE, mode='min'), {})\n"
        "STRATEGY = Strategy(name='median', summary='', build=build)\n"
    )
    found = laid_out(str(path), 6, 5)
    assert rungs(found) == [(1, [(5, 6)])]
    assert found.notes[0].startswith("MedianStoppingRule lays out no brackets")


def test_the_table_has_a_row_a_rung() -> None:
    table = laid_out("hyperband", 17, 9).table()
    assert table.column("bracket") == ["A", "B", "B", "C", "C", "C"]
    assert table.column("epochs") == [9, 3, 9, 1, 3, 9]
