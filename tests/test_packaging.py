"""The lock, the wheel, and the Makefile's set-up with a stand-in for Python."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bench.provenance import differences, locked_versions

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.lock"
LEFT_OUT = {"netifaces"}  # needs a compiler, and is imported only to name a network card
CUDA = re.compile(r"(nvidia|cuda)-(?!ml-py)|triton")


def project() -> dict[str, Any]:
    return dict(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"])


def test_the_lock_pins_exactly_and_forces_no_cuda_package() -> None:
    lines = [line for line in LOCK.read_text(encoding="utf-8").splitlines() if not line.startswith("#") and line]
    assert [line for line in lines if not re.match(r"[a-z0-9-]+==[0-9][\w.]*( |$)", line)] == []
    assert [name for name in locked_versions(LOCK) if CUDA.match(name)] == []
    assert "://" not in LOCK.read_text(encoding="utf-8")


def test_the_lock_meets_pyproject() -> None:
    pins = locked_versions(LOCK)
    data = project()
    for line in [*data["dependencies"], *data["optional-dependencies"]["dev"]]:
        wanted = Requirement(line)
        assert wanted.specifier.contains(pins[canonicalize_name(wanted.name)]), line


def test_the_lock_is_complete_for_what_is_installed() -> None:
    pins = locked_versions(LOCK)
    found = differences(pins, {name: installed(name) for name in pins})
    if found:
        pytest.skip(f"not the locked environment: {'; '.join(found)}")
    extras = {"ray": "tune"}
    missing = set()
    for name in pins:
        for line in requires(name) or []:
            wanted = Requirement(line)
            if wanted.marker is None or wanted.marker.evaluate({"extra": extras.get(name, "")}):
                missing |= {canonicalize_name(wanted.name)} - set(pins)
    assert {name for name in missing if not CUDA.match(name)} == LEFT_OUT


def installed(name: str) -> str | None:
    try:
        return version(name)
    except ModuleNotFoundError:
        return None


def files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.suffix in (".py", ".toml", ".csv")]


def test_a_wheel_carries_what_lies_beside_the_package(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "-w",
            str(tmp_path),
            str(ROOT),
        ],
        check=True,
    )
    (wheel,) = tmp_path.glob("sweepmark-*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    assert not list(site.rglob("__pycache__"))
    names = {path.relative_to(site).as_posix() for path in site.rglob("*")}
    for folder in ("strategies", "hardware_profiles", "results/published"):
        assert {f"bench/resources/{path.relative_to(ROOT)}" for path in files(ROOT / folder)} <= names
    for folder in ("bench/workloads", "bench/recipes"):
        assert {str(path.relative_to(ROOT)) for path in files(ROOT / folder)} <= names
    assert not [name for name in names if name.startswith(("tests", "strategies"))]
    entry_points = next(site.glob("*.dist-info/entry_points.txt")).read_text(encoding="utf-8")
    assert "sweepmark = bench.cli:main" in entry_points

    code = (
        "import bench; from bench.profile import profile_names; from bench.provenance import collect\n"
        "from bench.resources import resource_dir\n"
        "made = collect()\n"
        "assert 'v100' in profile_names() and made['git'] is None and made['lock'], made\n"
        "print(bench.__file__, resource_dir('strategies'), sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == [str(site / "bench/__init__.py"), str(site / "bench/resources/strategies")]


# The Makefile. A stand-in for Python notes what it is called with, and "installs" copies of itself.
STAND_IN = """#!/bin/sh
echo "$*" >> "$CALLS"
case "$*" in
    *"version_info"*) exit ${OLD:-0} ;;
    *"ensurepip"*) exit ${NO_VENV:-0} ;;
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    *"$FAILS"*) echo "No space left on device"; exit 1 ;;
esac
"""


class Checkout:
    """The Makefile, the lock and a stand-in Python in a folder of their own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls = root / "calls"
        for name in ("Makefile", "requirements.lock", "pyproject.toml"):
            shutil.copy(ROOT / name, root / name)
        self.python = root / "stand-in"
        self.python.write_text(STAND_IN, encoding="utf-8")
        self.python.chmod(0o755)

    def make(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Runs make; the stand-in's calls are those of this run alone."""
        self.calls.write_text("")
        return subprocess.run(
            ["make", "--no-print-directory", f"PYTHON={self.python}", *words],
            cwd=self.root, capture_output=True, text=True, check=False,
            env={"PATH": os.environ["PATH"], "CALLS": str(self.calls), "FAILS": "nothing fails", **environ},
        )  # fmt: skip

    def installs(self) -> int:
        return self.calls.read_text().count("pip --disable")


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    return Checkout(tmp_path)


def touch_later(path: Path) -> None:
    later = path.stat().st_mtime + 10
    newest = max([later, *(p.stat().st_mtime + 10 for p in path.parent.glob(".venv/*"))])
    os.utime(path, (newest, newest))


def test_set_up_happens_once_and_again_only_for_a_new_lock(checkout: Checkout) -> None:
    first = checkout.make("setup")
    assert first.returncode == 0, first.stdout + first.stderr
    assert checkout.installs() == 5
    assert len(first.stdout.splitlines()) == 7, "one line a step"
    checkout.make("setup")
    assert checkout.installs() == 0
    touch_later(checkout.root / "pyproject.toml")
    checkout.make("setup")
    assert checkout.installs() == 1, "the project alone"
    (checkout.root / ".venv" / "stale").touch()
    touch_later(checkout.root / "requirements.lock")
    checkout.make("setup")
    assert checkout.installs() == 5
    assert not (checkout.root / ".venv" / "stale").exists()


def test_a_failed_set_up_shows_the_logs_end_and_is_done_again(checkout: Checkout) -> None:
    failed = checkout.make("setup", FAILS="install -c requirements.lock torch")
    assert failed.returncode != 0
    assert "No space left on device" in failed.stdout
    assert "Set-up failed at 'torch': see above or .venv/install.log, then run make again." in failed.stdout
    assert checkout.make("setup").returncode == 0
    assert checkout.installs() == 5


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({"OLD": "1"}, "Python 3.11 or newer is needed: install it"),
        ({"NO_VENV": "1"}, "is missing: install it (on Debian: apt install python3-venv)."),
    ],
)
def test_what_set_up_needs_is_told_in_one_sentence(checkout: Checkout, environ: dict[str, str], sentence: str) -> None:
    failed = checkout.make("setup", **environ)
    assert failed.returncode != 0
    assert sentence in failed.stdout
    assert len(failed.stdout.splitlines()) == 1
    assert not (checkout.root / ".venv").exists()


def test_variables_become_options_and_only_where_set(checkout: Checkout) -> None:
    done = checkout.make(
        "-n", "bench", "STRATEGY=bohb", "LR_LOWER=1e-5", "BS_CHOICES=1 2", "DATASET=it's.json", "ARGS=--json --fresh"
    )
    assert " ".join(done.stdout.splitlines()[-1].split()) == (
        ".venv/bin/sweepmark run --strategy 'bohb' --lr-lower '1e-5' --bs-choices '1 2' "
        r"--dataset 'it'\''s.json' --json --fresh"
    )


def test_a_mistyped_variable_is_refused(checkout: Checkout) -> None:
    done = checkout.make("bench", "STRATEGEY=bohb")
    assert done.returncode != 0
    assert "There is no variable STRATEGEY; known: STRATEGY PROFILE" in done.stderr


def test_help_is_the_default_and_lists_every_target(checkout: Checkout) -> None:
    shown = checkout.make().stdout
    assert shown == checkout.make("help").stdout
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", "")
    declared = re.findall(r"^\.PHONY:(.*)$", makefile, re.MULTILINE)[0].split()
    assert re.findall(r"^  ([a-z-]+) {2,}\S", shown, re.MULTILINE) == declared
    assert "make bench STRATEGY=bohb" in shown
