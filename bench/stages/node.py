"""What a node does in a submitted measurement: its part of each training; the first node also measures."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from bench.cluster.address import node_address
from bench.cluster.meeting import poll
from bench.engines.process import Message, ProcessDied
from bench.errors import UserError
from bench.probe import probe_machine, require_profile
from bench.provenance import collect
from bench.stages.gathering import Begun, Gathering, Left, Plan, Where
from bench.stages.measure import Config, build_extensions, inputs_of, measure
from bench.stages.ranks import Ranks
from bench.stages.setup import chosen, configuration, training_task
from bench.training import TrainingTask

PLAN_S = 30.0
NEXT_S = 900.0
"""How long the first node may take until it begins a row: it reads the model and compiles before the first."""
LEAVE_S = 120.0
"""How long the others may take to end their part of one."""


def take_part(folder: Path, environ: Mapping[str, str] = os.environ) -> None:
    """All rows, as one of the plan's nodes. Raises UserError, which the login node is told as well."""
    gathering = Gathering(folder)
    plan = poll(gathering.plan, deadline_s=PLAN_S)
    if plan is None:
        raise UserError(f"There is no plan in {folder} as seen from this node: name results on a shared file system.")
    task = environ.get("SLURM_ARRAY_TASK_ID", "")
    if not task.isdecimal():
        raise UserError("This is a task of `sweepmark stages --submit`, and none runs here: use that command.")
    try:
        _Node(gathering, plan, int(task)).work()
    except UserError as error:
        gathering.refuse(str(error))
        raise


class _Node:
    def __init__(self, gathering: Gathering, plan: Plan, task: int) -> None:
        self._gathering, self._plan, self._task = gathering, plan, task
        self._study = plan.study

    def work(self) -> None:
        study, probe = self._study, probe_machine(deep=self._task == 1)
        require_profile(study.profile, probe)
        # A single node's processes need not be reached from elsewhere.
        address = node_address(self._plan.site) if study.nodes > 1 else "127.0.0.1"
        self._gathering.come(self._task)
        if poll(lambda: self._gathering.absent(study.nodes) == [] or None, deadline_s=self._plan.meet_s) is None:
            raise UserError(
                f"Task {self._gathering.absent(study.nodes)[0]} of {study.nodes} did not come within "
                f"{self._plan.meet_s / 60:.0f} minutes of the others: choose fewer --nodes, or try when nodes are free."
            )
        task, config = training_task(study, self._plan.results), configuration(study)
        if self._task != 1:
            self._follow(task, config)
            return
        inputs, rows = inputs_of(task), chosen(study.only)
        if any(row.deepspeed for row in rows):
            build_extensions(task)
        self._gathering.begin(Begun(inputs=inputs, provenance=collect() | {"probe": probe.to_dict()}))
        for number, sharding in enumerate(rows):

            def launch(task: TrainingTask, config: Config, folder: Path, number: int = number) -> Iterator[Message]:
                return self._lead(number, address, task, config, folder)

            for row in measure(task, config, inputs, [sharding], folder=self._gathering.work(number), launch=launch):
                self._gathering.write_row(number, row)

    def _lead(self, number: int, address: str, task: TrainingTask, config: Config, folder: Path) -> Iterator[Message]:
        from bench.hf.meeting import Meeting

        meeting = Meeting(self._study.processes, address)
        ranks: Ranks | None = None
        try:
            first = meeting.place(0)
            ranks = self._ranks(Where(host=first.host, port=first.port), task, config, folder)
            self._gathering.announce(number, Where(host=first.host, port=first.port))
            yield from ranks.messages()
        finally:
            meeting.close()  # by which processes elsewhere notice that the first is no more
            codes = ranks.exit_codes() if ranks is not None else []
        others = range(2, self._study.nodes + 1)
        poll(lambda: all(self._gathering.left(number, task) for task in others) or None, deadline_s=LEAVE_S)
        for left in (self._gathering.left(number, task) for task in others):
            codes += left.exit_codes if left is not None else ()
        if any(codes):  # the most telling: a signal before a status
            yield ProcessDied(exit_code=min(codes))

    def _follow(self, task: TrainingTask, config: Config) -> None:
        for number, sharding in enumerate(chosen(self._study.only)):
            where = poll(partial(self._gathering.where, number), deadline_s=NEXT_S)
            if where is None:
                raise UserError(f"The first node did not begin within {NEXT_S / 60:.0f} minutes: see its log.")
            folder = self._gathering.work(number)
            own = replace(task, deepspeed=sharding.deepspeed, samples=folder / "samples")
            ranks = self._ranks(where, own, config, folder / "trial")
            try:
                for _ in ranks.messages():
                    pass
                self._gathering.leave(number, self._task, Left(exit_codes=tuple(ranks.exit_codes())))
            finally:
                ranks.close()
            # Until it is measured: the next row's processes would share the devices with its last ones.
            poll(partial(self._gathering.row, number), deadline_s=NEXT_S)

    def _ranks(self, where: Where, task: TrainingTask, config: Config, folder: Path) -> Ranks:
        from bench.hf.meeting import Place

        own = self._study.node_devices
        places = [
            Place(
                rank=(self._task - 1) * own + local,
                size=self._study.processes,
                host=where.host,
                port=where.port,
                local_rank=local,
            )
            for local in range(own)
        ]
        return Ranks(task, config, places, folder)
