"""File systems that are slow, full, read-only, or that do not lock; and the one that is here."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bench.doctor import filesystem, space
from bench.doctor.line import Check, Line, make
from bench.doctor.space import Need
from bench.workload import load_workload
from tests.doctor.machines import first_on_path, only, program, statuses

NEED = Need(mib=1, files=1, assumed="nothing much")


def lines(folder: Path, need: Need = NEED) -> list[Line]:
    return make(Check(name="results", lines=lambda: filesystem.lines("results", folder, need)))


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


def test_this_machines_own_passes_and_leaves_nothing(tmp_path: Path) -> None:
    assert set(statuses(lines(tmp_path)).values()) == {"pass"}
    assert list(tmp_path.iterdir()) == []
    assert set(statuses(lines(tmp_path / "a" / "b")).values()) == {"pass"}
    assert not (tmp_path / "a" / "b").exists()


@needs_root
def test_a_read_only_one_fails(tmp_path: Path) -> None:
    with mounted(tmp_path / "ro", "ro,size=4m") as folder:
        (line,) = lines(folder)
    assert line.status == "fail"
    assert "Read-only" in line.found


@needs_root
def test_a_full_one_fails(tmp_path: Path) -> None:
    with mounted(tmp_path / "tiny", "size=64k") as folder:
        found = lines(folder)
    assert only(found, "results").status == "fail"
    assert "No space left" in only(found, "results").found


@needs_root
def test_one_without_room_for_files_is_warned_of(tmp_path: Path) -> None:
    with mounted(tmp_path / "few", "size=8m,nr_inodes=100") as folder:
        found = lines(folder)
    assert only(found, "results").status == "pass"
    assert only(found, "results: space").status == "warn"
    assert "files" in only(found, "results: space").found


def test_a_place_that_is_a_file_fails(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (line,) = lines(tmp_path / "file")
    assert line.status == "fail"


def test_less_room_than_a_run_needs_is_warned_of_with_the_assumption(tmp_path: Path) -> None:
    line = only(lines(tmp_path, Need(mib=1e9, files=1, assumed="3 checkpoints of 1 TiB")), "results: space")
    assert line.status == "warn"
    assert "3 checkpoints of 1 TiB" in line.found


def test_scratch_that_only_compute_nodes_have_is_no_failure(tmp_path: Path) -> None:
    (line,) = filesystem.lines("scratch", tmp_path / "none", NEED, exists_elsewhere=True)
    assert line.status == "warn"
    assert not (tmp_path / "none").exists()


def test_a_slow_one_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem, "SLOW_SYNC_MS", 20.0)
    monkeypatch.setattr(os, "fsync", lambda descriptor: time.sleep(0.05))
    assert only(lines(tmp_path), "results").status == "warn"


def test_one_that_returns_other_bytes_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: real(path)[:-1])
    assert only(lines(tmp_path), "results").status == "fail"


def test_one_that_does_not_rename_over_a_file_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, target: Path) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "replace", refuse)
    assert only(lines(tmp_path), "results").status == "fail"


def test_one_that_refuses_locks_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem, "HOLDER", 'raise OSError(38, "Function not implemented")')
    line = only(lines(tmp_path), "results: locks")
    assert line.status == "fail"
    assert "Function not implemented" in line.found


def test_one_that_gives_a_lock_twice_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    line = only(lines(tmp_path), "results: locks")
    assert line.status == "fail"
    assert "at once" in line.found


def test_one_that_keeps_a_lock_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem, "take", lambda path: False)
    assert "holder has gone" in only(lines(tmp_path), "results: locks").found


@pytest.mark.parametrize(
    ("script", "status", "words"),
    [
        ("echo '/dev/sda1 10 100 200 0 1 0 0 0'", "pass", "none used up"),
        ("echo '/dev/sda1 210* 100 200 6days 1 0 0 0'; exit 1", "fail", "/dev/sda1"),
        ("echo 'Lustre: not supported' >&2; exit 1", "warn", "not supported"),
        ("exit 0", "pass", "none is set"),
        ("exec sleep 30", "warn", "no answer"),
    ],
)
def test_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, status: str, words: str) -> None:
    program(tmp_path / "bin", "quota", script)
    monkeypatch.setenv("PATH", first_on_path(tmp_path / "bin"))
    monkeypatch.setattr(filesystem, "TIMEOUT_S", 0.5)
    line = filesystem.quota({"home": Path("/home/x")})
    assert line.status == status
    assert words in line.found


def test_no_quota_program_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "unknown" in filesystem.quota({}).found


def test_what_a_run_needs_follows_the_workload() -> None:
    bloom = space.of_run(load_workload("bloom560m-squad"))
    assert bloom.mib == pytest.approx(3 * 12 * 559_214_592 * 12 / 2**20)
    assert "3 checkpoints of 6.2 GiB for each of 12 trials" in bloom.assumed
    unknown = space.of_run(replace(load_workload("tiny-squad"), known=()))
    assert "billion" in unknown.assumed
    assert [space.size(mib) for mib in (0.5, 999, 2048, 3 * 2**20)] == ["0.5 MiB", "999 MiB", "2.0 GiB", "3.0 TiB"]
