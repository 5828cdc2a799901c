"""Studies in virtual time: which curves they rest on, and one run of each, folded from its events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

from bench.curve_model import CurveModel
from bench.curves import CurveSet, curve_set_folder, curve_set_names, read_metadata
from bench.engines.session import SearchStalled
from bench.errors import UserError
from bench.events import Event
from bench.metrics import DEFAULT, METRICS
from bench.profile import Profile, load_profile
from bench.provenance import own_strategy
from bench.record import Record, record_run
from bench.run import Interrupted, plan_study, run_folder
from bench.runlog import RunLog
from bench.seeds import child_seed
from bench.spacefile import overridden
from bench.strategy import GridPlan, Strategy
from bench.study import NodeLoss, Simulation, Study
from bench.trials import RunState
from bench.workload import load_workload

Observer = Callable[[Event, RunState], None]

DECIDING = ("ray", "optuna", "hpbandster", "configspace", "numpy", "scipy", "statsmodels")
"""Packages whose versions may change a decision; the journal names them."""


def find_curve_set(name: str | None, *, profile: str | None, workload: str | None) -> str:
    """The curve set asked for, or the one for that profile and workload (None: any; without either, for `cpu`): of
    several the one that is named after its workload, then the fit to published tables, then the first by name. Raises
    UserError where there is none."""
    if name is not None:
        return name
    if profile is not None:
        load_profile(profile)
    sets = [s for s in map(_readable, curve_set_names()) if s is not None]
    profile = profile or (None if workload else "cpu")
    fitting = [s for s in sets if profile in (None, s.profile) and workload in (None, s.workload)]
    if not fitting:
        wanted = " and ".join(
            f"{kind} {value}" for kind, value in (("profile", profile), ("workload", workload)) if value
        )
        raise UserError(
            f"No curves were recorded for {wanted}: name a set with --curves ({', '.join(curve_set_names())}); its "
            "seconds are then taken as recorded, or --speed times as fast."
        )
    return min(fitting, key=lambda s: (s.name != s.workload, s.name != f"published-{s.profile}", s.name)).name


def _readable(name: str) -> CurveSet | None:
    """A set's metadata; None where they cannot be read, which is no reason not to use another: `sweepmark curves` says
    what is wrong."""
    try:
        return read_metadata(curve_set_folder(name))
    except UserError:
        return None


def virtual_study(
    strategy: Strategy,
    curve_set: CurveSet,
    profile: Profile,
    *,
    settings: Mapping[str, str] | None = None,
    seed: int = 0,
    samples: int = 12,
    epochs: int | None = None,
    final_epochs: int = 0,
    overrides: Mapping[str, Any] | None = None,
    devices: int | None = None,
    nodes: int = 1,
    node_cpus: int | None = None,
    trial_devices: int | None = None,
    trial_cpus: int | None = None,
    speed: float = 1.0,
    failure_rate: float = 0.0,
    node_losses: tuple[NodeLoss, ...] = (),
    time_budget_s: float | None = None,
    queue_wait_s: float | None = None,
    metrics: tuple[str, ...] = DEFAULT,
) -> Study:
    """A study of `strategy` on a curve set. `devices`: of all `nodes` together. `node_cpus`: with those that the
    profile keeps for the engine. `overrides`: of the search space, see
    `bench.spacefile.overridden`. None stands for the profile's, the workload's or the curve set's own value. Raises
    UserError where it cannot be."""
    workload = load_workload(curve_set.workload)
    _check_recorded(metrics, curve_set)
    epochs = min(workload.epochs, curve_set.epochs) if epochs is None else epochs
    longest = max(epochs, final_epochs)
    if longest > curve_set.epochs:
        raise UserError(
            f"{longest} epochs are more than the {curve_set.epochs} that curve set {curve_set.name} holds: give "
            f"{'--epochs' if epochs > curve_set.epochs else '--final-epochs'} up to {curve_set.epochs}."
        )
    if devices is not None and devices % nodes:
        raise UserError(f"{devices} devices cannot be shared out to {nodes} nodes: give a multiple.")
    per_trial = trial_devices or max(curve_set.devices_per_trial, profile.devices_per_trial)
    node_devices = profile.node.devices if devices is None else devices // nodes
    try:
        study = Study(
            workload=curve_set.workload,
            recipe=curve_set.recipe,
            strategy=strategy.name,
            settings=strategy.resolve(settings or {}),
            space=overridden(curve_set.space, **(overrides or {})),
            profile=profile.name,
            engine="virtual",
            seed=seed,
            samples=samples,
            epochs=epochs,
            final_epochs=final_epochs,
            devices=nodes * node_devices,
            devices_per_trial=per_trial,
            strategy_file=str(strategy.source) if strategy.source and _is_foreign(strategy.source) else None,
            model=curve_set.model,
            dataset_name=curve_set.dataset_name,
            simulation=Simulation(
                curves=curve_set.name,
                curves_sha256=curve_set.table_sha256 or "",
                nodes=nodes,
                node_devices=node_devices,
                node_cpus=(node_cpus or profile.node.cpus) - profile.node.system_cpus,
                trial_cpus=trial_cpus or profile.cpus_per_device * per_trial,
                speed=speed,
                failure_rate=failure_rate,
                node_losses=node_losses,
                time_budget_s=time_budget_s,
                queue_wait_s=profile.overheads.queue_wait_s if queue_wait_s is None else queue_wait_s,
            ),
            metrics=metrics,
        )
    except ValueError as error:
        raise UserError(f"The simulated cluster is impossible: {error}.") from None
    if strategy.serial:
        plan = plan_study(study, strategy)
        study = replace(study, samples=len(plan.configs) if isinstance(plan, GridPlan) else samples)
    return study


def _check_recorded(metrics: tuple[str, ...], curve_set: CurveSet) -> None:
    """Raises UserError where the curves do not hold what is to be optimised."""
    known = [name for name, metric in METRICS.items() if metric.in_virtual_time]
    if any(e.samples_per_s is None for curve in curve_set.curves for e in curve.epochs):
        known.remove("samples_per_s")
    for name in metrics:
        if name not in known:
            raise UserError(
                f"--metric {name} is not in the curves {curve_set.name}: in virtual time on them there are "
                f"{', '.join(known)}."
            )


def _is_foreign(source: Path) -> bool:
    from bench.resources import resource_dir

    return source.resolve().parent != resource_dir("strategies").resolve()


def simulate_run(
    study: Study,
    strategy: Strategy,
    profile: Profile,
    model: CurveModel,
    observers: tuple[Observer, ...] = (),
    quick: bool = True,
) -> RunState:
    """One run in virtual time. A search that stalled is left as interrupted, with the reason. `quick`: see
    `bench.engines.virtual.engine.run`."""
    from bench.engines.virtual import engine

    state = RunState()

    def emit(event: Event) -> None:
        state.apply(event)
        for observer in observers:
            observer(event, state)

    with suppress(SearchStalled):
        engine.run(
            study, strategy, plan_study(study, strategy), profile, model,
            state=state, emit=emit, provenance=provenance(study, model.curve_set), quick=quick,
        )  # fmt: skip
    return state


def simulate_study(
    study: Study,
    strategy: Strategy,
    profile: Profile,
    model: CurveModel,
    *,
    results: Path,
    observers: tuple[Observer, ...] = (),
) -> Record:
    """Run the study in virtual time in `results/runs/<id>` and write its record; a complete one is read.

    Raises UserError, and Interrupted where the search stalled; the record is written then too.
    """
    from bench.engines.virtual import engine

    strategy.check(load_workload(study.workload))
    plan = plan_study(study, strategy)
    folder = run_folder(results, study)
    log = RunLog(folder, observers, durable=False)
    try:
        if log.state.status != "finished":
            origin = provenance(study, model.curve_set)
            engine.run(study, strategy, plan, profile, model, state=log.state, emit=log.emit, provenance=origin)
    except SearchStalled as stalled:
        raise Interrupted(str(stalled), stalled=True) from None
    finally:
        log.close()
        record = record_run(folder)
    return record


def provenance(study: Study, curve_set: CurveSet) -> dict[str, Any]:
    """What a journal of virtual time says of its origin: nothing of the machine that computed it, since any other would
    have written the same."""
    from bench import __version__

    return {
        "sweepmark": __version__,
        "simulated": {
            "curves": curve_set.name,
            "kind": curve_set.kind,
            "summary": curve_set.summary,
            "profile": curve_set.profile,
            "table_sha256": curve_set.table_sha256,
            "error": None if curve_set.error is None else asdict(curve_set.error),
            "limits": list(curve_set.limits),
        },
        "packages": _versions(),
        **own_strategy(study.strategy_file),
        "seeds": {name: child_seed(study.seed, name) for name in ("search", "curves", "failures")},
    }


@cache
def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in DECIDING}
