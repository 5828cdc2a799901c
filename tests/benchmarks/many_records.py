"""Many records made by varying the committed ones, and tables made of them: prints seconds and peak memory as JSON.

`python -m tests.benchmarks.many_records WHAT COUNT FOLDER`: WHAT is `write` (records into FOLDER, one folder each),
`compare` (from files to the report that compares runs) or `boards` (from files to the leaderboard), each in all forms.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.record import RECORD_NAME, Record, encode_record, load_record

if TYPE_CHECKING:
    from bench.leaderboard.collect import Found

SAMPLES = sorted(Path("results/records").glob(f"*/{RECORD_NAME}"))


def varied(count: int) -> Iterator[Record]:
    """Runs of all strategies under seed after seed, each with a winner's loss and costs of its own."""
    records = [load_record(path) for path in SAMPLES]
    for number in range(count):
        record, seed = records[number % len(records)], number // len(records)
        factor = 1 + (number * 7919 % 1000) / 1e4
        search = record.costs.search
        allocated, winner = search.allocated_device_min, record.winner
        if allocated is None or winner is None:
            raise ValueError(f"{record.run_id} cannot be varied: it has no cost or no winner")
        search = replace(search, allocated_device_min=allocated * factor)
        yield replace(
            record,
            run_id=f"{record.run_id}-{number:05d}",
            study=record.study | {"seed": seed},
            costs=replace(record.costs, search=search),
            winner=replace(winner, eval_loss=winner.eval_loss * factor),
            trace=tuple(replace(step, eval_loss=step.eval_loss * factor) for step in record.trace),
            journal_sha256=None,
        )


def write(count: int, folder: Path) -> None:
    for record in varied(count):
        (folder / record.run_id).mkdir(parents=True)
        (folder / record.run_id / RECORD_NAME).write_bytes(encode_record(record))


def read(count: int, folder: Path) -> list[Found]:
    from bench.leaderboard.collect import collect

    found = collect([folder])
    if len(found) != count:
        raise ValueError(f"{len(found)} runs of {count} were found")
    return found


def compare_all(count: int, folder: Path) -> None:
    from bench.report import compare

    report = compare([each.record for each in read(count, folder)])
    for text in (report.to_json(), report.to_csv(), report.to_markdown()):
        print(len(text), file=sys.stderr)


def boards_of(count: int, folder: Path) -> None:
    from bench.leaderboard.boards import boards
    from bench.leaderboard.write import leaderboard_texts

    for name, text in leaderboard_texts(boards(read(count, folder))).items():
        print(name, len(text), file=sys.stderr)


WORK = {"write": write, "compare": compare_all, "boards": boards_of}

if __name__ == "__main__":
    what, number, where = sys.argv[1:]
    began = time.perf_counter()
    WORK[what](int(number), Path(where))
    taken_s = time.perf_counter() - began
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": taken_s, "peak_mib": peak_mib}))
