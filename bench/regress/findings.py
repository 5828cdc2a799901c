"""What the gate found: one finding for each study and metric."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Verdict = Literal[
    "moved",
    "regression",
    "cannot tell",
    "within noise",
    "within tolerance",
    "better",
    "same",
    "not compared",
    "not run",
]
"""`moved`: a virtual run is not what it was. `regression`: worse beyond noise and tolerance. `cannot tell`: too few
runs for the test ever to fire. `within noise`: worse by more than the tolerance, and no more than chance explains.
`better`: lower by more than the tolerance, which is not tested."""

FAILURES: frozenset[Verdict] = frozenset({"moved", "regression"})
SKIPPED: frozenset[Verdict] = frozenset({"not compared", "not run"})
QUIET: frozenset[Verdict] = frozenset({"same", "within noise", "within tolerance", "not run", "not compared"})

UNITS = {
    "eval_loss": "nats",
    "allocated_device_min": "device-min",
    "busy_device_min": "device-min",
    "startup_device_min": "device-min",
    "epochs_trained": "epochs",
}
LABELS = {
    "eval_loss": "the winner's loss",
    "allocated_device_min": "allocated time",
    "busy_device_min": "busy time",
    "startup_device_min": "start-up time",
    "epochs_trained": "the number of epochs that all trials trained",
    "trial_losses": "the difference of its trials' losses from the reference's",
}
NOT_RUN = "Not run: there are no new runs of this study, so it neither passed nor failed."
EXIT_PASSED, EXIT_FAILED, EXIT_CANNOT_TELL = 0, 1, 2


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One metric of one study. `base`, `new`: values, and `of` says whose: those of the seed that moved most, or
    medians. `change`: relative, 0.05 is 5 % more (None: no number says it); of virtual runs from `base` to `new`, of
    measured ones the Hodges-Lehmann shift, which need not be that of the medians. `p`: of the test. `noise`: relative
    standard deviation within a seed of the base. `visible`: the smallest relative change that the test sees with 95 %
    probability. `detail`: a sentence."""

    study: str
    metric: str
    kind: Literal["virtual", "measured"]
    verdict: Verdict
    detail: str
    base: float | None = None
    new: float | None = None
    of: str = ""
    change: float | None = None
    p: float | None = None
    noise: float | None = None
    visible: float | None = None
    runs: str = ""

    @property
    def failed(self) -> bool:
        return self.verdict in FAILURES


def exit_status(findings: Iterable[Finding]) -> int:
    """1: something moved or got worse; 2: nothing did, but some test could never have fired; 0: passed."""
    verdicts = {finding.verdict for finding in findings}
    if verdicts & FAILURES:
        return EXIT_FAILED
    return EXIT_CANNOT_TELL if "cannot tell" in verdicts else EXIT_PASSED


def percent(change: float | None, *, signed: bool = True) -> str:
    """A relative change for people, with as many digits as tell it from nothing."""
    if change is None:
        return "-"
    if not math.isfinite(change):
        return "from finite to infinite" if change > 0 else "from infinite to finite"
    value = 100 * change
    digits = 1 if abs(value) >= 0.95 else 2 if abs(value) >= 0.095 else 3
    text = f"{value:{'+' if signed else ''}.{digits}f} %"
    return text if value == 0 or float(text[:-2]) else f"{value:{'+' if signed else ''}.1e} %"
