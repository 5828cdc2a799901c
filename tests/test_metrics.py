"""What can be optimised: parsed, read off an epoch, and never won by a trial that failed."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from bench.errors import UserError
from bench.events import EpochFinished
from bench.metrics import DEFAULT, METRICS, first_metric, metric_values, parse_metrics, signed_values
from bench.objectives import Objectives
from bench.strategy import FAILURE_OBJECTIVE
from tests.builders import epoch

EVERY = tuple(METRICS)


def measured(loss: float | None = 2.5, **changes: float | None) -> EpochFinished:
    fields: dict[str, Any] = {"samples_per_s": 40.0, "tokens_per_s": 900.0, "host_memory_mib": 700.0} | changes
    event = epoch("t0", 1, loss, at_s=1.0, **fields)
    assert isinstance(event, EpochFinished)
    return event


def test_every_metric_is_read_off_an_epoch() -> None:
    assert metric_values(EVERY, measured(), 0.5) == {
        "eval_loss": 2.5, "samples_per_s": 40.0, "tokens_per_s": 900.0, "memory_mib": 700.0, "trial_device_min": 0.5,
    }  # fmt: skip
    assert metric_values(("memory_mib",), measured(device_memory_mib=123.0), 0.0) == {"memory_mib": 123.0}


@pytest.mark.parametrize("epoch", [measured(None), measured(samples_per_s=None), measured(samples_per_s=math.inf)])
def test_what_failed_or_is_not_known_has_no_values(epoch: EpochFinished) -> None:
    assert metric_values(("samples_per_s",), epoch, 1.0) is None
    assert metric_values(("samples_per_s", "eval_loss"), epoch, 1.0) is None


def test_what_is_minimised() -> None:
    aim = Objectives(metrics=("samples_per_s", "trial_device_min"), devices=0.25)
    assert aim.of(measured(), spent_s=120.0) == {"objective": -40.0, "objective_2": 0.5}
    assert aim.of(measured(None), 120.0) == dict.fromkeys(("objective", "objective_2"), FAILURE_OBJECTIVE)
    assert Objectives().of(measured(), 0.0) == {"objective": 2.5}
    assert Objectives().of(replace(measured(), eval_loss=math.nan), 0.0) == {"objective": FAILURE_OBJECTIVE}


def test_a_signed_value_gives_the_value_back() -> None:
    for metric in METRICS.values():
        assert metric.value(metric.signed(3.0)) == 3.0
        assert (metric.signed(3.0) < metric.signed(2.0)) == (metric.direction == "most")
    assert signed_values({"samples_per_s": 5.0, "memory_mib": 7.0}) == (-5.0, 7.0)


def test_values_as_people_read_them() -> None:
    assert METRICS["eval_loss"].said(2.0) == "a loss of 2.0000"
    assert METRICS["samples_per_s"].said(-12345.6) == "12,345.6 samples/s"
    assert METRICS["samples_per_s"].or_better(-10) == "10.0 samples/s or more"
    assert METRICS["eval_loss"].or_better(2) == "loss 2.0000 or less"


def test_metrics_as_they_are_typed() -> None:
    assert parse_metrics("samples_per_s") == ("samples_per_s",)
    assert parse_metrics("eval_loss, memory_mib") == ("eval_loss", "memory_mib")
    with pytest.raises(UserError, match="did you mean 'memory_mib'"):
        parse_metrics("eval_loss,memory")
    for text in ("", "eval_loss,eval_loss", "eval_loss,memory_mib,tokens_per_s"):
        with pytest.raises(UserError, match="name one, or two different ones"):
            parse_metrics(text)


def test_a_study_as_plain_data() -> None:
    assert first_metric({}).name == DEFAULT[0]
    assert first_metric({"metrics": ["memory_mib", "eval_loss"]}).name == "memory_mib"
    with pytest.raises(ValueError, match="must be a list"):
        first_metric({"metrics": "memory_mib"})
