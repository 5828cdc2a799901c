"""What a search can optimise: the loss, speed, memory or cost of a trial, one of them or two at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, Protocol

from bench.errors import UserError, unknown

EVAL_LOSS = "eval_loss"
MEMORY = "memory_mib"
TRIAL_COST = "trial_device_min"
DEFAULT: tuple[str, ...] = (EVAL_LOSS,)
"""What is optimised where nothing else is asked for."""

MOST = 2
"""Metrics of one search at most: a front of more has no picture."""

Direction = Literal["least", "most"]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """`direction`: which values are better. `word`: what tables call it. `better`: what its best value is called.
    `spec`: the format of its numbers. `in_virtual_time`: whether recorded curves hold it."""

    name: str
    word: str
    unit: str
    direction: Direction
    better: str
    spec: str
    meaning: str
    in_virtual_time: bool

    def signed(self, value: float) -> float:
        """The value as something to be minimised; `value` of this gives it back."""
        return -value if self.direction == "most" else value

    def value(self, signed: float) -> float:
        """The inverse of `signed`."""
        return self.signed(signed)

    def shown(self, value: float) -> str:
        """A value as people read it: `2.1034`, `934 samples/s`."""
        return format(value, self.spec) if self.name == EVAL_LOSS else f"{value:{self.spec}} {self.unit}"

    @property
    def noun(self) -> str:
        """What sentences call it."""
        return "loss" if self.name == EVAL_LOSS else self.word

    @property
    def label(self) -> str:
        """For an axis: the word with its unit."""
        unit = "" if self.unit == self.word else f" ({self.unit})"
        return f"{self.word[0].upper()}{self.word[1:]}{unit}"

    def said(self, score: float) -> str:
        """With which result: `a loss of 2.1034`, `934 samples/s`. `score`: signed."""
        value = self.shown(self.value(score))
        return f"a loss of {value}" if self.name == EVAL_LOSS else value

    def or_better(self, score: float) -> str:
        """A target: `loss 2.1034 or less`, `934 samples/s or more`. `score`: signed."""
        loss = "loss " if self.name == EVAL_LOSS else ""
        return f"{loss}{self.shown(self.value(score))} or {'more' if self.direction == 'most' else 'less'}"


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            Metric(
                name=EVAL_LOSS, word="eval loss", unit="nats a token", direction="least", better="lowest loss",
                spec=".4f", meaning="loss on the validation split, in nats a labelled token", in_virtual_time=True,
            ),
            Metric(
                name="samples_per_s", word="samples/s", unit="samples/s", direction="most", better="most samples/s",
                spec=",.1f", meaning="examples trained a second in the epoch, evaluation left out",
                in_virtual_time=True,
            ),
            Metric(
                name="tokens_per_s", word="tokens/s", unit="tokens/s", direction="most", better="most tokens/s",
                spec=",.0f", meaning="tokens trained a second in the epoch, padding left out", in_virtual_time=False,
            ),
            Metric(
                name=MEMORY, word="memory", unit="MiB", direction="least", better="least memory", spec=",.1f",
                meaning="most memory of the device that the trial's process had taken, or of the host on a CPU profile",
                in_virtual_time=False,
            ),
            Metric(
                name=TRIAL_COST, word="trial cost", unit="device-min", direction="least",
                better="cheapest trial", spec=".4f",
                meaning="busy device-minutes of the trial's own epochs up to then, start-up included",
                in_virtual_time=True,
            ),
        )
    }
)  # fmt: skip


class Measured(Protocol):
    """What is read of an epoch, as a trial reports it or as the journal holds it; None: not known."""

    @property
    def eval_loss(self) -> float | None: ...
    @property
    def samples_per_s(self) -> float | None: ...
    @property
    def tokens_per_s(self) -> float | None: ...
    @property
    def device_memory_mib(self) -> float | None: ...
    @property
    def host_memory_mib(self) -> float | None: ...


def metric_values(names: Sequence[str], epoch: Measured, spent_device_min: float) -> dict[str, float] | None:
    """The values of these metrics after an epoch; None where one is not known or not finite, or the loss is not: a
    trial that has failed is best at nothing. `spent_device_min`: busy device-minutes of the trial's own epochs up to
    this one."""
    known: dict[str, float | None] = {
        EVAL_LOSS: epoch.eval_loss,
        "samples_per_s": epoch.samples_per_s,
        "tokens_per_s": epoch.tokens_per_s,
        MEMORY: epoch.host_memory_mib if epoch.device_memory_mib is None else epoch.device_memory_mib,
        TRIAL_COST: spent_device_min,
    }
    found = {name: value for name in (EVAL_LOSS, *names) if (value := known[name]) is not None and math.isfinite(value)}
    return {name: found[name] for name in names} if {EVAL_LOSS, *names} <= found.keys() else None


def signed_values(values: Mapping[str, float]) -> tuple[float, ...]:
    """The values as numbers to be minimised, in their order."""
    return tuple(METRICS[name].signed(value) for name, value in values.items())


def parse_metrics(text: str) -> tuple[str, ...]:
    """Metrics as they are typed: `samples_per_s`, or `eval_loss,memory_mib`. Raises UserError."""
    names = tuple(text.replace(",", " ").split())
    for name in names:
        if name not in METRICS:
            raise unknown("metric", name, list(METRICS))
    try:
        check_metrics(names)
    except ValueError as error:
        raise UserError(f"--metric '{text}' cannot be optimised: {error}.") from None
    return names


def check_metrics(names: Sequence[str]) -> None:
    """Raises ValueError where these cannot be the metrics of a study."""
    for name in names:
        if name not in METRICS:
            raise ValueError(f"there is no metric {name!r}; known are {', '.join(METRICS)}")
    if not 1 <= len(names) <= MOST or len(set(names)) < len(names):
        raise ValueError(f"{len(names)} metrics are named; name one, or two different ones as in eval_loss,memory_mib")


def study_metrics(study: Mapping[str, object]) -> tuple[str, ...]:
    """The metrics of a study as plain data. Raises ValueError where they are none."""
    names = study.get("metrics", DEFAULT)
    if not isinstance(names, (list, tuple)):
        raise ValueError(f"the study's metrics are {names!r}; they must be a list of names")
    check_metrics(names)
    return tuple(names)


def first_metric(study: Mapping[str, object]) -> Metric:
    """The one that the winner is best by. Raises ValueError as `study_metrics` does."""
    return METRICS[study_metrics(study)[0]]
