"""What the harness itself costs, as ratios against a peer in the same run (run with `--benchmark-enable`)."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from pytest_benchmark.fixture import BenchmarkFixture

from bench.journal import JOURNAL_NAME, Journal, encode, read_journal
from bench.record import build_record
from tests.builders import Run, epoch, journal

EVENTS = 200


def median_s(work: Callable[[], object], rounds: int = 7) -> float:
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def test_an_event_costs_little_more_than_its_flush(tmp_path: Path, benchmark: BenchmarkFixture) -> None:
    """The journal against bare write and fsync of the same lines."""
    event = epoch("0001", 1, 2.5, 10.0)
    line = (encode(event) + "\n").encode()

    def bare() -> None:
        with (tmp_path / "bare").open("ab") as file:
            for _ in range(EVENTS):
                file.write(line)
                file.flush()
                os.fsync(file.fileno())

    def journaled() -> None:
        log = Journal(tmp_path / JOURNAL_NAME)
        for _ in range(EVENTS):
            log.append(event)
        log.close()

    benchmark(journaled)
    ratio = median_s(journaled) / median_s(bare)
    benchmark.extra_info["ratio_to_bare_fsync"] = ratio
    assert ratio < 4


def test_a_record_costs_little_more_than_reading_its_journal(tmp_path: Path, benchmark: BenchmarkFixture) -> None:
    """Folding trials and costs against parsing the events they come from."""
    path = tmp_path / JOURNAL_NAME
    events = journal([Run(losses=[3.0 - i / 1000, 2.0 - i / 1000]) for i in range(500)])
    path.write_text("".join(encode(event) + "\n" for event in events))
    benchmark(lambda: build_record(read_journal(path)))
    ratio = median_s(lambda: build_record(events)) / median_s(lambda: read_journal(path))
    benchmark.extra_info["ratio_to_reading"] = ratio
    assert ratio < 4
