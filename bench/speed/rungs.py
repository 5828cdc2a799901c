"""The ladder's rungs: recipes that differ from the one before in one thing, from the published one to `fast`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields, replace

from bench.errors import UserError
from bench.workload import Computation, Recipe, load_recipe

PUBLISHED = "workshop"
"""The rung, and the recipe, that the ladder begins with. Its objective is another: its losses compare with no other."""
REFERENCE = "correct objective"
"""The first rung whose losses compare; see `bench.speed.summary.reference`."""

SHARDED = "zero3"
"""The DeepSpeed configuration of the published recipe."""

_STEPS = {
    "head": ("logits where labelled", "Logits and loss at labelled positions alone."),
    "attention": ("fused attention", "Attention by PyTorch's fused kernel."),
    "activation": ("fused activation", "The activation function by PyTorch's own kernel."),
    "last_block": ("last block where labelled", "The last block, behind its attention, at labelled positions alone."),
    "tokens": ("no work on padding", "All but attention on real tokens alone."),
    "batches": ("batches on the device", "Batches laid out once on the device, instead of loaded in every epoch."),
    "checkpoints": ("checkpoints aside", "Evaluation does not wait for checkpoints."),
}
"""Fields of `Computation` in the order in which they are switched on, which what needs another one decides; those that
are not here come last."""


@dataclass(frozen=True, kw_only=True)
class Rung:
    """`change`: what is otherwise than on the rung before, in a sentence. `deepspeed`: the name of a shipped
    configuration (None: the plain Trainer). `comparable`: its losses must equal those of all comparable rungs.
    `also`: the recipes that it is, other names of it."""

    name: str
    change: str
    recipe: Recipe
    deepspeed: str | None = None
    comparable: bool = True
    also: tuple[str, ...] = ()

    @property
    def names(self) -> str:
        """All its names, for people."""
        return self.name + (f" (or {', '.join(self.also)})" if self.also else "")


def ladder(fast: Recipe | None = None) -> list[Rung]:
    """All rungs, in order; the last one is the recipe `fast` itself. `fast`: instead of the one that ships. Raises
    ValueError where it is not `qa` computed otherwise."""
    qa = load_recipe("qa")
    fast = fast or load_recipe("fast")
    told = {name: getattr(qa, name) for name in ("name", "summary", "same_losses_as", "computation")}
    if replace(fast, **told) != qa:
        raise ValueError("the recipe 'fast' trains something else than 'qa': only [computation] may differ")
    padded = replace(qa, padding="max_length")
    rungs = [
        Rung(
            name=PUBLISHED,
            change="The published recipe: the answer's labels laid over the question, padded to the maximum, ZeRO-3, "
            "weight decay and clipping without effect.",
            recipe=load_recipe(PUBLISHED),
            deepspeed=SHARDED,
            comparable=False,
        ),
        Rung(
            name=REFERENCE,
            change="The answer is predicted after a prompt that holds the passage; weight decay and clipping apply. "
            "Computed as before.",
            recipe=padded,
            deepspeed=SHARDED,
        ),
        Rung(name="no sharding", change="Without DeepSpeed: the model fits on one device.", recipe=padded),
        Rung(
            name="padded to longest",
            change="Batches padded to their longest sequence: the recipe qa.",
            recipe=qa,
            also=("qa",),
        ),
    ]
    computation = qa.computation
    names = [field.name for field in fields(Computation)]
    for field in sorted(names, key=lambda name: [*_STEPS, *names].index(name)):
        value = getattr(fast.computation, field)
        if value == getattr(computation, field):
            continue
        computation = replace(computation, **{field: value})
        name, change = _STEPS.get(field, (f"{field} {value}", f"Computed with {field} {value}."))
        rungs.append(Rung(name=name, change=change, recipe=replace(qa, computation=computation)))
    last = rungs[-1]
    rungs[-1] = replace(last, recipe=fast, change=f"{last.change[:-1]}: the recipe fast.", also=(*last.also, "fast"))
    return rungs


def chosen(rungs: list[Rung], names: Collection[str]) -> list[Rung]:
    """Those of these names, in the ladder's order; all where none is named. Raises UserError on an unknown name."""
    known = {name for rung in rungs for name in (rung.name, *rung.also)}
    for name in names:
        if name not in known:
            raise UserError(f"There is no rung '{name}': give, in order of climbing, {listed(rungs)}.")
    return [rung for rung in rungs if not names or not {rung.name, *rung.also}.isdisjoint(names)]


def listed(rungs: list[Rung]) -> str:
    """Their names, in order of climbing."""
    return ", ".join(rung.names for rung in rungs)
