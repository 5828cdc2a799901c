"""What is saved of benchmarks: ratios to a peer's work and nothing else, of no machine, nobody and no time."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.session import PerformanceRegression

FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:  # all that are collected, of other folders too
        if FOLDER in item.path.parents:
            item.add_marker("alone")


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    machine_info.clear()


def pytest_benchmark_update_commit_info(commit_info: dict[str, Any]) -> None:
    commit_info.clear()


def pytest_benchmark_update_json(output_json: dict[str, Any]) -> None:
    """Keep the ratios. What is measured in seconds would compare with nothing elsewhere."""
    output_json.pop("datetime", None)
    kept = []
    for bench in output_json["benchmarks"]:
        if "unit" in bench["extra_info"]:
            stats = {name: _short(value) for name, value in bench["stats"].items() if name != "data"}
            names = ("group", "name", "fullname", "params", "param")
            kept.append({name: bench[name] for name in names} | {"extra_info": bench["extra_info"], "stats": stats})
    output_json["benchmarks"] = sorted(kept, key=lambda bench: str(bench["fullname"]))


def _short(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value


@pytest.hookimpl(tryfirst=True)
def pytest_benchmark_scale_unit(unit: str, benchmarks: Sequence[dict[str, Any]]) -> tuple[str, float] | None:
    """What the table of ratios is headed with."""
    if all("unit" in bench["extra_info"] for bench in benchmarks):
        return ("peer unit", 1.0) if unit == "seconds" else ("", 1.0)
    return None


@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary() -> Generator[None, None, None]:
    """What got slower is a failure of the run, not an error of the plugin with its traceback."""
    try:
        return (yield)
    except PerformanceRegression as error:
        pytest.exit(f"{error} See above what got slower; where that is meant: make baseline", returncode=1)
