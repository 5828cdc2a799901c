"""Rows of measurements that nobody made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bench.stages.result import SCHEMA_VERSION, Epoch, Inputs, Memory, Row, Series, Stages, StagesStudy, Usage

STUDY = StagesStudy(
    workload="tiny-squad", recipe="qa", profile="cpu", precision="fp32", device="cpu", nodes=1, node_devices=1,
    epochs=2, batch_size=8, learning_rate=1e-3, weight_decay=0.01, seed=0, only=(),
)  # fmt: skip
GPU = replace(STUDY, profile="a100", precision="bf16", device="cuda")


def row(name: str, speeds: Sequence[float] = (100.0, 100.0), *, device_mib: float | None = None, **changes: Any) -> Row:
    """A completed one with an epoch for each of `speeds`; `device_mib`: the peak on the device."""
    epochs = tuple(
        Epoch(
            epoch=n, train_loss=3.0 / n, eval_loss=2.0 / n, train_samples_per_s=speed, eval_samples_per_s=3 * speed,
            tokens_per_s=30 * speed,
        )
        for n, speed in enumerate(speeds, 1)
    )  # fmt: skip
    host = Usage(peak_mib=600.0, mean_mib=550.0)
    device = None if device_mib is None else Usage(peak_mib=device_mib, mean_mib=device_mib / 2)
    values: dict[str, Any] = {
        "name": name,
        "state": "completed",
        "epochs": epochs,
        "steps_per_epoch": 6,
        "startup_s": 5.0,
        "wall_s": 10.0,
        "device_min": 0.167,
        "memory": Memory(host=host, allocated=device, reserved=device, used=device),
        "state_device_mib": 2.0,
        "state_host_mib": 0.0,
        "series": Series(
            at_s=(0.0, 1.0), host=(500.0, 600.0), allocated=None if device_mib is None else (0.0, device_mib)
        ),
    }
    return Row(**{**values, **changes})


def full(name: str) -> Row:
    """One that ran out of memory before its first epoch was over."""
    return row(name, (), state="oom", detail="out of memory: tried to allocate 2 GiB", startup_s=None)


def measured(rows: Sequence[Row], study: StagesStudy = STUDY) -> Stages:
    return Stages(
        schema_version=SCHEMA_VERSION,
        study=study,
        inputs=Inputs(parameters=129_856, train=48, validation=16, sha256={"model": "ab"}),
        provenance={"sweepmark": "0"},
        rows=tuple(rows),
    )
