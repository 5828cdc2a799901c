"""The images, built and run by Apptainer on this machine; their bases are stand-ins made from Debian's packages.

Real CUDA bases and GPUs are not to be had here: the V100 and A100 definitions are built unmodified, with the CPU's
locks.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.record import Record, record_run
from containers.testing import wheels
from containers.testing.images import CONTAINERS, REPOSITORY, StepFailed, Workshop
from tests.cluster.throwaway import missing, throwaway_cluster, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

GPU_PROFILES = ("v100", "a100")
CPU_LOCK = {
    "lock": "containers/cpu.lock",
    "debs": "containers/cpu.debs",
    "python": "3.11",
    "torch": "2.13.0+cpu",
    "cuda": "none",
    "cudnn": "none",
    "arch": "none",
}
"""What of a GPU definition becomes the CPU's where there is no CUDA base."""

BENCH = ("--strategy", "random", "--seed", "1", "--no-baseline")


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    if os.environ.get("SWEEPMARK_CONTAINER_TESTS") != "1":
        pytest.skip("images are built by `make test-containers` alone: it takes about ten minutes")
    if sys.platform != "linux" or os.uname().machine != "x86_64" or os.geteuid() != 0:
        pytest.skip("Apptainer is set up by root, on Linux and x86-64")
    if subprocess.run(["which", "apt-get", "unshare"], capture_output=True, check=False).returncode:
        pytest.skip("Apptainer is set up from Debian's packages: there is no apt-get or unshare here")
    kept = os.environ.get("SWEEPMARK_CONTAINER_CACHE")
    folder = Path(kept).resolve() if kept else tmp_path_factory.mktemp("images")
    folder.mkdir(parents=True, exist_ok=True)
    workshop = Workshop(folder=folder)
    try:
        assert "apptainer version" in workshop.inside("apptainer", "--version")
    except StepFailed as failed:
        pytest.skip(f"Apptainer cannot be set up here: {failed}")
    yield workshop
    mounts = Path("/proc/mounts").read_text(encoding="utf-8")
    assert str(folder / "root") not in mounts, "something of Apptainer's root stayed mounted"


@pytest.fixture(scope="module")
def cpu_arguments(workshop: Workshop) -> dict[str, str]:
    # Filled once: the project's own wheel is one of the inputs.
    return {"base": f"debian@{workshop.stand_in('bookworm')}", "wheelhouse": str(workshop.wheelhouse("cpu"))}


@pytest.fixture(scope="module")
def image(workshop: Workshop, cpu_arguments: dict[str, str]) -> Path:
    image = workshop.folder / "cpu.sif"
    said = workshop.build("cpu", image, cpu_arguments)
    assert "selftest: Python 3.11, torch 2.13.0+cpu, none" in said
    return image


def digest(workshop: Workshop, image: Path) -> str:
    """Of the squashfs partition, as Apptainer itself finds it."""
    part = re.search(r"^(\d+) .*Squashfs", workshop.inside("apptainer", "sif", "list", image), re.MULTILINE)
    assert part is not None
    dumped = workshop.inside("sh", "-c", 'apptainer sif dump "$0" "$1" | sha256sum', part[1], image)
    return dumped.split()[0]


def labels(workshop: Workshop, image: Path) -> dict[str, str]:
    found = json.loads(workshop.execute(image, "cat", "/.singularity.d/labels.json"))
    return {key.removeprefix("sweepmark."): value for key, value in found.items() if key.startswith("sweepmark.")}


def pins(lock: str) -> dict[str, str]:
    content = (CONTAINERS / lock).read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", content, re.MULTILINE))


def test_two_builds_give_the_same_image(workshop: Workshop, image: Path, cpu_arguments: dict[str, str]) -> None:
    again = workshop.folder / "again.sif"
    workshop.build("cpu", again, cpu_arguments)
    assert digest(workshop, again) == digest(workshop, image)
    again.unlink()


def test_an_image_says_what_it_holds(workshop: Workshop, image: Path, cpu_arguments: dict[str, str]) -> None:
    kept = workshop.execute(
        image, "sh", "-c", "cd /opt/sweepmark && cat definition.sha256 pip-freeze.txt dpkg-list.txt"
    )
    definition = (CONTAINERS / "cpu.def").read_bytes()
    assert kept.split("\n", 1)[0] == hashlib.sha256(definition).hexdigest()
    frozen = {
        re.sub(r"[-_.]+", "-", name).lower(): version
        for name, version in re.findall(r"^(\S+)==(\S+)$", kept, re.MULTILINE)
    }
    assert frozen.pop("sweepmark")
    assert frozen == pins("cpu.lock")
    assert re.search(r"^g\+\+\t\S+\tamd64$", kept, re.MULTILINE)
    found = labels(workshop, image)
    assert found["base"] == cpu_arguments["base"]
    assert found["lock-sha256"] == hashlib.sha256((CONTAINERS / "cpu.lock").read_bytes()).hexdigest()
    assert (found["profile"], found["python"], found["torch"]) == ("cpu", "3.11", "2.13.0+cpu")
    left = workshop.execute(
        image, "sh", "-c", "ls -A /var/log /var/lib/apt/lists /var/cache/apt /opt/sweepmark; ls /etc/*-; true"
    )
    assert "wheelhouse" not in left
    assert not re.search(r"\.log$|_Packages|\.deb$|/etc/passwd-", left, re.MULTILINE)


def test_the_runscript_is_the_program(workshop: Workshop, image: Path) -> None:
    said = workshop.inside("apptainer", "run", "--userns", "--containall", "--no-home", "--cleanenv", image, "--help")
    assert "Usage: sweepmark [OPTIONS] COMMAND" in said


def test_a_bench_inside_decides_and_trains_as_one_outside(workshop: Workshop, image: Path, tmp_path: Path) -> None:
    programs, inside, outside = (tmp_path / name for name in ("bin", "inside", "outside"))
    programs.mkdir()
    workshop.runtime(programs, Path(tempfile.gettempdir()))
    program = Path(sys.executable).with_name("sweepmark")
    for results, contained in ((inside, ("--container", image)), (outside, ())):
        subprocess.run(
            [program, "run", *BENCH, "--results", results, *contained],
            env=os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"},
            check=True, cwd=tmp_path, timeout=900, capture_output=True,
        )  # fmt: skip

    def record(results: Path) -> Record:
        (folder,) = results.glob("runs/[!.]*/")
        return record_run(folder)

    def losses(record: Record) -> list[tuple[object, ...]]:
        return [(t.number, t.config, t.state, [point.eval_loss for point in t.curve]) for t in record.trials]

    assert len(losses(record(inside))) > 12, "twelve trials and the retrained winner"
    assert losses(record(inside)) == losses(record(outside))
    told = record(inside).provenance
    assert told["image"]["digest"] == f"sha256:{digest(workshop, image)}"
    assert told["image"]["definition_sha256"] == hashlib.sha256((CONTAINERS / "cpu.def").read_bytes()).hexdigest()
    assert "g++" in told["image"]["debian"]
    assert told["lock"] == {
        "sha256": hashlib.sha256((CONTAINERS / "cpu.lock").read_bytes()).hexdigest(), "differences": []
    }  # fmt: skip
    assert record(outside).provenance["image"] is None


def test_jobs_on_a_cluster_run_in_the_image(workshop: Workshop, image: Path, tmp_path: Path) -> None:
    """The same job scripts as without: a search under Ray on two nodes, and a job array."""
    if reason := missing():
        pytest.skip(reason)
    programs, results, site = (tmp_path / name for name in ("bin", "results", "site.toml"))
    programs.mkdir()
    workshop.runtime(programs, Path(tempfile.gettempdir()))
    setup = ["export SWEEPMARK_NODE_ADDRESS=127.0.1.${SLURMD_NODENAME#node}", f"export PATH={programs}:$PATH"]
    site.write_text(
        f'schema_version = 1\npartition = "gpu"\ntime = "00:30:00"\ncontainer = "{image}"\nsetup = {setup}\n',
        encoding="utf-8",
    )
    small = ("--profile", "cpu", "--samples", "3", "--epochs", "2", "--final-epochs", "2")
    with throwaway_cluster(cpus=2) as cluster:
        environment = os.environ | cluster.environment
        for words in (("asha", "--nodes", "2", "--devices", "2"), ("random", "--array")):
            subprocess.run(
                [Path(sys.executable).with_name("sweepmark"), "submit", *words, *small, "--results", results,
                 "--site", site],
                env=environment, check=True, cwd=tmp_path, timeout=120, capture_output=True,
            )  # fmt: skip
        queue = ["squeue", "--noheader"]
        wait_for(
            "the jobs to end",
            lambda: not subprocess.run(queue, env=environment, capture_output=True, check=True).stdout.strip(),
            within_s=900,
        )
    records = {folder.name.partition("-")[0]: record_run(folder) for folder in results.glob("runs/[!.]*/")}
    logs = "\n".join(path.read_text(encoding="utf-8") for path in results.glob("runs/*/slurm/logs/*"))
    assert {name: record.status for name, record in records.items()} == {"asha": "finished", "random": "finished"}, logs
    for record in records.values():
        assert record.provenance["image"]["digest"] == f"sha256:{digest(workshop, image)}"
    first = {name: record.trial("0001").curve[0].eval_loss for name, record in records.items()}
    assert first["asha"] == first["random"], "of one configuration and one seed, under Ray and in an array"


def test_verifying_finds_the_stand_in_and_lists_every_package(workshop: Workshop, image: Path, tmp_path: Path) -> None:
    workshop.runtime(tmp_path)
    done = subprocess.run(
        [Path(sys.executable).with_name("sweepmark"), "image", "verify", image, "--json"],
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    report = json.loads(done.stdout)
    failed = {row["check"] for row in report["tables"]["checks"]["rows"] if row["verdict"] == "FAILS"}
    assert failed == {"inputs", "commit"}, "its base is a stand-in, and it was built for no commit"
    assert done.returncode == 1
    assert report["facts"]["digest"] == f"sha256:{digest(workshop, image)}"
    bill = json.loads(image.with_name("cpu.sif.cdx.json").read_text(encoding="utf-8"))
    names = {component["name"]: component for component in bill["components"]}
    assert pins("cpu.lock").keys() - {re.sub(r"[-_.]+", "-", name).lower() for name in names} == set()
    assert {"libc6", "g++"} <= names.keys()
    assert sum("licenses" in component for component in names.values()) > 0.9 * len(names)


def test_the_self_test_finds_a_torch_without_the_kernels(workshop: Workshop, image: Path) -> None:
    """The labels are bound over by others, that promise what this image does not hold."""
    for changed, fault in (
        ({"sweepmark.torch": "2.10.0"}, "the label says torch 2.10.0, this is 2.13.0"),
        ({"sweepmark.python": "3.12"}, "the label says Python 3.12, this is 3.11"),
        ({"sweepmark.arch": "sm_70"}, "_cuda_getArchFlags"),
    ):
        false = workshop.folder / "labels.json"
        true = workshop.execute(image, "cat", "/.singularity.d/labels.json")
        false.write_text(json.dumps(json.loads(true) | changed), encoding="utf-8")
        with pytest.raises(StepFailed, match=re.escape(fault)):
            workshop.execute(
                image, "python", "/opt/sweepmark/selftest.py", binds=[f"{false}:/.singularity.d/labels.json"]
            )


def test_another_lock_than_the_definition_names_is_refused(
    workshop: Workshop, cpu_arguments: dict[str, str], tmp_path: Path
) -> None:
    other = cpu_arguments | {"lock": "containers/gpu.lock"}
    with pytest.raises(StepFailed, match=r"python\.lock is not the lock that the definition names"):
        workshop.build("cpu", workshop.folder / "other.sif", other)
    assert not (workshop.folder / "other.sif").exists()


@pytest.mark.parametrize("profile", GPU_PROFILES)
def test_the_gpu_definitions_are_built_as_they_are(
    workshop: Workshop, cpu_arguments: dict[str, str], profile: str
) -> None:
    locks = {
        f"{name}_sha256": hashlib.sha256((REPOSITORY / CPU_LOCK[name]).read_bytes()).hexdigest()
        for name in ("lock", "debs")
    }
    base = cpu_arguments["base"].replace("debian@", "nvidia/cuda@")
    image = workshop.folder / f"{profile}.sif"
    said = workshop.build(profile, image, cpu_arguments | CPU_LOCK | locks | {"base": base})
    assert "all is well" in said
    found = labels(workshop, image)
    assert (found["profile"], found["base"]) == (profile, base)
    definition = (CONTAINERS / f"{profile}.def").read_bytes()
    assert (
        workshop.execute(image, "cat", "/opt/sweepmark/definition.sha256").strip()
        == hashlib.sha256(definition).hexdigest()
    )
    image.unlink()


def test_what_the_gpu_images_take_from_ubuntu_installs_over_its_first_release(workshop: Workshop) -> None:
    """Older than any base that may come: whatever these packages need newer must be among them."""
    workshop.stand_in("noble")
    debs = workshop.folder / "wheelhouse/gpu/debs"
    subprocess.run([CONTAINERS / "wheelhouse.sh", "gpu", debs.parent, "debs"], check=True, timeout=900)
    said = workshop.inside(
        "sh",
        "-euc",
        """cd "$0"; rm -rf noble; mkdir noble; tar -xf noble.tar -C noble --exclude='./dev/*'; cp -r "$1" noble/debs
        chroot noble sh -euc '
            DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends /debs/*.deb
            python3 --version; g++ --version; python3 -m venv --without-pip /venv; cat /usr/include/python3.12/Python.h'
        rm -rf noble""",
        workshop.folder,
        debs,
    )
    assert "Python 3.12." in said
    assert "g++ (Ubuntu 13." in said


def test_the_gpu_lock_is_to_be_had_and_has_kernels_for_every_gpu_profile() -> None:
    """Without fetching it: pip chooses the files, their servers tell the sizes, torch's kernels are read from afar."""
    if os.environ.get("SWEEPMARK_CONTAINER_TESTS") != "1":
        pytest.skip("asks the package registry: `make test-containers` does")
    chosen = wheels.resolve("gpu")
    assert {re.sub(r"[-_.]+", "-", w.name).lower(): w.version for w in chosen} == pins("gpu.lock")
    assert all(wheel.size > 0 for wheel in chosen)
    (torch,) = [wheel for wheel in chosen if wheel.name == "torch"]
    found = wheels.architectures(torch.url, wheels.KERNELS[0])
    for profile in GPU_PROFILES:
        promised = re.search(
            r"^ {4}arch=(\S+)", (CONTAINERS / f"{profile}.def").read_text(encoding="utf-8"), re.MULTILINE
        )
        assert promised is not None
        assert all(found[arch] > 0 for arch in promised[1].split(","))
