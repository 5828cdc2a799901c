"""Job scripts: one template, filled with what profile and site ask for."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.cluster.site import Partition, Site
from bench.errors import UserError
from bench.profile import Profile

TEMPLATE = Path(__file__).with_name("templates") / "job.sh"
HEAD_CPUS = 2
HEAD_MEMORY_MIB = 4_096
"""For Ray's control processes, the driver and its libraries."""

PASSED = (
    "CUDA_VISIBLE_DEVICES", "GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME",
    "HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "SLURM_ARRAY_JOB_ID",
    "SLURM_ARRAY_TASK_ID", "SLURM_CPUS_PER_TASK", "SLURM_JOB_ID", "SLURM_RESTART_COUNT", "SLURMD_NODENAME",
    "SWEEPMARK_NODE_ADDRESS", "SWEEPMARK_STARTED_S", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy",
    "https_proxy", "no_proxy",
)  # fmt: skip
"""Variables of a job that reach the inside of an image."""

_SCRATCH = "@scratch@"
_PASSED = "@passed@"


def trial_cpus(profile: Profile, devices: int) -> int:
    """CPU cores of a job that holds so many devices, with those of the engine."""
    return min(profile.node.cpus, devices * profile.cpus_per_device + profile.node.system_cpus)


def options(
    site: Site,
    profile: Profile,
    *,
    name: str,
    devices: int,
    log: Path,
    time: str | None = None,
    array: str | None = None,
    requeue: bool = True,
) -> list[str]:
    """Options of sbatch for a job, or each task of an array (`array`: as in `1-4`), on one node with so many of the
    profile's devices; none for one that only drives others. `log`: with SLURM's %j, or %A and %a. `time`: the limit."""
    here = site.profiles.get(profile.name, Partition())
    constraint = profile.slurm.constraint if here.constraint is None else here.constraint
    gres = profile.slurm.gres if here.gres is None else here.gres
    held = devices * profile.slurm.memory_mib_per_device
    found = [
        f"--job-name={name}",
        f"--output={log}",
        "--open-mode=append",
        "--nodes=1",
        "--ntasks=1",
        f"--cpus-per-task={trial_cpus(profile, devices) if devices else HEAD_CPUS}",
        f"--mem={held if devices else HEAD_MEMORY_MIB}M",
        f"--time={time or site.time}",
        f"--signal=B:TERM@{site.warn_s}",
        "--requeue" if requeue else "--no-requeue",
    ]
    if devices:
        if profile.gpu is not None:
            found.append(f"--gpus-per-node={f'{gres}:' if gres else ''}{devices}")
        if constraint:
            found.append(f"--constraint={constraint}")
    if array is not None:
        found.append(f"--array={array}")
    partition = here.partition or site.partition
    if not devices:
        partition = site.head_partition or partition
    asked = {"account": site.account, "partition": partition, "qos": site.qos}
    found += [f"--{option}={value}" for option, value in asked.items() if value]
    for option in (*found, *site.sbatch):
        if not option.startswith("-") or "\n" in option:
            raise UserError(f"'{option}' is no option of sbatch: correct 'sbatch' in the site file.")
    return [_quoted(option) for option in (*found, *site.sbatch)]


def script(
    site: Site,
    sbatch: Sequence[str],
    words: Sequence[str],
    *,
    results: Path,
    folder: Path = Path("/"),
    inputs: Sequence[Path] = (),
) -> str:
    """A job script that runs `sweepmark WORDS` with the options `sbatch`. `results`: written by it. `inputs`:
    absolute paths, read by it, which it may name from `folder`. All are called alike in an image. Raises UserError."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        options=[*sbatch, _quoted(f"--chdir={folder}")],
        modules=[shlex.quote(module) for module in site.modules],
        setup=list(site.setup),
        offline=site.offline,
        interface=shlex.quote(site.interface) if site.interface else None,
        scratch=shlex.quote(str(site.scratch)),
        passed=PASSED if site.container else (),
        command=_command(site, words, results, folder, inputs),
    )


def _command(site: Site, words: Sequence[str], results: Path, folder: Path, inputs: Sequence[Path]) -> str:
    if site.container is None:
        programs = site.environment / "bin" if site.environment else Path(sys.executable).parent
        return shlex.join([str(programs.absolute() / "sweepmark"), *words])
    from bench.container.launch import CACHE, HUGGINGFACE, Bind, command, find_runtime
    from bench.container.sif import Image

    try:
        runtime = Path(find_runtime()).name
    except UserError:
        runtime = "apptainer"  # which a module of the site brings
    gpus = Image.open(site.container).labels.get("sweepmark.cuda", "none") != "none"
    cache = results / "runs" / ".cache" / "container"
    cache.mkdir(parents=True, exist_ok=True)
    hub = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    binds = [
        Bind(host=results.resolve(), inside=results.resolve(), writable=True),
        Bind(host=cache.resolve(), inside=CACHE, writable=True),
        *(Bind(host=path.resolve(), inside=path) for path in inputs),
        *([Bind(host=hub.resolve(), inside=HUGGINGFACE, writable=True)] if hub.is_dir() else []),
    ]
    more = [_PASSED, *(["--pwd", str(folder)] if inputs else [])]
    line = command(
        runtime, site.container, words, binds=binds, scratch=Path(_SCRATCH), gpus=gpus, environ={}, more=more
    )
    return shlex.join(line).replace(shlex.quote(_SCRATCH), '"$scratch"').replace(shlex.quote(_PASSED), '"${passed[@]}"')


def _quoted(option: str) -> str:
    """As a #SBATCH line needs it."""
    return shlex.quote(option) if any(character in option for character in " \t\"'#\\") else option
