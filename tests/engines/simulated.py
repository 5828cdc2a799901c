"""Small studies in virtual time for tests, on curves that are made here."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from bench.curve_model import CurveModel, DrawnCurve
from bench.curves import Curve, CurveSet, Epoch
from bench.events import Event
from bench.hyperparameters import Value
from bench.profile import Overheads, Profile, load_profile
from bench.simulate import simulate_run
from bench.space import Choice, LogUniform, SearchSpace
from bench.strategy import OBJECTIVE, TIME_ATTRIBUTE, Request, Strategy, TunePlan, load_strategy
from bench.study import Simulation, Study
from bench.trials import RunState
from tests.builders import study

SPACE = SearchSpace(
    (
        LogUniform("learning_rate", 1e-4, 1e-2, (1e-3, 1e-2, 1e-4)),
        Choice("batch_size", (8, 16)),
        Choice("weight_decay", (0.0,)),
    )
)
EPOCHS = 9
RATES = (1e-4, 1e-3, 1e-2)
DIVERGING = (1e-2, 16, 1)
"""Learning rate, batch size and seed of the one curve that ends in NaN."""


def _curve(rate: float, batch_size: int, seed: int) -> Curve:
    diverges = (rate, batch_size, seed) == DIVERGING
    epochs = 3 if diverges else EPOCHS
    floor = 1 + abs(math.log10(rate) + 3) * (1 + seed / 50)

    def loss(epoch: int) -> float | None:
        return None if diverges and epoch == epochs else round(floor + (3 + seed / 10) / epoch, 6)

    return Curve(
        config={"learning_rate": rate, "batch_size": batch_size, "weight_decay": 0.0},
        seed=seed,
        startup_s=1.0,
        epochs=tuple(
            Epoch(
                epoch=epoch,
                eval_loss=loss(epoch),
                train_loss=1.0,
                train_s=160.0 / batch_size + seed,
                eval_s=1.0 + seed / 10,
                checkpoint_s=0.5 + seed / 10,
                samples_per_s=float(batch_size),
            )
            for epoch in range(1, epochs + 1)
        ),
        failure="nan" if diverges else None,
    )


CURVES = CurveSet(
    name="made-for-tests",
    kind="fitted",
    summary="a bowl in the learning rate",
    workload="tiny-squad",
    recipe="qa",
    profile="cpu",
    space=SPACE,
    epochs=EPOCHS,
    seeds=(0, 1),
    curves=tuple(_curve(rate, size, seed) for rate in RATES for size in (8, 16) for seed in (0, 1)),
)
MODEL = CurveModel(CURVES)


class Clockwork(CurveModel):
    """Every epoch of every trial trains for 8 s, evaluates for 1 and saves for 1."""

    def draw(self, config: Mapping[str, Value], *, seed: int, trial: str) -> DrawnCurve:
        seconds = (1.0,) * EPOCHS
        losses = tuple(4.0 - 0.1 * epoch for epoch in range(EPOCHS))
        return DrawnCurve(
            losses=losses, train_s=(8.0,) * EPOCHS, eval_s=seconds, checkpoint_s=seconds, samples_per_s=seconds
        )


CLOCKWORK = Clockwork(CURVES)


def profile(**overheads: float) -> Profile:
    """The CPU's, with these overheads and no others."""
    none: dict[str, float] = dict.fromkeys(Overheads.__dataclass_fields__, 0.0)
    return replace(load_profile("cpu"), overheads=Overheads(**(none | overheads)))


def virtual_study(strategy: str | Strategy, *, nodes: int = 1, slots: int = 1, **changes: Any) -> Study:
    """`slots`: on each node, of one device and one core each. `changes`: fields of the study or of its simulation."""
    named = load_strategy(strategy) if isinstance(strategy, str) else strategy
    of_simulation = {name: changes.pop(name) for name in Simulation.__dataclass_fields__ if name in changes}
    shape: dict[str, Any] = {"nodes": nodes, "node_devices": slots, "node_cpus": slots, "trial_cpus": 1}
    simulation = Simulation(curves=CURVES.name, curves_sha256="", **(shape | of_simulation))
    fields: dict[str, Any] = {
        "workload": CURVES.workload,
        "engine": "virtual",
        "space": SPACE,
        "profile": "cpu",
        "settings": named.resolve({}),
        "epochs": 3,
        "samples": 4,
        "final_epochs": 0,
        "devices": nodes * simulation.node_devices,
        "simulation": simulation,
    }
    return study(named.name, **(fields | changes))


def simulated(
    of: Study,
    strategy: Strategy | None = None,
    on: Profile | None = None,
    *,
    model: CurveModel = MODEL,
    quick: bool = True,
) -> tuple[list[Event], RunState]:
    """All events of a run, and what they come to."""
    events: list[Event] = []

    def observe(event: Event, _: RunState) -> None:
        events.append(event)

    named = strategy or load_strategy(of.strategy)
    return events, simulate_run(of, named, on or profile(), model, (observe,), quick=quick)


def tune_strategy(name: str, build: Callable[[Request], TunePlan], *, copies: bool = False) -> Strategy:
    return Strategy(name=name, summary=name, build=build, copies=copies)


JUDGED_BY: dict[str, Any] = {"time_attr": TIME_ATTRIBUTE, "metric": OBJECTIVE, "mode": "min"}
"""What every scheduler of Tune's is told of the objective."""


def halved_by(scheduler: Any) -> Strategy:
    """Random search under that class of HyperBand."""

    def build(request: Request) -> TunePlan:
        from ray.tune.search import BasicVariantGenerator

        made = scheduler(**JUDGED_BY, max_t=request.epochs, stop_last_trials=True)
        suggests = BasicVariantGenerator(random_state=request.seed)
        return TunePlan(suggests, made, request.space.tune(), stops_at_epochs=False)

    return tune_strategy("halved", build)


def copied_by(scheduler: Any) -> Strategy:
    """A population under that class of PBT, synchronous."""

    def build(request: Request) -> TunePlan:
        from ray.tune.search import BasicVariantGenerator

        domains = request.space.tune()
        made = scheduler(
            **JUDGED_BY, perturbation_interval=1, log_config=False, synch=True,
            hyperparam_mutations={"learning_rate": domains["learning_rate"]},
        )  # fmt: skip
        return TunePlan(BasicVariantGenerator(random_state=request.seed), made, domains)

    return tune_strategy("copied", build, copies=True)
