"""What the README and `results/validation` say of simulations is what the commands make of what is committed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
COLUMNS = (
    ("strategy", "label", ""),
    ("reached", "success_rate", ".0%"),
    ("core-min to target", "to_target_device_min", ".2f"),
    ("core-min a success", "expected_device_min", ".2f"),
    ("over manual", "ratio_shown", ""),
    ("over shuffled", "random_order_ratio", ".2f"),
    ("loss beside manual", "loss_difference_shown", ""),
    ("whole search", "cost_ratio", ".2f"),
    ("model", "model_share", ".0%"),
)


def sweepmark(*args: str | Path) -> str:
    command = [sys.executable, "-m", "bench", *map(str, args)]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout


def readme_table(rows: list[dict[str, Any]]) -> str:
    lines = ["| " + " | ".join(header for header, _, _ in COLUMNS) + " |", "|:---" + "|---:" * (len(COLUMNS) - 1) + "|"]
    for row in rows:
        cells = ("-" if row[key] is None else format(row[key], spec) for _, key, spec in COLUMNS)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


@pytest.mark.slow
def test_the_simulated_table_of_the_readme() -> None:
    report = json.loads(sweepmark("simulate", "--seeds", "200", "--json"))
    table = readme_table(report["tables"]["strategies"]["rows"])
    assert table in (ROOT / "README.md").read_text(), f"copy this table into the README:\n{table}"


def test_the_committed_validation_is_made_from_the_committed_journals(tmp_path: Path) -> None:
    committed = ROOT / "results/validation/tiny-squad.json"
    runs = sorted((ROOT / "results/validation/tiny-squad").iterdir())
    assert len(runs) == 24
    sweepmark("validate-simulation", "tiny-squad", *runs, "--out", tmp_path)
    assert (tmp_path / committed.name).read_bytes() == committed.read_bytes()
    known = json.loads(committed.read_text())["strategies"]
    assert all(found["runs"] >= 3 and found["replayed"] == found["runs"] for found in known.values())
