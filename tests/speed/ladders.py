"""Ladders as measurements would have made them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.flops import Shape
from bench.speed.record import EpochSpeed, Ladder, RungSpeed, TrialSpeed
from bench.speed.rungs import PUBLISHED, REFERENCE


def trial(repeat: int, train_s: Sequence[float], losses: Sequence[float] = (3.0, 2.0), **changes: Any) -> TrialSpeed:
    epochs = tuple(
        EpochSpeed(
            epoch=number,
            eval_loss=loss,
            train_loss=loss,
            train_s=spent_s,
            eval_s=1.0,
            checkpoint_s=0.5,
            device_memory_mib=None,
            host_memory_mib=300.0 + number,
        )
        for number, (spent_s, loss) in enumerate(zip(train_s, losses, strict=False), 1)
    )
    return TrialSpeed(**{"repeat": repeat, "state": "completed", "startup_s": 4.0, "epochs": epochs, **changes})


def rung(name: str, *trials: TrialSpeed, **changes: Any) -> RungSpeed:
    fields: dict[str, Any] = {
        "name": name,
        "change": f"what {name} does",
        "comparable": name != PUBLISHED,
        "settings": {"padding": "longest"},
        "model_flops": 4e9,
        "hardware_flops": 8e9,
        "train_tokens": 1000,
        "trials": trials,
    }
    return RungSpeed(**{**fields, **changes})


def a_ladder(*rungs: RungSpeed, **changes: Any) -> Ladder:
    """Without rungs: the published one of 20 s an epoch, the reference of 10 s, and two of 5 and 2 s."""
    rungs = rungs or (
        rung(PUBLISHED, trial(0, (25.0, 20.0), (6.0, 5.0)), trial(1, (25.0, 20.0), (6.0, 5.0))),
        rung(REFERENCE, trial(0, (12.0, 10.0)), trial(1, (12.0, 10.0))),
        rung("no sharding", trial(0, (6.0, 5.0)), trial(1, (5.0, 4.0))),
        rung("fast", trial(0, (3.0, 2.0), (3.0, 2.00005)), trial(1, (3.0, 2.0), (3.0, 2.0))),
    )
    fields: dict[str, Any] = {
        "name": "planted",
        "workload": "tiny-squad",
        "data": "planted",
        "weights": "none",
        "profile": "cpu",
        "device": "cpu",
        "precision": "fp32",
        "threads": 1,
        "epochs": 2,
        "repeats": 2,
        "config": {"learning_rate": 1e-3, "batch_size": 8, "weight_decay": 1.0},
        "examples": {"train": 100, "validation": 10},
        "max_tokens": 128,
        "shape": Shape(layers=2, hidden=16, heads=2, vocab=50),
        "parameters": 1000,
        "declared_peak_tflops": 0.01,
        "measured_peak_tflops": (0.002, 0.004),
        "tolerance": 1e-4,
        "measured_at_s": 1.7e9,
        "provenance": {"git": {"commit": "a" * 40, "clean": True}, "probe": {"cpus": 2}},
        "rungs": rungs,
    }
    return Ladder(**{**fields, **changes})
