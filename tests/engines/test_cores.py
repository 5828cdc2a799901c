"""A process that is kept to some cores has all its threads there, and those that they start."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import os, threading
from bench.engines.cores import first_cores, keep_to

before, go_on = os.sched_getaffinity(0), threading.Event()
seen = []
early = threading.Thread(target=lambda: (go_on.wait(), seen.append(os.sched_getaffinity(0))))
early.start()
keep_to(())
assert os.sched_getaffinity(0) == before
cores = first_cores(1)
keep_to(cores)
go_on.set()
early.join()
late = threading.Thread(target=lambda: seen.append(os.sched_getaffinity(0)))
late.start()
late.join()
assert len(cores) == 1 and seen == [set(cores)] * 2, seen
"""


def test_every_thread_is_kept() -> None:
    subprocess.run([sys.executable, "-c", CODE], check=True)
