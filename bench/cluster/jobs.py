"""What was submitted for a run: kept in its folder, so that it can be watched, cancelled and gone on with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

from bench.cluster.site import Site
from bench.errors import UserError
from bench.files import write_together
from bench.study import Study

FOLDER = "slurm"
"""Under a run's folder: scripts, logs and what jobs tell each other."""

JOBS_NAME = "jobs.json"
SCHEMA_VERSION = 1
MAX_BYTES = 16 * 2**20

JobKind = Literal["serial", "task", "head", "worker", "final"]
"""`serial`: a whole run, one trial after the other. `task`: an array, one trial each. `head`: the search of a strategy
under Ray, with no devices of its own. `worker`: an array of nodes that join it. `final`: gathers an array's tasks,
where there are any, and retrains the winner."""

ARRAYS: tuple[JobKind, ...] = ("task", "worker")


@dataclass(frozen=True, kw_only=True)
class Job:
    """`id`: SLURM's, of the whole array where it is one. `tasks`: the array's indices (those of `task` are the trials'
    numbers, from 1). `submitted_s`: Unix time."""

    id: str
    kind: JobKind
    tasks: tuple[int, ...] = ()
    submitted_s: float

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    def __post_init__(self) -> None:
        if bool(self.tasks) != (self.kind in ARRAYS):
            raise ValueError(f"a job of kind {self.kind} with tasks {self.tasks}")


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """A run on a cluster. `study`: as `Study.to_dict` gives it. `nodes`: workers of a strategy under Ray (of
    others: 1). `node_devices`: held on each. `at_once`: tasks of an array that may run at the same time (None: all).
    `time`: limit of each job in SLURM's words. `folder`: where jobs run, and the study's paths are looked for.
    `jobs`: all that were ever submitted."""

    schema_version: int = SCHEMA_VERSION
    study: dict[str, object]
    site: Site
    nodes: int
    node_devices: int
    at_once: int | None = None
    time: str
    folder: Path
    jobs: tuple[Job, ...] = ()

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    def read_study(self) -> Study:
        """Raises ValueError or TypeError where it is malformed."""
        return Study.from_dict(self.study)

    def with_jobs(self, *jobs: Job) -> Submitted:
        return replace(self, jobs=(*self.jobs, *jobs))

    def newest(self, kind: JobKind) -> Job | None:
        """The job of that kind that was submitted last."""
        return next((job for job in reversed(self.jobs) if job.kind == kind), None)


def jobs_path(run_folder: Path) -> Path:
    return run_folder / FOLDER / JOBS_NAME


def log_path(run_folder: Path, job: Job, task: int | None = None) -> Path:
    """What the job, or a task of its array, printed."""
    return run_folder / FOLDER / "logs" / f"{job.kind}-{job.id}{'' if task is None else f'_{task}'}.out"


def save_jobs(run_folder: Path, submitted: Submitted) -> None:
    """Raises UserError where it cannot be written."""
    from pydantic import TypeAdapter

    data = TypeAdapter(Submitted).dump_json(submitted, indent=1)
    write_together({jobs_path(run_folder): data + b"\n"})


def load_jobs(run_folder: Path) -> Submitted | None:
    """None where the run was not submitted to a cluster. Raises UserError where the file is damaged."""
    from pydantic import TypeAdapter, ValidationError

    path = jobs_path(run_folder)
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            submitted = TypeAdapter(Submitted).validate_json(file.read(MAX_BYTES))
        submitted.read_study()
    except (OSError, ValidationError, ValueError, TypeError) as error:
        raise UserError(f"Cannot read {path} ({str(error).splitlines()[0]}): submit the run again.") from None
    return submitted
