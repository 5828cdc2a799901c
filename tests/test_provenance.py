"""What a record says of the software that made it, and that it names nobody."""

from __future__ import annotations

import getpass
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.probe import probe_machine
from bench.provenance import collect, differences, git_state, locked_versions, own_strategy, shorten

ARGV = ["/home/someone/.venv/bin/sweepmark", "run", "--dataset=/scratch/someone/squad.json", "--bs-choices", "8 16"]


def test_the_record_of_this_installation() -> None:
    made = collect(ARGV) | {"probe": probe_machine().to_dict()}
    assert made["command"] == ["sweepmark", "run", "--dataset=squad.json", "--bs-choices", "8 16"]
    assert made["packages"]["pydantic"] is not None
    assert made["image"] is None
    assert len(made["lock"]["sha256"]) == 64
    assert made["probe"]["cpus"] >= 1
    text = json.dumps(made)
    assert "someone" not in text
    assert str(Path.home()) not in text
    assert len(getpass.getuser()) < 5 or getpass.getuser() not in text


def test_a_strategy_of_ones_own_is_told_by_its_checksum(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # of FIPS 180-2, appendix B.1
    assert own_strategy(str(file)) == {"strategy_sha256": known}
    assert own_strategy(None) == {}


@pytest.mark.alone
def test_collecting_is_fast_and_loads_no_framework() -> None:
    code = (
        "import sys; from bench.provenance import collect\n"
        "collect(); assert not {'torch', 'ray', 'pydantic'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    took = []
    for _ in range(3):
        began = time.perf_counter()
        collect(ARGV)
        took.append(time.perf_counter() - began)
    assert min(took) < 0.2


def test_pins_are_read_from_a_lock(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("# numpy==1.0\nnumpy==2.4.6   # via x\nray==2.60.0 ; python_version > '3'\nloose>=1\n")
    assert locked_versions(lock) == {"numpy": "2.4.6", "ray": "2.60.0"}
    assert locked_versions(tmp_path / "missing") == {}


def test_differences_from_the_lock() -> None:
    pins = {"torch": "2.13.0", "numpy": "2.4.6", "ray": "2.60.0"}
    assert differences(pins, {"torch": "2.13.0+cpu", "numpy": "2.4.5", "ray": None}) == [
        "numpy 2.4.5 is installed instead of 2.4.6",
        "ray 2.60.0 is not installed",
    ]


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_commit_and_cleanness_of_a_checkout(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        identity = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", "-C", tmp_path, *identity, *words], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    assert git_state(tmp_path) is None, "no checkout"
    git("init", "--quiet")
    assert git_state(tmp_path) is None, "no commit yet"
    (tmp_path / "code.py").write_text("")
    git("add", ".")
    git("commit", "--quiet", "-m", "first")
    commit = git("rev-parse", "HEAD")
    assert git_state(tmp_path) == {"commit": commit, "clean": True}
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "record.json").write_text("")
    assert git_state(tmp_path) == {"commit": commit, "clean": True}, "a new result changes no code"
    (tmp_path / "new.py").write_text("")
    assert git_state(tmp_path) == {"commit": commit, "clean": False}


def test_git_missing_or_refusing_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").mkdir()
    assert git_state(tmp_path) is None
    monkeypatch.setenv("PATH", "")
    assert git_state(tmp_path) is None


@pytest.mark.parametrize(
    ("word", "short"),
    [("--model=/a/b/", "--model=b"), ("../x/y.json", "y.json"), ("8 16", "8 16"), ("--seed=1", "--seed=1")],
)
def test_paths_are_shortened_to_names(word: str, short: str) -> None:
    assert shorten(word) == short
