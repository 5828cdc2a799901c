"""What a study's schedulers and searchers see of an epoch: its metrics, as numbers to be minimised."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bench.ledger import device_minutes
from bench.metrics import DEFAULT, Measured, metric_values, signed_values
from bench.strategy import FAILURE_OBJECTIVE, OBJECTIVE, objective_names


@dataclass(frozen=True, kw_only=True)
class Objectives:
    """Of a study with these `metrics`. `devices`: what each of its trials holds, a share of one or more."""

    metrics: tuple[str, ...] = DEFAULT
    devices: int | float = 1

    def of(self, epoch: Measured, spent_s: float) -> dict[str, float]:
        """By name; all of `FAILURE_OBJECTIVE` where the loss is not finite or a metric is not known. `spent_s`: busy
        seconds of the trial's own epochs up to this one."""
        if self.metrics == DEFAULT:  # simulations ask very often
            loss = epoch.eval_loss
            return {OBJECTIVE: FAILURE_OBJECTIVE if loss is None or not math.isfinite(loss) else loss}
        values = metric_values(self.metrics, epoch, device_minutes(self.devices * spent_s))
        if values is None:
            return self.failed()
        return dict(zip(objective_names(len(self.metrics)), signed_values(values), strict=True))

    def failed(self) -> dict[str, float]:
        """Of a trial that has failed."""
        return dict.fromkeys(objective_names(len(self.metrics)), FAILURE_OBJECTIVE)
