"""Start-up: its parts add up, a warm one is short, and the page says what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.cli.startup import startup
from bench.errors import UserError
from bench.hf.clock import LATER_STEPS, FirstSteps, PhaseClock
from bench.speed.starts import package_times
from bench.speed.startup import (
    COLD,
    EMPTY,
    IMPORTS,
    PROCESS,
    WARM,
    Start,
    Startup,
    load_startup,
    startup_table,
    write_startup,
)
from bench.training import FIRST_STEP

WARM_S = 0.5


def planted() -> Startup:
    def start(kind: str, repeat: int, **parts: float) -> Start:
        return Start(kind=kind, repeat=repeat, parts_s=parts | {FIRST_STEP: 0.25})

    return Startup(
        name="planted",
        workload="tiny-squad",
        data="planted",
        weights="none",
        recipe="fast",
        profile="cpu",
        threads=1,
        repeats=2,
        measured_at_s=1.7e9,
        starts=(
            start(EMPTY, 0, process=0.5, imports=3.0, data=1.0, trainer=0.1),
            start(COLD, 0, process=0.5, imports=3.0, data=0.25, trainer=0.1),
            start(COLD, 1, process=0.5, imports=5.0, data=0.75, trainer=0.1),
            start(WARM, 0, trainer=0.02),
        ),
        imports_s={"torch": 2.0, "transformers": 1.0},
        provenance={},
    )


def test_medians_and_totals() -> None:
    found = planted()
    assert found.parts() == ["process", "imports", "data", "trainer", FIRST_STEP]
    assert found.part_s(COLD, "imports") == 4.0
    assert found.part_s(WARM, "imports") == 0.0
    assert found.median_s(COLD) == pytest.approx((3.85 + 6.35) / 2)
    assert found.median_s(WARM) == 0.02, "the first step is charged to training"
    rows = {str(row[0]): row[1:] for row in startup_table(found).rows}
    assert list(rows["until the first step"]) == pytest.approx([4.6, 5.1, 0.02])


def test_the_folder_is_made_again_from_the_record(tmp_path: Path) -> None:
    written = write_startup(tmp_path / "a", planted())
    assert {path.name for path in written} == {"startup.json", "README.md", "startup.svg"}
    again = load_startup(tmp_path / "a")
    assert again == planted()
    with pytest.raises(UserError, match="Cannot read"):
        load_startup(tmp_path)
    (tmp_path / "startup.json").write_text('{"name": 3}')
    with pytest.raises(UserError, match="no measured start-up"):
        load_startup(tmp_path)


def test_imports_are_added_up_by_package() -> None:
    text = (
        "import time: self [us] | cumulative | imported package\n"
        "import time:       500 |        500 |     torch._C\n"
        "import time:      1500 |       2000 |   torch\n"
        "a line of somebody else's\n"
        "import time:       250 |       2250 | bench.hf.trial\n"
    )
    assert package_times(text) == {"torch": 0.002, "bench": 0.0003}


def test_parts_are_start_ups_alone() -> None:
    clock = PhaseClock(2.0)
    clock.part("data")
    clock.enter("restore")
    clock.enter("startup")
    clock.part("trainer")
    clock.enter("train")
    phases = clock.take()
    assert list(clock.startup_parts_s) == ["process and imports", "group", "data", "trainer"]
    assert sum(clock.startup_parts_s.values()) == pytest.approx(phases.startup_s)


def test_the_first_step_is_held_against_later_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    took_s = [1.0, 0.2, 0.3, 0.4, 0.2, 0.3, 99.0]
    ticks = iter([0.0, 1.0, 1.0, 1.2, 1.2, 1.5, 1.5, 1.9, 1.9, 2.1, 2.1, 2.4])
    monkeypatch.setattr("bench.hf.clock.time.perf_counter", lambda: next(ticks))
    steps = FirstSteps("cpu")
    assert steps.first_longer_s is None
    for _ in took_s:
        steps.begin()
        steps.end()
    assert len(took_s) > LATER_STEPS + 1, "later steps are not looked at"
    assert steps.first_longer_s == pytest.approx(1.0 - 0.3)


def test_measured_for_real(tmp_path: Path) -> None:
    """A warm start takes less than half a second, the best of three: the machine may be busy with something else."""
    arguments = ["--repeats", "1", "--warm", "3", "--examples", "40", "--out", str(tmp_path / "out"), "--json"]
    done = CliRunner().invoke(startup, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    found = load_startup(tmp_path / "out")
    kinds = [start.kind for start in found.starts]
    assert kinds == [EMPTY, COLD, WARM, WARM, WARM]
    empty, cold, *warm = found.starts
    assert {PROCESS, IMPORTS, "data", "model", "trainer", "read-back", FIRST_STEP} <= set(cold.parts_s)
    assert IMPORTS not in warm[0].parts_s
    assert empty.parts_s["data"] > warm[0].parts_s["data"]
    assert min(start.startup_s for start in warm) < WARM_S
    assert found.imports_s["torch"] > 0
    assert "pandas" not in found.imports_s
    assert json.loads(done.stdout)["name"] == "out"
    with pytest.raises(UserError, match="exists: give a folder that does not"):
        CliRunner().invoke(startup, arguments, catch_exceptions=False)
