"""Builds studies for the nodes of a cluster, which are not this machine, and tells what was submitted for them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from bench.cli.output import results_option
from bench.cli.runner import Runner, program
from bench.cli.submit import ALL_AT_ONCE
from bench.cluster import slurm
from bench.cluster.jobs import FOLDER, Job, Submitted, load_jobs
from bench.cluster.site import limit_minutes, load_site
from bench.cluster.submit import run_state, submit_left
from bench.engines.fixed import fixed
from bench.errors import UserError
from bench.profile import Profile, load_profile
from bench.run import plan_study, run_folder
from bench.strategy import load_strategy


class Submitter(Runner):
    """Makes studies for `nodes` nodes of the profile asked for."""

    def __init__(self, results: Path, nodes: int) -> None:
        super().__init__(results)
        self._nodes = nodes

    def _hardware(self, profile: str | None) -> Profile:
        assert profile is not None
        return load_profile(profile)

    def _devices(self, asked: int | None, profile: Profile, per_trial: int) -> int:
        return self._nodes * node_devices(asked, profile, per_trial, self._nodes)


def node_devices(asked: int | None, profile: Profile, per_trial: int, nodes: int) -> int:
    """Devices to hold on each node. Raises UserError."""
    most = profile.node.devices
    if per_trial > most * nodes:
        raise UserError(
            f"A trial cannot have {per_trial} devices on {nodes} nodes of {most}: give more --nodes, or "
            f"--trial-devices up to {most * nodes}."
        )
    held = most if asked is None else asked
    if asked is None and per_trial <= most:
        held = most - most % per_trial
    if held > most or (held % per_trial and per_trial % held):
        raise UserError(
            f"--devices {held} cannot be had on each node: profile {profile.name} has {most}, and a trial takes "
            f"{per_trial}; give a multiple or a part of that."
        )
    return held


def prepare(
    strategy: str,
    results: Path,
    *,
    nodes: int | None,
    array: str | None,
    site: Path | None,
    account: str | None,
    partition: str | None,
    limit: str | None,
    options: dict[str, Any],
) -> tuple[Path, Submitted]:
    """The run's folder, and what is to be submitted for it; nothing is written. Raises UserError."""
    chosen = load_strategy(strategy)
    if nodes is not None and (array is not None or chosen.serial):
        raise UserError(
            f"--nodes is for a search under Ray, and {chosen.name} here trains each trial on one node: leave it out."
        )
    if array is not None and options["trials_per_device"] > 1:
        raise UserError("--trials-per-device is for a search under Ray; a task of an array has its devices to itself.")
    at_once = _at_once(array)
    own = load_site(site)
    own = replace(own, account=account or own.account, partition=partition or own.partition)
    if partition is not None:
        own = replace(own, profiles={n: replace(p, partition=None) for n, p in own.profiles.items()})
    time = limit or own.time
    try:
        limit_minutes(time)
    except ValueError as error:
        raise UserError(f"--time: {error}.") from None
    study = Submitter(results, nodes or 1).study(strategy_name=strategy, engine=None, **options)
    if array is not None:
        plan = fixed(plan_study(study, chosen), chosen, study.samples)
        samples = len(plan.configs)
        study = replace(study, engine="array", samples=samples, devices=samples * study.devices_per_trial)
    profile = load_profile(study.profile)
    per_node = study.devices_per_trial if study.engine != "ray" else study.devices // (nodes or 1)
    if study.engine != "ray" and per_node > profile.node.devices:
        raise UserError(
            f"--trial-devices {per_node} do not fit on a node of {profile.node.devices}, where each job of "
            f"{chosen.name} runs: give fewer."
        )
    if study.devices_per_trial > profile.node.devices and study.final_epochs:
        raise UserError(
            f"The winner is retrained on one node, and --trial-devices {study.devices_per_trial} are more than its "
            f"{profile.node.devices}: give fewer, or --final-epochs 0."
        )
    submitted = Submitted(
        study=study.to_dict(),
        site=own,
        nodes=nodes or 1,
        node_devices=per_node,
        at_once=at_once,
        time=time,
        folder=Path.cwd(),
    )
    return run_folder(results, study), submitted


def submit_run(run_folder: Path, submitted: Submitted) -> list[Job]:
    """Submit a run, or what is left of it. Raises UserError, and leaves nothing of a new run behind where SLURM takes
    none of it."""
    slurm.require()
    there = run_folder.exists()
    try:
        (run_folder / FOLDER).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot write in {run_folder.parent} ({error.strerror}): give another --results.") from None
    try:
        return submit_left(run_folder, submitted)
    except UserError:
        now = load_jobs(run_folder)
        if not there and (now is None or not now.jobs):
            shutil.rmtree(run_folder)
        raise


def announce(run_folder: Path, jobs: Sequence[Job], *, as_json: bool) -> None:
    """Print what was submitted, and how to watch it; where nothing was, why."""
    if as_json:
        told = {"run": run_folder.name, "folder": str(run_folder), "jobs": [asdict(job) for job in jobs]}
        click.echo(json.dumps(told))
        return
    name = run_folder.name
    named = f"{name}{results_option(run_folder.parent.parent)}"
    if not jobs:
        state = run_state(run_folder)
        if state is not None and state.status == "finished":
            click.echo(f"{name} is finished: {program()} report {named} shows it")
        else:
            click.echo(f"all that is left of {name} is under way: {program()} status {named}")
        return
    for job in jobs:
        tasks = f", {len(job.tasks)} task{'s' * (len(job.tasks) > 1)}" if job.tasks else ""
        click.echo(f"{job.kind:7} job {job.id}{tasks}")
    click.echo(f"run     {name}")
    click.echo(f"watch   {program()} status {named}     (also: logs, cancel, resume)")


def _at_once(array: str | None) -> int | None:
    if array is None or array == ALL_AT_ONCE:
        return None
    if not array.isdecimal() or not int(array):
        raise UserError(f"--array is {array!r}; give the most tasks at once as a whole number, or no value for all.")
    return int(array)
