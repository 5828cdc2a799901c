"""The report and the picture of measurements that nobody made."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from bench.stages.picture import rows as points
from bench.stages.picture import to_svg
from bench.stages.report import report
from bench.stages.result import Stages
from bench.zero import shardings
from tests.stages.rows import GPU, STUDY, full, measured, row


def terminal(found: Stages, width: int) -> str:
    out = io.StringIO()
    report(found).to_terminal(Console(file=out, width=width))
    return out.getvalue()


@pytest.fixture
def nine() -> Stages:
    names = [s.name for s in shardings()]
    rows = [row(name, (100.0 - n,) * 3, device_mib=1000.0 - 10 * n) for n, name in enumerate(names)]
    return measured([*rows[:-1], full(names[-1])], replace(GPU, epochs=3))


def test_the_exercises_summary_is_filled_in(nine: Stages) -> None:
    summary = report(nine).table("summary").to_dict()
    assert [c["header"] for c in summary["columns"]] == [
        "Stage", "Train loss, final", "Eval loss, epoch 1", "Eval loss, epoch 2", "Eval loss, epoch 3",
        "Train samples/s", "Eval samples/s", "Steps an epoch",
    ]  # fmt: skip
    assert summary["rows"][0] == {
        "row": "plain", "train_loss": 1.0, "eval_loss_1": 2.0, "eval_loss_2": 1.0, "eval_loss_3": 2.0 / 3,
        "train_samples_per_s": 100.0, "eval_samples_per_s": 300.0, "steps_per_epoch": 6,
    }  # fmt: skip


@pytest.mark.parametrize("width", [80, 100])
def test_it_fits_a_terminal(nine: Stages, width: int) -> None:
    said = terminal(nine, width)
    assert max(map(len, said.splitlines())) <= width
    assert "oom" in said
    assert "arXiv 1910.02054" in said
    assert "Largest relative difference of losses from plain's: first epoch 0.0e+00" in said


def test_a_row_that_failed_is_a_warning_and_what_is_missing_is_named(nine: Stages) -> None:
    found = report(replace(nine, rows=(*nine.rows[:1], *nine.rows[-1:])))
    assert any("zero3-offload-both: oom: out of memory: tried to allocate 2 GiB" in said for said in found.warnings)
    assert any("Not measured" in said and "zero1, zero2" in said for said in found.warnings)


def test_a_cpu_is_not_taken_for_a_gpu() -> None:
    found = report(measured([row("plain")], replace(STUDY, only=("plain",))))
    assert found.warnings[0].startswith("This is a CPU profile: host memory is the devices' memory")
    memory = found.table("memory")
    assert "used_peak_mib" not in [c.key for c in memory.columns]
    assert memory.column("allocated_peak_mib") == [None]
    assert "used_peak_mib" in [c.key for c in report(measured([row("plain")], GPU)).table("memory").columns]


def test_people_see_no_column_that_is_empty_and_machines_see_all() -> None:
    names = [s.name for s in shardings()]
    found = measured([row(name) for name in names])
    said = terminal(found, 80)
    assert said.count("\nStage ") == 3, "each table in one piece"
    markdown = report(found).to_markdown()
    for text in (said, markdown):
        assert "2 epochs of 6 steps" in " ".join(text.split())
        for absent in ("Allocated", "Energy (J)", "Steps an epoch"):
            assert absent not in text
        assert "Nothing here counts energy." in " ".join(text.split())
    tables = json.loads(report(found).to_json())["tables"]
    assert tables["summary"]["rows"][0]["steps_per_epoch"] == 6
    assert tables["memory"]["rows"][0]["allocated_peak_mib"] is None
    assert tables["costs"]["rows"][0]["energy_j"] is None
    header, line, *_ = report(found).to_csv().splitlines()
    assert header == "row,train_loss,eval_loss_1,eval_loss_2,train_samples_per_s,eval_samples_per_s,steps_per_epoch"
    assert line == "plain,1.5,2.0,1.0,100.0,300.0,6"


def test_what_one_row_has_and_what_differs_are_columns() -> None:
    rows = [row("plain", energy_j=7.0), row("zero1", steps_per_epoch=3, device_mib=10.0)]
    said = report(measured(rows, GPU)).to_markdown()
    for present in ("Energy (J)", "by NVML's count", "Allocated, peak (MiB)", "Steps an epoch"):
        assert present in said
    assert "2 epochs, seed 0" in said


def test_a_row_that_did_not_fit_keeps_its_columns() -> None:
    found = report(measured([full("plain")], GPU))
    assert [c.key for c in found.table("summary").visible()[0]] == ["row", "train_loss", "eval_loss_1", "eval_loss_2"]
    assert "oom" in found.to_markdown()
    assert report(measured([], GPU)).to_markdown()


def test_machines_get_all_of_it(nine: Stages) -> None:
    data = json.loads(report(nine).to_json())
    assert data["facts"]["recommended"] == "plain"
    assert data["facts"]["study"]["precision"] == "bf16"
    assert report(nine).to_csv().splitlines()[0].startswith("row,train_loss,eval_loss_1")
    assert "| plain |" in report(nine).to_markdown()


def test_pictures_hold_every_row_and_are_the_same_each_time(nine: Stages) -> None:
    assert {point["row"] for point in points(nine, "device")} == {s.name for s in shardings()[:-1]}
    assert len(points(nine, "host")) == 2 * 9
    svg = to_svg(nine, "host")
    assert svg == to_svg(nine, "host")
    for name in ("zero3-offload-optimizer", "MiB", "tiny-squad on profile a100"):
        assert name in svg
    assert "No memory was seen." in to_svg(measured([], GPU), "device")
