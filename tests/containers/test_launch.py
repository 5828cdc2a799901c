"""What a contained run is started with, what of the host it sees, and what is refused before anything starts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bench.container.binding import bound
from bench.container.driver import check_driver
from bench.container.inside import image_facts
from bench.container.launch import Bind, command, find_runtime, image_of, run_inside
from bench.container.sif import Image
from bench.errors import UserError
from bench.probe import GpuDevice, Probe
from bench.profile import load_profile
from bench.run import _check_same_inputs
from tests.cli.test_cli import call
from tests.containers.sifs import DEFINITION, LABELS, write_sif

V100 = GpuDevice(name="Tesla V100-SXM2-16GB", memory_mib=16160, compute_capability=(7, 0))
GPU_LABELS = LABELS | {"sweepmark.cuda": "12.8.1"}

FAKE = """#!{python}
import json, os, sys
print(json.dumps({{"words": sys.argv[1:], "names": sorted(os.environ)}}))
sys.exit(7)
"""


def machine(**changes: object) -> Probe:
    facts = {"cpu_model": "Xeon", "cpus": 8, "memory_mib": 1000, "os": "Debian", "kernel": "6", "python": "3.11"}
    return Probe(**facts | changes)  # type: ignore[arg-type]


def fake_runtime(folder: Path, name: str = "apptainer") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(FAKE.format(python=sys.executable))
    path.chmod(0o755)
    return path


def test_apptainer_is_preferred_and_its_absence_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no Apptainer .* install it"):
        find_runtime(str(tmp_path))
    singularity = fake_runtime(tmp_path, "singularity")
    assert find_runtime(str(tmp_path)) == str(singularity)
    assert find_runtime(str(tmp_path)) != str(fake_runtime(tmp_path))
    assert find_runtime(str(tmp_path)).endswith("/apptainer")


def test_every_profile_has_an_image_and_a_missing_one_is_said(tmp_path: Path) -> None:
    images = {name: load_profile(name).image for name in ("cpu", "v100", "a100", "h100", "h200")}
    assert images == {"cpu": "cpu", "v100": "v100", "a100": "a100", "h100": "a100", "h200": "a100"}
    with pytest.raises(UserError, match="make container PROFILE=h200"):
        image_of(load_profile("h200"), tmp_path)
    (tmp_path / "a100.sif").touch()
    assert image_of(load_profile("h200"), tmp_path) == tmp_path / "a100.sif"


def test_the_command_is_closed_off(tmp_path: Path) -> None:
    environ = {"PYTHONPATH": "/home/x", "NO_COLOR": "1", "PATH": "/bin", "CUDA_VISIBLE_DEVICES": "0"}
    binds = [Bind(host=tmp_path, inside=Path("/sweepmark/results"), writable=True)]
    image = tmp_path / "a.sif"
    words = command("apptainer", image, ["run"], binds=binds, scratch=tmp_path / "s", gpus=True, environ=environ)
    assert words[:6] == ["apptainer", "run", "--containall", "--no-home", "--cleanenv", "--nv"]
    assert words[-2:] == [str(image), "run"]
    assert f"{image}:/sweepmark/image.sif:ro" in words
    assert f"{tmp_path}:/sweepmark/results:rw" in words
    given = [words[at + 1] for at, word in enumerate(words) if word == "--env"]
    assert "CUDA_VISIBLE_DEVICES=0" in given
    assert "NO_COLOR=1" in given
    assert not any(word.startswith(("PYTHONPATH", "PATH")) for word in given)
    without = command("apptainer", image, [], binds=[], scratch=tmp_path, gpus=False, environ={})
    assert "--nv" not in without


def test_a_path_that_would_bind_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="rename it"):
        str(Bind(host=tmp_path / "a:b", inside=Path("/x")))


def test_only_what_the_command_names_is_bound(tmp_path: Path) -> None:
    (tmp_path / "data.json").touch()
    (tmp_path / "mine.py").touch()
    (tmp_path / "hub").mkdir()
    results = tmp_path / "results"
    words = ["--strategy", f"{tmp_path}/mine.py", f"--dataset={tmp_path}/data.json", "--bs-choices", "8 16"]
    words += ["--results", str(results), "--container", "a.sif", "--seed=3", "--space", "lora"]
    inner, binds = bound(words, results, named="a.sif", huggingface=tmp_path / "hub")
    assert inner == [
        "--strategy", "/sweepmark/strategy/mine.py", "--dataset", "/sweepmark/dataset/data.json",
        "--bs-choices", "8 16", "--seed=3", "--space", "lora", "--results", "/sweepmark/results",
    ]  # fmt: skip
    assert {(b.host, str(b.inside), b.writable) for b in binds} == {
        (results, "/sweepmark/results", True),
        (results / "runs/.cache/container", "/sweepmark/cache", True),
        (tmp_path / "hub", "/sweepmark/huggingface", True),
        (tmp_path / "mine.py", "/sweepmark/strategy/mine.py", False),
        (tmp_path / "data.json", "/sweepmark/dataset/data.json", False),
    }


@pytest.mark.parametrize(("own", "named"), [(["--container"], None), (["--container=b.sif"], "b.sif")])
def test_the_option_itself_stays_outside(tmp_path: Path, own: list[str], named: str | None) -> None:
    inner, binds = bound(["--strategy", "asha", *own, "--fresh"], tmp_path, named=named)
    assert inner == ["--strategy", "asha", "--fresh", "--results", "/sweepmark/results"]
    assert len(binds) == 2


def test_a_missing_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no .*none\.json for --dataset"):
        bound(["--dataset", str(tmp_path / "none.json")], tmp_path, named=None)


@pytest.mark.parametrize(
    ("probe", "refused"),
    [
        (machine(no_gpu_reason="NVML library not found"), "needs a GPU with driver 525.60.13 or newer"),
        (machine(gpus=(V100,), driver="470.1", cuda_driver="11.4"), "driver 470.1 here serves CUDA 11.4 at most"),
        (machine(gpus=(V100,), driver="525.60.13", cuda_driver="12.0"), None),
        (machine(gpus=(V100,), driver="580.1", cuda_driver="13.0"), None),
    ],
)
def test_a_driver_serves_its_own_cuda_and_older_ones(tmp_path: Path, probe: Probe, refused: str | None) -> None:
    image = Image.open(write_sif(tmp_path / "a.sif", labels=GPU_LABELS))
    if refused is None:
        check_driver(image, probe)
        return
    with pytest.raises(UserError, match=refused):
        check_driver(image, probe)


def test_an_image_without_cuda_needs_no_driver(tmp_path: Path) -> None:
    check_driver(Image.open(write_sif(tmp_path / "a.sif")), machine())


def root_of(folder: Path, labels: dict[str, str] = LABELS, definition: str = DEFINITION) -> Path:
    mark, kept = folder / ".singularity.d", folder / "opt/sweepmark"
    mark.mkdir(parents=True)
    kept.mkdir(parents=True)
    (mark / "labels.json").write_text(json.dumps(labels))
    (mark / "Singularity").write_text(definition)
    (kept / "definition.sha256").write_text("b" * 64 + "\n")
    (kept / "dpkg-list.txt").write_text("g++\t4:12.2.0-3\tamd64\nlibc6\t2.36\tamd64\n")
    return folder


def test_inside_an_image_the_facts_are_read_from_it(tmp_path: Path) -> None:
    file = write_sif(tmp_path / "a.sif")
    facts = image_facts(root_of(tmp_path / "root"), file)
    assert facts == {
        "digest": Image.open(file).digest(),
        "definition_sha256": "b" * 64,
        "labels": LABELS,
        "debian": {"g++": "4:12.2.0-3", "libc6": "2.36"},
        "git": {"commit": "a" * 40, "clean": True},
    }
    assert image_facts(tmp_path / "root", tmp_path / "none.sif") == facts | {"digest": None}
    changed = root_of(tmp_path / "changed", LABELS | {"sweepmark.commit": "a" * 40 + "+changes"})
    assert (image_facts(changed, tmp_path / "none") or {})["git"] == {"commit": "a" * 40, "clean": False}
    unknown = root_of(tmp_path / "unknown", LABELS | {"sweepmark.commit": "unknown"})
    assert (image_facts(unknown, tmp_path / "none") or {})["git"] is None


def test_outside_there_are_none(tmp_path: Path) -> None:
    assert image_facts(tmp_path) is None
    (tmp_path / ".singularity.d").mkdir()
    assert image_facts(tmp_path) is None


@pytest.mark.parametrize("other", [{"labels": LABELS | {"a": "b"}}, {"definition": "another"}])
def test_another_images_file_is_not_believed(tmp_path: Path, other: dict[str, object]) -> None:
    file = write_sif(tmp_path / "a.sif", **other)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="not the image that runs here"):
        image_facts(root_of(tmp_path / "root"), file)


def test_the_command_line_starts_it_and_gives_its_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    image = write_sif(tmp_path / "a.sif")
    fake_runtime(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    results = tmp_path / "results"
    options = ("--strategy", "asha", "--results", results, "--container", image, "--set", "brackets=2")
    assert call("run", *options, monkeypatch=monkeypatch) == 7
    told = capfd.readouterr()
    words = json.loads(told.out)["words"]
    start = words.index(str(image))
    assert words[start + 1 :] == [
        "run", "--strategy", "asha", "--set", "brackets=2", "--results", "/sweepmark/results"
    ]  # fmt: skip
    assert "Running in" in told.err
    assert call("run", "--strategy", "asha", "--container", tmp_path / "no.sif", monkeypatch=monkeypatch) == 2
    assert "Cannot read the image" in capfd.readouterr().err


def test_a_signal_ends_the_inside_first(tmp_path: Path) -> None:
    waiting = tmp_path / "waiting.py"
    waiting.write_text(
        "import pathlib, signal, sys, time\n"
        "def end(*_): sys.exit(130)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        f"pathlib.Path({str(tmp_path / 'ready')!r}).touch()\n"
        "time.sleep(30)\n"
    )

    def ask() -> None:
        while not (tmp_path / "ready").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=ask).start()
    assert run_inside([sys.executable, str(waiting)]) == 130


def test_a_run_goes_on_in_its_own_image_alone() -> None:
    here, other = ({"image": {"digest": f"sha256:{letter * 64}"}} for letter in "ab")
    _check_same_inputs(here, here)
    _check_same_inputs({"image": None}, {})
    for before, now in ((here, other), (here, {"image": None}), ({}, here)):
        with pytest.raises(UserError, match=r"began in (no image|image sha256:.*) and would go on in .*--container"):
            _check_same_inputs(before, now)


def test_what_runs_without_an_image_says_so() -> None:
    code = "import json; from bench.provenance import collect; print(json.dumps(collect()['image']))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "null"
