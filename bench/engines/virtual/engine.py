"""A run in virtual time, from its first event to its last."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

from bench.curve_model import CurveModel
from bench.engines.session import SearchStalled
from bench.engines.virtual import serial
from bench.engines.virtual.agenda import Action, Agenda
from bench.engines.virtual.cluster import Cluster
from bench.engines.virtual.work import Work
from bench.events import (
    SCHEMA_VERSION,
    Event,
    GrantClosed,
    GrantOpened,
    Purpose,
    RunFinished,
    RunInterrupted,
    RunStarted,
    SearchFinished,
)
from bench.hyperparameters import Value
from bench.profile import Profile
from bench.seeds import child_seed
from bench.strategy import GridPlan, Strategy, TunePlan
from bench.study import NodeLoss, Study
from bench.trials import RunState
from bench.workload import load_workload

BUDGET_SPENT = "the time budget was spent"


def run(
    study: Study,
    strategy: Strategy,
    plan: GridPlan | TunePlan,
    profile: Profile,
    model: CurveModel,
    *,
    state: RunState,
    emit: Callable[[Event], None],
    provenance: Mapping[str, Any],
    quick: bool = True,
) -> None:
    """Emit all events of a run. `state`: folded from what `emit` was given. `quick`: take the shortcuts of
    `bench.engines.virtual.quick`, which change no event. Raises SearchStalled, after the event that says so, where
    trials wait for what will not come."""
    _Run(study, strategy, profile, model, state, emit, quick).all(plan, provenance)


class _Run:
    def __init__(
        self,
        study: Study,
        strategy: Strategy,
        profile: Profile,
        model: CurveModel,
        state: RunState,
        emit: Callable[[Event], None],
        quick: bool,
    ) -> None:
        assert study.simulation is not None
        self._study = study
        self._simulation = study.simulation
        self._overheads = profile.overheads
        self._state = state
        self._emit = emit
        self._quick = quick
        self._agenda = Agenda()
        self._cluster = Cluster(
            self._agenda,
            nodes=self._simulation.nodes,
            slots_per_node=self._simulation.slots_per_node(study.devices_per_trial),
        )
        self._work = Work(
            study,
            profile,
            model,
            copies=strategy.copies,
            checkpoints=load_workload(study.workload).checkpoints,
            emit=emit,
            now_s=self._agenda.now_s,
        )
        self._holdings: list[tuple[range, int]] = []
        self._grants: dict[int, str] = {}
        self._fates: list[int] = []
        self._granted = 0

    def all(self, plan: GridPlan | TunePlan, provenance: Mapping[str, Any]) -> None:
        study = self._study
        self._emit(
            RunStarted(
                at_s=0.0,
                schema_version=SCHEMA_VERSION,
                run_id=study.run_id(),
                study=study.to_dict(),
                provenance=dict(provenance),
            )
        )
        try:
            if isinstance(plan, GridPlan):
                self._search_grid(plan)
            else:
                self._search_tune(plan)
            for fate in self._fates:
                self._agenda.cancel(fate)
            winner = self._state.winner
            self._emit(SearchFinished(at_s=self._now_s(), winner=winner.trial if winner else None))
            if winner is not None and study.final_epochs:
                self._retrain(dict(winner.best_config or winner.config))
            self._emit(RunFinished(at_s=self._now_s()))
        except SearchStalled as stalled:
            self._emit(RunInterrupted(at_s=self._now_s(), reason=str(stalled)[:500]))
            raise

    def _search_grid(self, plan: GridPlan) -> None:
        job = serial.Job(self._work, self._agenda, self._cluster)
        self._wait(self._simulation.queue_wait_s)
        self._hold([(range(self._simulation.nodes), self._study.devices_per_trial)])
        self._befall()
        if self._simulation.time_budget_s is not None:
            self._plan(self._simulation.time_budget_s, lambda: job.end(BUDGET_SPENT))
        for number, config in enumerate(plan.configs, 1):
            job.run(f"{number:04d}", config, epochs=self._study.epochs)
        self._hold([])

    def _search_tune(self, plan: TunePlan) -> None:
        from bench.engines.ray_adjust import seeded_decisions
        from bench.engines.virtual.controller import Controller, wrapped
        from bench.engines.virtual.quick import shortcuts
        from bench.engines.virtual.trial import Spec, virtual_trials

        study, simulation = self._study, self._simulation
        logging.getLogger("ray").setLevel(logging.CRITICAL)
        with (
            seeded_decisions(child_seed(study.seed, "search")),
            virtual_trials(),
            shortcuts() if self._quick else nullcontext(),
        ):
            search_alg = wrapped(plan.search_alg)
            search_alg.add_configurations([Spec(plan.param_space, study.samples)])
            controller = Controller(
                plan,
                search_alg,
                self._work,
                self._agenda,
                self._cluster,
                epochs=study.epochs,
                cpus=simulation.nodes * simulation.node_cpus,
                quick=self._quick,
            )
            self._wait(simulation.queue_wait_s)
            self._hold([(range(node, node + 1), simulation.node_devices) for node in range(simulation.nodes)])
            self._befall()
            if simulation.time_budget_s is not None:
                self._plan(simulation.time_budget_s, lambda: controller.end(BUDGET_SPENT))
            self._wait(self._overheads.engine_startup_s)
            controller.run()
        self._hold([])

    def _retrain(self, config: dict[str, Value]) -> None:
        from bench.events import FINAL_TRIAL

        agenda = self._agenda
        self._wait(self._simulation.queue_wait_s)
        grant = self._open("final", self._study.devices_per_trial)
        cluster = Cluster(agenda, nodes=1, slots_per_node=1)
        serial.Job(self._work, agenda, cluster).run(
            FINAL_TRIAL, config, epochs=self._study.final_epochs, purpose="final"
        )
        self._close(grant)

    def _befall(self) -> None:
        """Plan what will happen to the nodes; seconds count from the start of the run."""
        for loss in self._simulation.node_losses:
            self._plan(max(0.0, loss.at_s - self._now_s()), partial(self._lose, loss))

    def _plan(self, delay_s: float, action: Action) -> None:
        """Have something befall the search, if that is not over by then."""
        self._fates.append(self._agenda.after(delay_s, action))

    def _lose(self, loss: NodeLoss) -> None:
        if self._cluster.is_gone(loss.node):
            return
        self._cluster.lose_node(loss.node)
        self._hold(self._holdings)
        if loss.away_s is not None:
            self._plan(loss.away_s, lambda: self._return(loss.node))

    def _return(self, node: int) -> None:
        self._cluster.return_node(node)
        self._hold(self._holdings)

    def _hold(self, holdings: list[tuple[range, int]]) -> None:
        """Have a grant for each of these (nodes that it may lie on, devices) while one of its nodes is there: a node
        that is gone is not billed."""
        self._holdings = holdings
        there = [any(not self._cluster.is_gone(node) for node in nodes) for nodes, _ in holdings]
        for number in list(self._grants):
            if number >= len(holdings) or not there[number]:
                self._close(self._grants.pop(number))
        for number, (_, devices) in enumerate(holdings):
            if there[number] and number not in self._grants:
                self._grants[number] = self._open("search", devices)

    def _open(self, purpose: Purpose, devices: int) -> str:
        self._granted += 1
        grant = f"{purpose}-{self._granted}"
        self._emit(GrantOpened(at_s=self._now_s(), grant=grant, devices=devices, purpose=purpose))
        return grant

    def _close(self, grant: str) -> None:
        self._emit(GrantClosed(at_s=self._now_s(), grant=grant))

    def _now_s(self) -> float:
        return self._agenda.now_s()

    def _wait(self, seconds: float) -> None:
        """Let time pass in which nothing is asked of the cluster; what befalls it meanwhile happens."""
        over = False

        def end() -> None:
            nonlocal over
            over = True

        self._agenda.after(seconds, end)
        while not over:
            self._agenda.next()
