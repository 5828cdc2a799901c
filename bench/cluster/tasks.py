"""What a job of a run does: the inside of each job script."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from bench.cluster.guard import guard_group
from bench.cluster.jobs import JobKind, Submitted
from bench.cluster.meeting import started_s
from bench.engines.session import Venue
from bench.errors import UserError
from bench.probe import Probe, probe_machine, require_profile
from bench.profile import Profile, load_profile
from bench.progress import Lines
from bench.provenance import collect
from bench.run import run_study, trial_folder
from bench.strategy import load_strategy
from bench.study import Study


def do_job(kind: JobKind, run_folder: Path, submitted: Submitted, environ: Mapping[str, str] = os.environ) -> None:
    """Do a job's part of the run, or what is left of it. Raises UserError, and `bench.run.Interrupted`."""
    study = submitted.read_study()
    if kind == "worker":
        from bench.cluster.worker import work

        print(f"Left: {work(run_folder, submitted, environ)}.", flush=True)
        return
    guard_group()
    profile = load_profile(study.profile)
    if kind == "head":
        _search(run_folder, submitted, study, profile)
        return
    if kind == "final" and study.engine == "array":
        from bench.cluster.gather import gather

        gather(run_folder, study)
    trial = None
    if kind == "task":
        trial = _array_task(environ)
    venue = Venue(trial=trial, retrain=trial is None, held_since_s=started_s())
    _run(run_folder, study, profile, {"probe": _probe(study, profile).to_dict(), "job": kind}, venue)
    if kind == "final":
        shutil.rmtree(trial_folder(run_folder, 1).parent, ignore_errors=True)  # all of it is in the run's journal


def _search(run_folder: Path, submitted: Submitted, study: Study, profile: Profile) -> None:
    from bench.cluster.head import HeadCluster
    from bench.cluster.submit import run_state

    state = run_state(run_folder)
    if state is not None and state.search_finished:  # started again, or by hand: no worker would come
        print("The search is over.", flush=True)
        return
    again = int(os.environ.get("SLURM_RESTART_COUNT", "0")) > 0
    earlier = [job for job in submitted.jobs if job.kind == "head" and job.id != os.environ.get("SLURM_JOB_ID")]
    call = {"call_workers": partial(_call_workers, run_folder)} if again or earlier else {}
    with HeadCluster(run_folder, submitted, profile, **call) as cluster:
        print("The head is up and waits for its first worker.", flush=True)
        held = cluster.first_worker()
        about = {"probe": held.probe, "job": "head", "nodes": submitted.nodes}
        _run(run_folder, study, profile, about, Venue(cluster=cluster, retrain=False))


def _call_workers(run_folder: Path) -> None:
    """Workers may have left an earlier head. Those that are under way are not submitted again."""
    from bench.cluster.submit import submit_left

    try:
        made = submit_left(run_folder)
        if made:
            print(f"Submitted again: {', '.join(f'{job.kind} job {job.id}' for job in made)}.", flush=True)
    except UserError as error:  # no sbatch on compute nodes, or in an image
        print(f"Workers that have left were not submitted again from here: {error}", flush=True)


def _run(run_folder: Path, study: Study, profile: Profile, about: dict[str, Any], venue: Venue) -> None:
    """`about`: what the record says beside the software: the probe of the node that trains, the kind of job, and the
    nodes that a search under Ray may hold."""
    run_study(
        study,
        load_strategy(study.strategy_file or study.strategy),
        profile,
        results=run_folder.parent.parent,
        provenance=collect() | about,
        observers=(Lines(study, profile.unit).show,),
        venue=venue,
    )


def _probe(study: Study, profile: Profile) -> Probe:
    """This node's, which has what a trial needs. Raises UserError."""
    shallow = probe_machine()
    probe = probe_machine(deep=True) if shallow.gpus else shallow
    require_profile(study.profile, probe)
    if profile.gpu is not None and len(probe.gpus) < study.devices_per_trial:
        raise UserError(
            f"This job shows {len(probe.gpus)} GPUs, and a trial takes {study.devices_per_trial}: correct gres in the "
            "site file, then resume the run."
        )
    return probe


def _array_task(environ: Mapping[str, str]) -> int:
    try:
        return int(environ["SLURM_ARRAY_TASK_ID"])
    except (KeyError, ValueError):
        raise UserError("This job is no task of an array: submit the run with sweepmark submit --array.") from None
