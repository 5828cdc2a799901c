"""Curve sets fitted to the published tables: `python -m bench.published_curves` renews both folders.

Runtime = start-up + epochs x epoch time of the batch size. Loss = floor + slope x hinge(log10(learning rate)
- shift x log2(batch size) + drift x ln(epochs / 5)), the hinge smooth: nought below a corner, a straight line above.
The tables hold one loss and one time a trial; everything else about these curves is an assumption, said in `limits`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.curve_model import SPREAD_OF_MEDIAN
from bench.curve_recorder import dense_grid
from bench.curves import Curve, CurveSet, Epoch, ModelError, curves_dir, write_metadata, write_table
from bench.published import PublishedRow, load_published, published_dir, read_rows, without_repeats
from bench.workload import load_workload

EPOCHS = {
    "asha": (1, 1, 5, 4, 4, 4, 1, 1, 1, 2, 1, 1),
    "bohb": (1, 1, 4, 1, 5, 5, 1, 1, 4, 1, 5, 5),
}
"""Epochs of the rows, which the tables do not print: what their runtimes are nearest to. Where a row's are published
(row 10 of the first, row 4 of the second), they agree."""
FIRST_WAVE = (1, 2, 4)
"""Rows of the A100 table that were charged for their workers' start."""
POINTS = 25
ROBUST_NATS = 0.3
"""Residuals beyond this weigh less: high learning rates are noisy."""
CORNERS = (-4.9, -4.7, -4.5)
LOW_LOSS = 11.0
"""Losses below this are where winners are."""

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Observation:
    """One published trial."""

    learning_rate: float
    batch_size: int
    epochs: int
    loss: float
    runtime_s: float
    first_wave: bool = False


@dataclass(frozen=True, kw_only=True)
class LossFit:
    """The parameters of the loss, in nats and decades, and what leaving out one row at a time shows: absolute errors in
    nats (median, 90 % quantile, root mean square below a loss of 11), Spearman's rank correlation, the standard
    deviation of ln(loss) about the prediction (from the median deviation, and plain), the drift's jackknife error."""

    floor: float
    slope: float
    corner: float
    width: float
    shift: float
    drift: float
    drift_error: float
    points: int
    error_median: float
    error_q90: float
    error_rms_low: float
    rank_correlation: float
    noise_log_loss: float
    noise_log_loss_all: float

    def loss(self, learning_rate: float, batch_size: float, epochs: float) -> float:
        parameters = np.array([self.floor, self.slope, self.corner, self.width, self.shift, self.drift])
        return float(_loss(parameters, *(np.array([v]) for v in (learning_rate, batch_size, epochs)))[0])


@dataclass(frozen=True, kw_only=True)
class TimeFit:
    """Seconds of a trial, and the relative errors (median, root mean square) of leaving out one row at a time."""

    startup_s: float
    epoch_s: dict[int, float]
    first_wave_s: float
    points: int
    error_median: float
    error_rms: float

    def runtime_s(self, trial: Observation) -> float:
        return self.startup_s + trial.epochs * self.epoch_s[trial.batch_size] + trial.first_wave * self.first_wave_s


def observations(strategy: str) -> list[Observation]:
    """The distinct rows of a table whose epochs are known."""
    table = load_published().tables[strategy]
    rows, _ = without_repeats(read_rows(published_dir() / table.file))
    epochs = [table.epochs] * len(rows) if table.epochs else EPOCHS[strategy]
    return [_observation(row, e or 0, strategy == "bohb") for row, e in zip(rows, epochs, strict=True)]


def _observation(row: PublishedRow, epochs: int, workers_start: bool) -> Observation:
    return Observation(
        learning_rate=float(row.config["learning_rate"]),
        batch_size=int(row.config["batch_size"]),
        epochs=epochs,
        loss=math.nan if row.eval_loss is None else row.eval_loss,
        runtime_s=row.runtime_s,
        first_wave=workers_start and row.number in FIRST_WAVE,
    )


@cache
def fit_loss() -> LossFit:
    """The loss of all trials whose epochs are known; weight decay had no effect, so rows that differ in it alone are
    one."""
    from scipy.stats import spearmanr

    trials = [trial for strategy in ("manual", "asha", "bohb") for trial in observations(strategy)]
    trials = list({(t.learning_rate, t.batch_size, t.epochs, t.loss): t for t in trials}.values())
    losses = np.array([t.loss for t in trials])
    left_out, predicted = _leave_one_out(trials, _loss_parameters, _predict_loss)
    errors, logs = np.abs(predicted - losses), np.log(predicted / losses)
    count = len(trials)
    jackknife = np.sqrt((count - 1) / count * ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0))
    floor, slope, corner, width, shift, drift = _loss_parameters(trials)
    return LossFit(
        floor=floor,
        slope=slope,
        corner=corner,
        width=width,
        shift=shift,
        drift=drift,
        drift_error=float(jackknife[5]),
        points=count,
        error_median=float(np.median(errors)),
        error_q90=float(np.quantile(errors, 0.9)),
        error_rms_low=float(np.sqrt((errors[losses < LOW_LOSS] ** 2).mean())),
        rank_correlation=float(spearmanr(predicted, losses).statistic),
        noise_log_loss=SPREAD_OF_MEDIAN * float(np.median(np.abs(logs))),
        noise_log_loss_all=float(np.sqrt((logs**2).mean())),
    )


def _loss(parameters: Array, rates: Array, sizes: Array, epochs: Array) -> Array:
    floor, slope, corner, width, shift, drift = parameters
    x = np.log10(rates) - shift * np.log2(sizes) + drift * np.log(epochs / 5)
    return np.asarray(floor + slope * width * np.logaddexp(0, (x - corner) / width))


def _columns(trials: Sequence[Observation]) -> list[Array]:
    return [np.array([getattr(t, name) for t in trials], float) for name in ("learning_rate", "batch_size", "epochs")]


def _predict_loss(parameters: Array, trials: Sequence[Observation]) -> Array:
    return _loss(parameters, *_columns(trials))


def _loss_parameters(trials: Sequence[Observation]) -> Array:
    from scipy.optimize import least_squares

    columns, losses = _columns(trials), np.array([t.loss for t in trials])

    def plain(searched: Array) -> Array:  # slope and width are positive: their logarithms are searched
        floor, slope, corner, width, shift, drift = searched
        return np.array([floor, math.exp(slope), corner, math.exp(width), shift, drift])

    fits = [
        least_squares(
            lambda searched: _loss(plain(searched), *columns) - losses,
            [9.5, 2.7, corner, -2.3, 0.5, 0.0],
            loss="soft_l1",
            f_scale=ROBUST_NATS,
        )
        for corner in CORNERS
    ]
    return plain(min(fits, key=lambda fit: fit.cost).x)


def fit_time(strategy: str) -> TimeFit:
    """Runtimes of an automated table's trials, by least squares of relative errors."""
    trials = observations(strategy)
    _, predicted = _leave_one_out(trials, _time_parameters, lambda parameters, some: _design(some) @ parameters)
    errors = predicted / np.array([t.runtime_s for t in trials]) - 1
    startup_s, small, large, wave = map(float, _time_parameters(trials))
    return TimeFit(
        startup_s=startup_s,
        epoch_s={1: small, 2: large},
        first_wave_s=wave,
        points=len(trials),
        error_median=float(np.median(np.abs(errors))),
        error_rms=float(np.sqrt((errors**2).mean())),
    )


def _design(trials: Sequence[Observation]) -> Array:
    rows = [(1, t.epochs * (t.batch_size == 1), t.epochs * (t.batch_size == 2), t.first_wave) for t in trials]
    return np.array(rows, float)


def _time_parameters(trials: Sequence[Observation]) -> Array:
    seconds = np.array([t.runtime_s for t in trials])
    return np.asarray(np.linalg.lstsq(_design(trials) / seconds[:, None], np.ones(len(trials)), rcond=None)[0])


def _leave_one_out(
    trials: Sequence[Observation],
    fit: Callable[[Sequence[Observation]], Array],
    predict: Callable[[Array, Sequence[Observation]], Array],
) -> tuple[Array, Array]:
    """For each trial the parameters that the others give, and what these predict for it."""
    fits = [fit([*trials[:i], *trials[i + 1 :]]) for i in range(len(trials))]
    return np.array(fits), np.array([predict(p, [t])[0] for p, t in zip(fits, trials, strict=True)])


def published_curve_set(strategy: str) -> CurveSet:
    """The set of the hardware on which that strategy's table was made."""
    about, table = load_published(), load_published().tables[strategy]
    loss, time = fit_loss(), fit_time(strategy)
    space = load_workload(about.workload).search_space
    curves = [_curve(config, loss, time, about.epochs) for config in dense_grid(space, POINTS)]
    return CurveSet(
        name=f"published-{table.profile}",
        kind="fitted",
        summary=f"a fit to the workshop's published tables, seconds from {table.file}",
        workload=about.workload,
        recipe=about.recipe,
        profile=table.profile,
        space=space,
        epochs=about.epochs,
        seeds=(0,),
        devices_per_trial=about.devices_per_trial,
        noise_log_loss=round(loss.noise_log_loss, 4),
        limits=(*_limits(loss), *_time_limits(strategy, time)),
        error=ModelError(
            loss_median=round(loss.error_median, 4),
            loss_q90=round(loss.error_q90, 4),
            loss_rank_correlation=round(loss.rank_correlation, 4),
            seconds_median_relative=round(time.error_median, 4),
            points=loss.points,
        ),
        provenance={
            "source": about.source,
            "tables": {"loss": ["manual_v100.csv", "asha_v100.csv", "bohb_a100.csv"], "seconds": [table.file]},
            "loss_fit": _rounded(asdict(loss)),
            "time_fit": _rounded(asdict(time)),
        },
        curves=tuple(curves),
    )


def _curve(config: dict[str, float | int], loss: LossFit, time: TimeFit, epochs: int) -> Curve:
    rate, size = float(config["learning_rate"]), int(config["batch_size"])
    points = [
        Epoch(
            epoch=e,
            eval_loss=round(loss.loss(rate, size, e), 4),
            train_loss=None,
            train_s=round(time.epoch_s[size], 1),
            eval_s=0.0,
            checkpoint_s=0.0,
            samples_per_s=None,
        )
        for e in range(1, epochs + 1)
    ]
    return Curve(config=config, seed=0, startup_s=round(time.startup_s, 1), epochs=tuple(points))


def _limits(loss: LossFit) -> tuple[str, ...]:
    flat = 10 ** (loss.corner - 2 * loss.width)
    return (
        f"Fitted to {loss.points} published trials, not recorded: leaving one out, the loss is off by "
        f"{loss.error_median:.2f} nats (median), by {loss.error_q90:.1f} in one of ten, rank correlation "
        f"{loss.rank_correlation:.2f}; below a loss of {LOW_LOSS:g}, where winners are, by {loss.error_rms_low:.2f} "
        "(root mean square).",
        f"No learning curves were published, so the epochs are all but unidentified: the drift with ln(epochs) is "
        f"{loss.drift:.2f} decades of learning rate, give or take {loss.drift_error:.2f}; how soon a bad trial shows "
        f"is an assumption, and 30 epochs (11.75 published, {loss.loss(5e-6, 1, 30):.1f} by this fit) are beyond it.",
        f"Below a learning rate of about {flat:.0e} at batch size 1 the fit is flat: which trial wins there is noise.",
        "No seeds were published: noise is the fit's own error, one number a trial, alike at all learning rates "
        f"({100 * loss.noise_log_loss:.0f} % of the loss; {100 * loss.noise_log_loss_all:.0f} % if outliers counted); "
        "high learning rates are noisier (11.7 and 19.2 side by side).",
        "Weight decay never reached the optimiser, so it has no effect here.",
        "Losses of V100 and A100 trials are fitted together, and are of labels laid over the question's positions.",
    )


def _time_limits(strategy: str, time: TimeFit) -> tuple[str, ...]:
    devices = load_published().devices_per_trial
    shared = (
        f"Seconds are of {time.points} trials on {devices} GPUs each, epochs inferred from them: leaving one out they "
        f"are off by {100 * time.error_median:.1f} % (median), {100 * time.error_rms:.1f} % (root mean square); an "
        "epoch's include its evaluation.",
    )
    if strategy == "bohb":
        return (
            *shared,
            f"The first trials of this table took {time.first_wave_s:.0f} s more, once a worker, left out here.",
        )
    extra = float(np.mean([t.runtime_s - time.runtime_s(t) for t in observations("manual")]))
    return (
        *shared,
        f"The manual table's trials, a job each, took {extra:.0f} s more than this on average, left out here.",
    )


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _rounded(value)
        if isinstance(value, dict)
        else float(f"{value:.4g}")
        if isinstance(value, float)
        else value
        for key, value in values.items()
    }


def write_published_curves(root: Path) -> list[CurveSet]:
    """Fit anew and write both sets into folders of their names under `root`."""
    found = [published_curve_set(strategy) for strategy in ("asha", "bohb")]
    for each in found:
        write_table(root / each.name, each)
        write_metadata(root / each.name, each)
    return found


if __name__ == "__main__":
    for curve_set in write_published_curves(curves_dir()):
        print(f"{curve_set.name}: {len(curve_set.curves)} curves, {curve_set.error}")
