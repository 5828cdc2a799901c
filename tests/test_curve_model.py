"""The model between recorded points: what it reproduces, how it varies, what it refuses."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from bench.curve_model import CurveModel, DrawnCurve, leave_one_out
from bench.curves import Curve, CurveSet, Epoch, load_curve_set
from bench.errors import UserError
from tests.test_curves import curve_set

RATES = (5e-6, 2e-5, 5e-5, 2e-4)
Loss = Callable[[float, int, int], float]


def config(rate: float, size: int = 1, decay: float = 0.0) -> dict[str, float | int]:
    return {"learning_rate": rate, "batch_size": size, "weight_decay": decay}


def curve(
    rate: float, losses: list[float | None], seed: int = 0, size: int = 1, seconds: float = 10.0, **more: Any
) -> Curve:
    epochs = [
        Epoch(
            epoch=e,
            eval_loss=loss,
            train_loss=None,
            train_s=seconds,
            eval_s=1.0,
            checkpoint_s=0.0,
            samples_per_s=100.0,
        )
        for e, loss in enumerate(losses, 1)
    ]
    return Curve(config=config(rate, size), seed=seed, startup_s=1.0, epochs=tuple(epochs), **more)


def made(loss: Loss, seeds: int = 3, **changes: Any) -> CurveSet:
    """A set of three epochs whose loss is `loss(learning rate, seed, epoch)`."""
    curves = [curve(r, [loss(r, s, e) for e in (1, 2, 3)], s) for r in RATES for s in range(seeds)]
    return curve_set(seeds=tuple(range(seeds)), curves=tuple(curves), **changes)


def noisy(rate: float, seed: int, epoch: int) -> float:
    """A hinge whose seeds differ in a way of their own at each learning rate."""
    own = math.sin(1000 * math.log(rate) * (seed + 1))
    return (9.0 - epoch + max(0.0, math.log(rate / 2e-5))) * math.exp(0.05 * own)


def draws(model: CurveModel, at: dict[str, float | int], count: int) -> list[DrawnCurve]:
    return [model.draw(at, seed=i, trial="a") for i in range(count)]


def test_the_mean_is_the_recorded_one_at_recorded_points() -> None:
    recorded = made(noisy)
    model = CurveModel(recorded)
    for rate in RATES:
        logs = [[math.log(noisy(rate, s, e)) for e in (1, 2, 3)] for s in range(3)]
        assert model.mean_losses(config(rate)) == pytest.approx(np.exp(np.mean(logs, axis=0)), abs=1e-6)


def test_the_mean_is_continuous_and_stays_between_its_neighbours() -> None:
    model = CurveModel(made(noisy))
    rates = np.geomspace(RATES[0], RATES[-1], 2001)
    losses = np.log([model.mean_losses(config(rate)) for rate in rates])  # type: ignore[arg-type]
    step = np.abs(np.diff(losses, axis=0)).max()
    assert step < 1.5 * np.ptp(losses, axis=0).max() / 2000 * len(RATES)
    for low, high in pairwise(RATES):
        inside = losses[(rates >= low) & (rates <= high)]
        ends = np.log([model.mean_losses(config(rate)) for rate in (low, high)])  # type: ignore[arg-type]
        assert (inside >= ends.min(axis=0) - 1e-6).all()
        assert (inside <= ends.max(axis=0) + 1e-6).all()


def test_the_noise_has_the_variance_between_the_seeds() -> None:
    """At a recorded learning rate their own, halfway between two the mean of both."""
    model = CurveModel(made(noisy))
    recorded = [np.var([math.log(noisy(r, s, 3)) for s in range(3)], ddof=1) for r in RATES]
    for rate, expected in (
        *zip(RATES, recorded, strict=True),
        (math.sqrt(2e-5 * 5e-5), (recorded[1] + recorded[2]) / 2),
    ):
        logs = [math.log(drawn.losses[-1] or 0) for drawn in draws(model, config(rate), 4000)]
        mean = math.log(model.mean_losses(config(rate))[-1] or 0)
        assert np.mean(logs) == pytest.approx(mean, abs=4 * math.sqrt(expected / 4000) + 1e-6)
        assert np.var(logs) == pytest.approx(expected, rel=0.12)


@pytest.mark.parametrize("common", [0.0, 0.5, 1.0])
def test_trials_of_a_run_have_in_common_what_the_seeds_have(common: float) -> None:
    """Many configurations, so that the share is known: the correlation between two trials under one seed is it."""
    rng = np.random.default_rng(5)
    shared = rng.normal(size=4)
    shared = (shared - shared.mean()) / shared.std(ddof=1)
    rates = np.geomspace(5e-6, 2e-4, 200)
    curves = []
    for rate in rates:
        own = rng.normal(size=4)
        own = (own - own.mean()) / own.std(ddof=1)
        logs = 0.1 * (math.sqrt(common) * shared + math.sqrt(1 - common) * own)
        curves += [curve(float(rate), [9.0, 9.0, 9 * math.exp(v)], seed) for seed, v in enumerate(logs)]
    model = CurveModel(curve_set(seeds=(0, 1, 2, 3), curves=tuple(curves)))
    pairs = [
        [math.log(model.draw(config(float(rate)), seed=s, trial=t).losses[-1] or 0) for rate, t in at]
        for s in range(3000)
        for at in [((rates[10], "a"), (rates[150], "b"))]
    ]
    assert np.corrcoef(np.array(pairs).T)[0, 1] == pytest.approx(common, abs=0.08)
    assert model.common_share == pytest.approx(common, abs=0.08)


def test_declared_noise_is_one_offset_a_trial() -> None:
    model = CurveModel(made(lambda rate, seed, epoch: 9.0 / epoch, seeds=1, noise_log_loss=0.04, kind="fitted"))
    offsets = np.array([[math.log(v or 0) for v in d.losses] for d in draws(model, config(1e-5), 3000)])
    offsets -= np.log([9.0, 4.5, 3.0])
    assert offsets.std() == pytest.approx(0.04, rel=0.06)
    assert np.abs(offsets - offsets[:, :1]).max() < 1e-6
    assert model.noise_log_loss == pytest.approx(0.04)


@pytest.mark.parametrize("seeds", [1, 3])
def test_no_two_trials_are_tied(seeds: int) -> None:
    """Not even where the set shows no noise at all, so that all round to the same number."""
    model = CurveModel(made(lambda rate, seed, epoch: 9.0, seeds=seeds))
    found = [model.draw(config(2e-5), seed=1, trial=f"{i:05d}") for i in range(1000)]
    assert len({d.losses[-1] for d in found}) == 1000
    assert len({sum(d.train_s) for d in found}) == 1000
    real = CurveModel(load_curve_set("tiny-squad"))
    at: dict[str, float | int] = {"learning_rate": 1e-3, "batch_size": 8, "weight_decay": 0.0}
    drawn = [real.draw(at, seed=1, trial=f"{i:05d}") for i in range(5000)]
    for epoch in (0, 14):
        assert len({d.losses[epoch] for d in drawn}) == 5000
        assert len({d.train_s[epoch] for d in drawn}) == 5000


def test_a_draw_depends_on_seed_trial_and_configuration_alone() -> None:
    """Not on the process, its hash seed, or what was drawn before."""
    code = (
        "from bench.curve_model import CurveModel; from bench.curves import load_curve_set;"
        "m = CurveModel(load_curve_set('tiny-squad'));"
        "print([m.draw({'weight_decay': 1.0, 'learning_rate': lr, 'batch_size': 16}, seed=s, trial='0007')"
        " for s, lr in ((1, 1e-3), (2, 3e-4))])"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("0", "1")
    }
    model = CurveModel(load_curve_set("tiny-squad"))
    at: dict[str, float | int] = {"learning_rate": 3e-4, "batch_size": 16, "weight_decay": 1.0}
    second = model.draw(at, seed=2, trial="0007")
    first = model.draw(at | {"learning_rate": 1e-3}, seed=1, trial="0007")
    assert found == {f"{[first, second]}\n"}
    assert model.draw(at, seed=2, trial="0008") != second
    assert model.draw(at, seed=3, trial="0007") != second


def test_the_order_of_the_table_does_not_matter() -> None:
    recorded = made(noisy)
    shuffled = replace(recorded, curves=recorded.curves[::-1])
    one, other = (CurveModel(s).draw(config(3e-5), seed=1, trial="a") for s in (recorded, shuffled))
    assert one == other


@pytest.mark.parametrize(
    ("at", "words"),
    [
        (
            config(4e-6),
            "learning_rate 4e-06 is outside of what curve set made-up holds: choose one from 5e-06 to 0.0002",
        ),
        (config(3e-4), "learning_rate 0.0003 is outside"),
        (config(1e-5, size=4), "batch_size 4 was not recorded in curve set made-up: choose one of 1"),
        (config(1e-5, size=2, decay=0.01), "were not recorded together|was not recorded"),
        ({"learning_rate": 1e-5, "batch_size": 1}, "has no weight_decay"),
    ],
)
def test_outside_of_what_was_recorded_it_refuses(at: dict[str, float | int], words: str) -> None:
    model = CurveModel(made(noisy))
    reason = model.outside(at)
    assert reason is not None
    with pytest.raises(UserError, match=words) as raised:
        model.draw(at, seed=0, trial="a")
    assert str(raised.value) == reason
    assert model.outside(config(RATES[0] * (1 - 1e-12))) is None


def test_trials_diverge_as_often_as_recorded_and_when() -> None:
    """One of three at 5e-5, all at 2e-4, none below; halfway between, half of both."""
    curves = [curve(r, [9.0, 8.0, 7.0], s) for r in RATES[:2] for s in range(3)]
    curves += [curve(RATES[2], [9.0, 8.0, 7.0], s) for s in range(2)]
    curves += [curve(RATES[2], [10.0], 2, failure="nan")]
    curves += [curve(RATES[3], [], s, failure="nan") for s in range(2)] + [curve(RATES[3], [9.0, None, None], 2)]
    model = CurveModel(curve_set(seeds=(0, 1, 2), curves=tuple(curves)))
    halfway = math.sqrt(RATES[1] * RATES[2])
    for rate, share in ((RATES[0], 0), (RATES[1], 0), (halfway, 1 / 6), (RATES[2], 1 / 3), (RATES[3], 1)):
        found = draws(model, config(rate), 2000)
        assert np.mean([d.losses[-1] is None for d in found]) == pytest.approx(share, abs=0.04)
        assert all(len(d.losses) == len(d.train_s) == 3 for d in found)
    assert {d.losses.index(None) for d in draws(model, config(RATES[3]), 200)} == {0, 1}
    assert model.mean_losses(config(RATES[2])) == pytest.approx((10 ** (1 / 3) * 9 ** (2 / 3), 8.0, 7.0), abs=1e-5)
    assert model.mean_losses(config(RATES[3])) == (None, None, None)


def test_a_trial_that_ran_out_of_memory_says_nothing_of_the_loss() -> None:
    recorded = made(noisy)
    more = replace(recorded, curves=(*recorded.curves, curve(1e-5, [1.0], 0, failure="oom")))
    assert CurveModel(more).mean_losses(config(1e-5)) == CurveModel(recorded).mean_losses(config(1e-5))
    with pytest.raises(UserError, match="holds no trial that ended in order"):
        CurveModel(curve_set(curves=(curve(1e-5, [], failure="failed"),)))


def test_seconds_are_medians_with_the_robust_spread_of_their_residuals() -> None:
    rng = np.random.default_rng(2)
    curves = [
        curve(r, [9.0, 8.0, 7.0], s, seconds=10 * math.exp(0.05 * rng.normal())) for r in RATES for s in range(20)
    ]
    curves += [curve(RATES[0], [9.0, 8.0, 7.0], 20, seconds=500.0)]  # something else ran beside it
    model = CurveModel(curve_set(seeds=tuple(range(21)), curves=tuple(curves)))
    found = draws(model, config(1e-5), 3000)
    train = np.array([d.train_s for d in found])
    assert np.median(train) == pytest.approx(10, rel=0.02)
    assert np.log(train[:, 0]).std() == pytest.approx(0.05, rel=0.3)
    assert train.min() > 5
    assert all(s == 0 for d in found for s in d.checkpoint_s)
    assert found[0].eval_s[0] == pytest.approx(1, rel=0.01)
    assert found[0].samples_per_s[0] == pytest.approx(1000 / found[0].train_s[0], rel=0.1)
    assert model.seconds(config(1e-5)) == pytest.approx(33, rel=0.02)


def test_leaving_one_out_against_a_hand_worked_set() -> None:
    """ln(loss) 0, 1, 0 at three learning rates evenly spaced: the middle is predicted as 0, so e - 1 too low. A second
    batch size has 0, 1, 2, which is straight: no error. Seconds: 33 against 33, and 22 against 33 in the middle."""
    rates = (5e-6, math.sqrt(5e-6 * 2e-4), 2e-4)
    curves = [
        curve(rate, [1.0, 1.0, math.exp(log)], seed, size, seconds=seconds)
        for size, logs in ((1, (0, 1, 0)), (2, (0, 1, 2)))
        for rate, log, seconds in zip(rates, logs, (10.0, 10.0 if size == 1 else 6 + 1 / 3, 10.0), strict=True)
        for seed in (0, 1)
    ]
    error = leave_one_out(curve_set(curves=tuple(curves)))
    assert error.points == 2
    assert error.loss_median == pytest.approx((math.e - 1) / 2, abs=1e-5)
    assert error.loss_q90 == pytest.approx(0.9 * (math.e - 1), abs=1e-5)
    assert error.seconds_median_relative == pytest.approx((0 + 0.5) / 2, abs=1e-5)
    with pytest.raises(ValueError, match="no learning rate lies between two others"):
        leave_one_out(curve_set(curves=tuple(c for c in curves if c.config["learning_rate"] != rates[1])))


def test_the_error_in_a_recorded_set_is_that_of_its_table() -> None:
    recorded = load_curve_set("tiny-squad")
    assert recorded.error is not None
    found = leave_one_out(recorded)
    assert found.points == recorded.error.points
    assert found.loss_median == pytest.approx(recorded.error.loss_median, abs=1e-4)
    assert found.loss_rank_correlation == pytest.approx(recorded.error.loss_rank_correlation, abs=1e-3)


def test_a_set_must_vary_one_hyperparameter_continuously() -> None:
    from bench.space import Choice, SearchSpace

    space = SearchSpace(
        (Choice("learning_rate", (1e-5, 2e-5)), Choice("batch_size", (1,)), Choice("weight_decay", (0.0,)))
    )
    with pytest.raises(UserError, match="varies 0 hyperparameters continuously"):
        CurveModel(curve_set(space=space, curves=(curve(1e-5, [9.0, 8.0, 7.0]),)))
