"""The saved baseline holds what is measured, in ratios alone, and a slower harness does not pass it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.strategy import strategy_names

BASELINE = Path("tests/benchmarks/baseline/ratios.json")
EVENTS = ("test_event_in_virtual_time", "test_event_on_disk", "test_event_read", "test_event_into_the_record")
TABLES = ("test_tables_of_ten_thousand[compare]", "test_tables_of_ten_thousand[boards]")

SLOWED = """
import sys
import pytest
from bench import {module}

plain = {module}.{function}

def slow(*args, **kwargs):
    for _ in range({times} - 1):
        plain(*args, **kwargs)
    return plain(*args, **kwargs)

{module}.{function} = slow
sys.exit(pytest.main(sys.argv[1:]))
"""


def test_the_baseline_holds_what_is_measured() -> None:
    """Where it fails: make baseline."""
    saved = json.loads(BASELINE.read_text())
    names = {f"test_suggestion[{name}]" for name in strategy_names()} | {*EVENTS, *TABLES, "test_help"}
    assert {bench["name"] for bench in saved["benchmarks"]} == names


def test_the_baseline_tells_nothing_of_a_machine() -> None:
    saved = json.loads(BASELINE.read_text())
    assert saved.keys() == {"machine_info", "commit_info", "benchmarks", "version"}
    assert saved["machine_info"] == saved["commit_info"] == {}
    assert all("unit" in bench["extra_info"] for bench in saved["benchmarks"])


@pytest.mark.parametrize(
    ("module", "function", "measured"),
    [("journal", "read_journal", "test_event_read"), ("record", "build_record", "test_event_into_the_record")],
)
def test_three_times_as_slow_fails(module: str, function: str, measured: str) -> None:
    options = ["-k", measured, "--benchmark-enable", f"--benchmark-compare={BASELINE}"]
    options += ["--benchmark-compare-fail=median:50%", "-p", "no:cacheprovider"]
    script = SLOWED.format(module=module, function=function, times=3)
    done = subprocess.run(
        [sys.executable, "-c", script, "tests/benchmarks/test_speed.py", *options],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert f"{measured} (tests/benchmarks/baseline/ratios) - Field 'median' has failed" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
