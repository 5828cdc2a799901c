"""The fits to the published tables: what they give, and that the committed sets are theirs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.curve_model import CurveModel
from bench.curves import curves_dir, load_curve_set, read_curve_set
from bench.published import load_published
from bench.published_curves import EPOCHS, fit_loss, fit_time, observations, write_published_curves

TABLES = {"asha": "published-v100", "bohb": "published-a100"}


def test_the_committed_sets_are_what_the_fit_gives(tmp_path: Path) -> None:
    """To what another build of scipy may change."""
    for fitted in write_published_curves(tmp_path):
        committed = read_curve_set(curves_dir() / fitted.name)
        again = read_curve_set(tmp_path / fitted.name)
        assert [c.config for c in committed.curves] == [c.config for c in again.curves]
        for one, other in zip(committed.curves, again.curves, strict=True):
            assert [e.eval_loss for e in one.epochs] == pytest.approx([e.eval_loss for e in other.epochs], rel=0.01)
            assert [e.train_s for e in one.epochs] == pytest.approx([e.train_s for e in other.epochs], rel=0.002)
        assert committed.noise_log_loss == pytest.approx(again.noise_log_loss, rel=0.1)
        assert committed.error is not None
        assert committed.error.loss_median == pytest.approx(fit_loss().error_median, rel=0.1)
        assert len(committed.limits) == len(again.limits)


def test_the_loss_fit_and_its_error() -> None:
    fit = fit_loss()
    assert fit.points == 30
    assert fit.error_median == pytest.approx(0.28, abs=0.03)
    assert fit.rank_correlation == pytest.approx(0.84, abs=0.03)
    assert fit.error_rms_low == pytest.approx(0.38, abs=0.04)
    # The drift over epochs cannot be told from none.
    assert abs(fit.drift) < 2 * fit.drift_error
    assert fit.loss(2e-4, 1, 5) > fit.loss(2e-4, 2, 5) > fit.loss(1e-5, 2, 5) > 9


@pytest.mark.parametrize(
    ("strategy", "seconds", "rms"), [("asha", (27, 158, 82, 0), 0.043), ("bohb", (19, 165, 86, 259), 0.054)]
)
def test_the_time_fits(strategy: str, seconds: tuple[float, ...], rms: float) -> None:
    fit = fit_time(strategy)
    assert (fit.startup_s, fit.epoch_s[1], fit.epoch_s[2], fit.first_wave_s) == pytest.approx(seconds, abs=0.5)
    assert fit.error_rms == pytest.approx(rms, abs=0.001)


@pytest.mark.parametrize("strategy", EPOCHS)
def test_the_epochs_of_the_rows_are_those_nearest_to_their_runtimes(strategy: str) -> None:
    fit, about = fit_time(strategy), load_published().tables[strategy]
    for row, trial in enumerate(observations(strategy), 1):
        rest = trial.runtime_s - fit.startup_s - fit.first_wave_s * trial.first_wave
        assert round(rest / fit.epoch_s[trial.batch_size]) == trial.epochs
        published = (about.epochs_of_rows or {}).get(str(row))
        assert published in (None, trial.epochs)


@pytest.mark.parametrize("name", TABLES.values())
def test_a_trial_can_be_drawn_from_a_fitted_set(name: str) -> None:
    published = load_curve_set(name)
    model = CurveModel(published)
    at: dict[str, float | int] = {"learning_rate": 1.23e-5, "batch_size": 2, "weight_decay": 0.01}
    drawn = [model.draw(at, seed=s, trial="0001") for s in range(500)]
    totals = np.array([sum(d.train_s) for d in drawn])
    assert np.log(totals).std() == pytest.approx(
        1.4826 * (published.error.seconds_median_relative if published.error else 0), rel=0.15
    )
    assert all(e == 0 for d in drawn for e in (*d.eval_s, *d.checkpoint_s))
    assert drawn[0].samples_per_s == (None,) * 5
    assert published.devices_per_trial == 2
