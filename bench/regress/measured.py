"""Measured runs against their reference: worse by more than the tolerance, and by more than chance explains."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench.regress.findings import LABELS, UNITS, Finding, Verdict, percent
from bench.regress.metrics import METRICS, RunMetrics, distance, typical
from bench.regress.ranktest import Stratum, detectable, more_needed, p_value, shift, spread
from bench.regress.tolerances import Tolerance

NOTHING_SHARED = (
    "Cannot be judged: base and new share no seed that the base has repeated, or no trial; repeat a seed of the base."
)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """What is compared: the runs of a reference and new ones of the same study on the same machine."""

    name: str
    base: tuple[RunMetrics, ...]
    new: tuple[RunMetrics, ...]

    @property
    def seeds(self) -> list[int]:
        """Those that both have."""
        return sorted({run.seed for run in self.base} & {run.seed for run in self.new})


def compare_measured(pair: Pair, tolerance: Tolerance, level: float) -> list[Finding]:
    """One finding for each metric. `level`: the false-alarm rate of each single test."""
    return [_compare(pair, metric, tolerance.of(metric), level) for metric in METRICS]


def strata_of(pair: Pair, metric: str) -> list[Stratum]:
    """The values seed by seed, as logarithms. `trial_losses` is a mean of logarithms already: the distance from the
    median of every fourth base run, which is then compared with no longer. Measured from a third group, base and new
    are exchangeable where nothing changed; from the base itself they would not be. Runs that share no trial with it are
    left out."""
    found = []
    olds: Sequence[float | None]
    news: Sequence[float | None]
    for seed in pair.seeds:
        base = [run for run in pair.base if run.seed == seed]
        new = [run for run in pair.new if run.seed == seed]
        if metric == "trial_losses":
            middle = typical(base[::4])
            base = [run for number, run in enumerate(base) if number % 4]
            olds, news = ([distance(run, middle) for run in runs] for runs in (base, new))
        else:
            olds, news = ([_log(run.value(metric)) for run in runs] for runs in (base, new))
        stratum = Stratum(base=tuple(v for v in olds if v is not None), new=tuple(v for v in news if v is not None))
        if stratum.base and stratum.new:
            found.append(stratum)
    return found


def _compare(pair: Pair, metric: str, tolerance: float, level: float) -> Finding:
    strata = strata_of(pair, metric)
    if not strata:
        return _finding(pair, metric, "cannot tell", NOTHING_SHARED)
    allowed = math.log1p(tolerance)
    sizes = [(len(s.base), len(s.new)) for s in strata]
    found = shift(strata)
    change = math.expm1(found) if found < 700 else math.inf
    noise = spread([s.base for s in strata])
    base, new = _typical_values(pair, metric, strata)
    p = p_value(strata)
    seen = None
    if more_needed(sizes, level) == 0:
        seen = detectable([s.base for s in strata], [len(s.new) for s in strata], level=level, tolerance=allowed)
        verdict, detail = _judge(metric, change, p, level, tolerance, (base, new), sizes)
    else:
        verdict, detail = "cannot tell", _too_few(pair, metric, level)
    return _finding(
        pair, metric, verdict, detail, of="median", base=base, new=new, p=p,
        change=change if math.isfinite(change) else None,
        noise=None if noise is None or not math.isfinite(noise) else noise,
        visible=None if seen is None else math.expm1(seen),
    )  # fmt: skip


def _too_few(pair: Pair, metric: str, level: float) -> str:
    """Why so few runs cannot judge a metric, in the same words for all metrics that they cannot judge."""
    short: dict[str, tuple[int | None, int, int]] = {}
    for name in dict.fromkeys((metric, *METRICS)):
        sizes = [(len(s.base), len(s.new)) for s in strata_of(pair, name)]
        more = more_needed(sizes, level)
        if sizes and more != 0:
            short[name] = more, sum(b for b, _ in sizes), sum(n for _, n in sizes)
    losses = short.pop("trial_losses", None)
    others = next(iter(short.values()), None)
    every = "since every fourth is what losses of trials are measured from"
    if others is None:
        assert losses is not None, "the metric asked for is one of those"
        against = f"{losses[2]} new runs against {losses[1]} that are left of the base, {every},"
    else:
        against = f"{others[2]} new runs against {others[1]}"
        if losses is not None and losses[1] != others[1]:
            against += f" ({losses[1]} for the losses of its trials, {every})"
    needed = [more for more, _, _ in filter(None, (others, losses))]
    counts = [more for more in needed if more is not None]
    remedy = f"{max(counts)} more" if len(counts) == len(needed) else "more"
    return (
        f"Cannot be judged: {against} can never give a p-value of {level:.2g} or less, whatever they hold; "
        f"add {remedy} of one seed."
    )


def _judge(
    metric: str,
    change: float,
    p: float,
    level: float,
    tolerance: float,
    typical_values: tuple[float | None, float | None],
    sizes: Sequence[tuple[int, int]],
) -> tuple[Verdict, str]:
    label = LABELS[metric][0].upper() + LABELS[metric][1:]
    runs = f"{sum(n for _, n in sizes)} new runs against {sum(b for b, _ in sizes)}"
    unit = f" {UNITS[metric]}" if metric in UNITS else ""
    base, new = (f"{value:.4g}" if value is not None else "none" for value in typical_values)
    values = f" (Hodges-Lehmann shift; the median was {base} and is {new}{unit})" if unit else ""
    how = f"by {percent(abs(change), signed=False)}{values}" if math.isfinite(change) else f"without bound{values}"
    allowed = percent(tolerance, signed=False)
    if p <= level and change > tolerance:
        if metric == "trial_losses":
            return "regression", (
                f"The losses of its trials differ from the reference's {how} an epoch, beyond "
                f"noise (p {p:.2g}, at most {level:.2g} needed; {runs}) and the tolerance of {allowed}: the "
                "same trials train otherwise, for better or worse."
            )
        return "regression", (
            f"{label} rose {how}, beyond noise (p {p:.2g}, at most {level:.2g} needed; {runs}) and beyond the "
            f"tolerance of {allowed}."
        )
    if change < -tolerance:
        return "better", f"{label} fell {how}; whether beyond noise is not tested."
    if change <= tolerance:
        return (
            "within tolerance",
            f"{label} {_moved(change, how)}, within the tolerance of {allowed}.",
        )
    return "within noise", f"{label} rose {how}, not beyond noise (p {p:.2g}, at most {level:.2g} needed)."


def _moved(change: float, how: str) -> str:
    return f"{'rose' if change > 0 else 'fell'} {how}" if change else "did not move"


def _typical_values(pair: Pair, metric: str, strata: Sequence[Stratum]) -> tuple[float | None, float | None]:
    """Medians of base and new."""
    if metric == "trial_losses":
        sides = [[v for s in strata for v in s.base], [v for s in strata for v in s.new]]
    else:
        sides = [[run.value(metric) for run in runs if run.seed in pair.seeds] for runs in (pair.base, pair.new)]
    base, new = (median(side) for side in sides)
    return base if math.isfinite(base) else None, new if math.isfinite(new) else None


def _finding(pair: Pair, metric: str, verdict: Verdict, detail: str, of: str = "", **numbers: float | None) -> Finding:
    seeds = set(pair.seeds)
    runs = f"{sum(r.seed in seeds for r in pair.base)} / {sum(r.seed in seeds for r in pair.new)} runs"
    return Finding(
        study=pair.name, metric=metric, kind="measured", verdict=verdict, detail=detail, runs=runs, of=of, **numbers
    )


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf
