"""What a learning rate schedule should be, written down a second time: transformers' is read back against it."""

from __future__ import annotations

import math

INVERSE_SQRT_TIMESCALE = 10_000
"""Steps, where there is no warm-up to take for it."""


def factor(name: str, step: int, *, warmup: int, steps: int) -> float:
    """The share of the full learning rate that is in force at a step of a horizon of `steps`, of which the first
    `warmup` let it rise."""
    if step < warmup:
        return step / warmup
    if name == "constant_with_warmup":
        return 1.0
    if name == "inverse_sqrt":
        timescale = warmup or INVERSE_SQRT_TIMESCALE
        return math.sqrt(timescale / (step - warmup + timescale))
    done = min(1.0, (step - warmup) / max(1, steps - warmup))
    return 1.0 - done if name == "linear" else (1.0 + math.cos(math.pi * done)) / 2
