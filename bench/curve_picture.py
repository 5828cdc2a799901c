"""A curve set as pictures for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.curve_model import CurveModel

MARKERS = "●○▲△■□◆◇"
COLOURS = ("blue", "red", "green", "magenta", "cyan", "orange", "gray", "default")
HEIGHT = 18
SHOWN_CURVES = 4
LOSS_TICKS = 5


@dataclass(frozen=True, kw_only=True)
class Series:
    """Points of one kind: `x` as it is drawn, `losses` in nats (None: not finite, not drawn)."""

    label: str
    x: Sequence[float]
    losses: Sequence[float | None]


def best_config(model: CurveModel) -> dict[str, float | int] | None:
    """The recorded configuration with the lowest mean loss in the last epoch; None: all diverge."""
    found = [(loss, c) for c in recorded_configs(model) if (loss := model.mean_losses(c)[-1]) is not None]
    return min(found, key=lambda pair: pair[0])[1] if found else None


def recorded_configs(model: CurveModel) -> list[dict[str, float | int]]:
    """Each recorded configuration once, in the set's order, without those that no trial ended in."""
    unique = {tuple(c.config.values()): c.config for c in model.curve_set.curves}
    return [config for config in unique.values() if model.outside(config) is None]


def final_losses(model: CurveModel, *, width: int, colour: bool) -> str:
    """Mean loss in the last epoch over the learning rate, a series for each batch size; all else as in the best."""
    best = best_config(model)
    if best is None:
        return ""
    rate, fixed = model.rate, {name for name in best if name not in (model.rate, "batch_size")}
    by_size: dict[float | int, list[dict[str, float | int]]] = {}
    for config in sorted(recorded_configs(model), key=lambda config: config[rate]):
        if all(config[name] == best[name] for name in fixed):
            by_size.setdefault(config.get("batch_size", 0), []).append(config)
    series = [
        Series(
            label=f"batch size {size:g}" if "batch_size" in best else "mean",
            x=[math.log10(c[rate]) for c in configs],
            losses=[model.mean_losses(c)[-1] for c in configs],
        )
        for size, configs in sorted(by_size.items())
    ]
    rest = "".join(f", {_words(name)} {best[name]:g}" for name in best if name in fixed)
    rates = [10**x for one in series for x in one.x]
    ticks = [(math.log10(r), f"{r:g}") for r in _log_ticks(min(rates), max(rates))]
    title = f"mean loss after {model.curve_set.epochs} epochs{rest}"
    return _plot(series, title=title, x_label=_words(rate), ticks=ticks, width=width, colour=colour)


def learning_curves(model: CurveModel, *, width: int, colour: bool) -> str:
    """Mean loss by epoch at a few learning rates, the best among them; all else as in the best."""
    best = best_config(model)
    if best is None or model.curve_set.epochs < 2:
        return ""
    rate = model.rate
    rates = sorted(
        c[rate] for c in recorded_configs(model) if all(c[name] == best[name] for name in best if name != rate)
    )
    shown = {rates[round(i * (len(rates) - 1) / (SHOWN_CURVES - 2))] for i in range(SHOWN_CURVES - 1)} | {best[rate]}
    epochs = list(range(1, model.curve_set.epochs + 1))
    series = [
        Series(
            label=f"{r:g}" + (" (best)" if r == best[rate] else ""),
            x=epochs,
            losses=model.mean_losses({**best, rate: r}),
        )
        for r in sorted(shown)
    ]
    rest = ", ".join(f"{_words(name)} {value:g}" for name, value in best.items() if name != rate)
    step = max(1, len(epochs) // 8)
    ticks = [(float(e), str(e)) for e in epochs[::step]]
    title = f"mean loss by epoch, {rest}" if rest else "mean loss by epoch"
    return _plot(series, title=title, x_label="epoch", ticks=ticks, width=width, colour=colour)


def _plot(
    series: Sequence[Series], *, title: str, x_label: str, ticks: list[tuple[float, str]], width: int, colour: bool
) -> str:
    import plotext

    plotext.terminal.limit(False, False)
    figure = plotext.figure
    figure.clear()
    figure.theme("simple")
    figure.plot_size(width, HEIGHT)
    heights: list[float] = []
    for one, marker, paint in zip(series, MARKERS, COLOURS, strict=False):
        points = [(x, math.log10(loss)) for x, loss in zip(one.x, one.losses, strict=True) if loss is not None]
        if not points:
            continue
        heights += [y for _, y in points]
        marked = plotext.colorize(marker, paint) if colour else marker
        figure.draw(figure.signal(*map(list, zip(*points, strict=True)), marker=marked))
    low, high = min(heights), max(heights)
    levels = [low + i * (high - low) / (LOSS_TICKS - 1) for i in range(LOSS_TICKS)] if high > low else [low]
    figure.ruler("y").ticks(levels, [f"{10**y:.3g}" for y in levels])
    figure.ruler("x").ticks([x for x, _ in ticks], [text for _, text in ticks])
    figure.label(x_label, "x")
    figure.title(title)
    lines = str(figure.build().string(colorless=not colour)).splitlines()
    # A legend inside the picture would cover points.
    key = "   ".join(f"{marker} {one.label}" for one, marker in zip(series, MARKERS, strict=False))
    return "\n".join([*(line.rstrip() for line in lines), key.center(width).rstrip()]) + "\n"


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten within a range."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [v for p in powers for m in (1, 2, 5) if low <= (v := float(f"{m}e{p}")) <= high]


def _words(name: str) -> str:
    return name.replace("_", " ")
