"""Samples of processes that never were, and of this one."""

from __future__ import annotations

from array import array
from pathlib import Path

from bench.hf.sampling import FIELDS, Sampler, samples_path
from bench.stages.samples import POINTS, gather
from tests.cluster.throwaway import wait_for

MIB = 2**20
NAN = float("nan")


def write(folder: Path, rank: int, *samples: tuple[float, ...], cut: int = 0) -> None:
    """Times, then MiB; `cut`: so many bytes are missing at the end."""
    rows = [(s[0], *(value * MIB for value in s[1:5]), s[5]) for s in samples]
    data = array("d", [value for row in rows for value in row]).tobytes()
    samples_path(folder, rank).write_bytes(data[: len(data) - cut])


def test_peaks_are_of_all_processes_together_and_of_the_fullest_device(tmp_path: Path) -> None:
    write(tmp_path, 0, (100.0, 10, 1, 2, 5, 1000), (101.0, 20, 3, 4, 6, 2000), (102.0, 30, 2, 4, 6, 5000))
    write(tmp_path, 1, (200.0, 10, 1, 2, 5, 0), (201.0, 40, 9, 9, 9, 500), (202.0, 10, 4, 9, 9, 1000))
    seen = gather(tmp_path, 2, training_since_s=100.5)
    memory = seen.memory
    assert memory.host is not None
    assert memory.allocated is not None
    assert memory.used is not None
    assert (memory.host.peak_mib, memory.host.mean_mib) == (60.0, 50.0), "the second process's clock is another"
    assert (memory.allocated.peak_mib, memory.allocated.mean_mib) == (9.0, 6.5)
    assert memory.used.peak_mib == 9.0
    assert seen.energy_j == 4.0 + 1.0
    assert seen.series is not None
    assert seen.series.allocated is not None
    assert max(seen.series.host) == 60.0
    assert max(seen.series.allocated) == 9.0
    assert len(seen.series.at_s) == len(seen.series.host) == POINTS


def test_on_a_cpu_there_is_main_memory_alone(tmp_path: Path) -> None:
    write(tmp_path, 0, (1.0, 10, NAN, NAN, NAN, NAN), (2.0, 12, NAN, NAN, NAN, NAN))
    seen = gather(tmp_path, 1, training_since_s=None)
    assert seen.memory.host is not None
    assert (seen.memory.host.peak_mib, seen.memory.host.mean_mib) == (12.0, None)
    assert (seen.memory.allocated, seen.memory.reserved, seen.memory.used, seen.energy_j) == (None,) * 4
    assert seen.series is not None
    assert seen.series.used is None


def test_what_a_killed_process_wrote_counts(tmp_path: Path) -> None:
    write(tmp_path, 0, (1.0, 10, NAN, NAN, NAN, NAN), (2.0, 99, NAN, NAN, NAN, NAN), cut=3)
    seen = gather(tmp_path, 2, training_since_s=0.0)
    assert seen.memory.host is not None
    assert seen.memory.host.peak_mib == 10.0


def test_no_samples_are_nothing(tmp_path: Path) -> None:
    seen = gather(tmp_path, 2, training_since_s=None)
    assert (seen.series, seen.energy_j, seen.memory.host) == (None, None, None)


def test_a_sampler_sees_what_this_process_takes(tmp_path: Path) -> None:
    path = samples_path(tmp_path, 0)
    sampler = Sampler(path, None)
    sampler.start()
    wait_for("a first sample", lambda: path.exists() and path.stat().st_size)
    held = bytearray(b"x") * (200 * MIB)
    before = path.stat().st_size
    wait_for("another", lambda: path.stat().st_size > before)
    sampler.stop()
    assert len(held) == 200 * MIB
    assert path.stat().st_size % (8 * len(FIELDS)) == 0
    seen = gather(tmp_path, 1, training_since_s=None)
    assert seen.memory.host is not None
    assert seen.series is not None
    assert seen.memory.host.peak_mib - seen.series.host[0] > 190
