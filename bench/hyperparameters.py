"""What can be tuned: every hyperparameter that a search space may hold, with what it means and where its value comes
from where the space leaves it out."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from bench.errors import did_you_mean

Kind = Literal["real", "whole number", "word"]
Value = float | int | str


@dataclass(frozen=True, kw_only=True)
class Hyperparameter:
    """One thing that can be tuned.

    `short`: its name in tables. `lower`, `upper`: what its numbers may be, both included but for an `open_lower` or
    `open_upper`. `words`: what else it may be. `default`: where its value comes from where no space holds it. `midway`:
    whether a trial may go on with another value; where not, a copy of another trial's weights has that trial's value.
    """

    name: str
    short: str
    kind: Kind
    meaning: str
    default: str
    lower: float = 0.0
    upper: float = math.inf
    open_lower: bool = False
    open_upper: bool = False
    words: tuple[str, ...] = ()
    midway: bool = True

    def check(self, values: Iterable[object]) -> None:
        """Raises ValueError for the first value that the hyperparameter cannot have."""
        for value in values:
            if not self._can_be(value):
                raise ValueError(f"{self.name} cannot be {value!r}; it is {self.allowed}")

    @property
    def allowed(self) -> str:
        """What it may be, in words."""
        if self.words:
            return "one of " + ", ".join(self.words)
        low = f"more than {self.lower:g}" if self.open_lower else f"{self.lower:g} or more"
        if math.isinf(self.upper):
            return f"a {self.kind} of {low}" if not self.open_lower else f"a {self.kind}, {low}"
        high = f"less than {self.upper:g}" if self.open_upper else f"at most {self.upper:g}"
        return f"a {self.kind}, {low} and {high}"

    def _can_be(self, value: object) -> bool:
        if self.kind == "word":
            return isinstance(value, str) and value in self.words
        kinds = (int,) if self.kind == "whole number" else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not math.isfinite(value):
            return False
        above = value > self.lower if self.open_lower else value >= self.lower
        return above and (value < self.upper if self.open_upper else value <= self.upper)


OPTIMIZERS = ("adamw_torch", "adafactor", "adagrad", "rmsprop", "sgd")
"""Of transformers' OptimizerNames, those that need no other package; the first is every recipe's own."""
SGD_MOMENTUM = 0.9
SCHEDULERS = ("linear", "cosine", "constant_with_warmup", "inverse_sqrt")
"""Of transformers' SchedulerType, those that need a warm-up and a horizon and nothing else."""
PRECISIONS = ("fp32", "bf16", "fp16")

HYPERPARAMETERS: tuple[Hyperparameter, ...] = (
    Hyperparameter(
        name="learning_rate",
        short="lr",
        kind="real",
        open_lower=True,
        meaning="the optimiser's, at the top of its schedule",
        default="none: every space holds it",
    ),
    Hyperparameter(
        name="batch_size",
        short="bs",
        kind="whole number",
        lower=1,
        meaning="examples that each of a trial's processes takes at once",
        default="none: every space holds it",
    ),
    Hyperparameter(
        name="weight_decay",
        short="wd",
        kind="real",
        meaning="of what is trained, without biases and norms",
        default="0",
    ),
    Hyperparameter(
        name="optimizer",
        short="opt",
        kind="word",
        words=OPTIMIZERS,
        meaning=f"by transformers' names; sgd with momentum {SGD_MOMENTUM}",
        default="AdamW",
        midway=False,
    ),
    Hyperparameter(
        name="lr_scheduler",
        short="sched",
        kind="word",
        words=SCHEDULERS,
        meaning="how the learning rate goes from its top to the horizon, by transformers' names",
        default="linear",
    ),
    Hyperparameter(
        name="warmup_fraction",
        short="warm",
        kind="real",
        upper=1,
        open_upper=True,
        meaning="the part of the horizon over which the learning rate rises from 0",
        default="the workload's",
    ),
    Hyperparameter(
        name="max_grad_norm",
        short="clip",
        kind="real",
        meaning="the norm that gradients are clipped to; 0: not clipped",
        default="the workload's, where the recipe clips",
    ),
    Hyperparameter(
        name="gradient_accumulation",
        short="acc",
        kind="whole number",
        lower=1,
        meaning="batches whose gradients are summed for one step of the optimiser",
        default="1",
    ),
    Hyperparameter(
        name="lora_rank",
        short="rank",
        kind="whole number",
        lower=1,
        meaning="rank of LoRA's adapters, which alone are trained",
        default="no LoRA: all weights are trained",
        midway=False,
    ),
    Hyperparameter(
        name="lora_alpha",
        short="alpha",
        kind="real",
        open_lower=True,
        meaning="adapters are scaled by it over the rank",
        default="twice the rank",
        midway=False,
    ),
    Hyperparameter(
        name="lora_dropout",
        short="drop",
        kind="real",
        upper=1,
        open_upper=True,
        meaning="share of an adapter's inputs that is dropped in training",
        default="0",
    ),
    Hyperparameter(
        name="precision",
        short="prec",
        kind="word",
        words=PRECISIONS,
        meaning="of the computation; weights are kept in fp32",
        default="the hardware profile's",
        midway=False,
    ),
    Hyperparameter(
        name="zero_stage",
        short="zero",
        kind="whole number",
        upper=3,
        meaning="DeepSpeed's ZeRO stage; 0: the plain Trainer",
        default="that of --deepspeed, else the plain Trainer",
        midway=False,
    ),
)
"""In the order of tables."""

_BY_NAME = {h.name: h for h in HYPERPARAMETERS}


def names() -> tuple[str, ...]:
    return tuple(_BY_NAME)


def find(name: str) -> Hyperparameter:
    """The hyperparameter of that name. Raises ValueError with the nearest names."""
    if name not in _BY_NAME:
        near = did_you_mean(name, _BY_NAME).rstrip("?.")
        raise ValueError(f"there is no hyperparameter '{name}'{near}")
    return _BY_NAME[name]


def short_name(name: str) -> str:
    """What tables call it; a name that nothing here has stays as it is."""
    return _BY_NAME[name].short if name in _BY_NAME else name


def midway(name: str) -> bool:
    """Whether a trial may go on with another value of it."""
    return name not in _BY_NAME or _BY_NAME[name].midway


def shown(value: Value, spec: str) -> str:
    """A value as people read it: words as they are, numbers by the format `spec`."""
    return value if isinstance(value, str) else format(value, spec)
