"""DeepSpeed's shipped configurations, and ZeRO's arithmetic against its paper's own figures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench.container.binding import bound
from bench.errors import UserError
from bench.profile import load_profile
from bench.run import training_task
from bench.zero import (
    PLAIN,
    Sharding,
    check_deepspeed,
    deepspeed_file,
    deepspeed_names,
    deepspeed_path,
    shardings,
    state_bytes,
)
from tests.builders import study
from tests.cli.test_cli import call


def test_all_that_the_exercise_compares_is_there_from_simple_to_not() -> None:
    assert [s.name for s in shardings()] == [
        "plain", "zero1", "zero2", "zero3", "zero1-offload-optimizer", "zero2-offload-optimizer",
        "zero3-offload-optimizer", "zero3-offload-params", "zero3-offload-both",
    ]  # fmt: skip
    for sharding in shardings()[1:]:
        stage, _, offloaded = sharding.name.removeprefix("zero").partition("-offload-")
        assert sharding.stage == int(stage)
        assert sharding.offload_optimizer == (offloaded in ("optimizer", "both"))
        assert sharding.offload_params == (offloaded in ("params", "both"))


@pytest.mark.parametrize("name", deepspeed_names())
def test_none_has_an_optimiser_of_its_own(name: str) -> None:
    """With one, weight decay would be applied otherwise (see the read-back); offload would want a compiler."""
    config = json.loads(deepspeed_file(name).read_text())
    assert "optimizer" not in config
    assert "scheduler" not in config
    assert config.get("zero_force_ds_cpu_optimizer", True) == ("offload_optimizer" not in config["zero_optimization"])


@pytest.mark.parametrize(
    ("stage", "gigabytes"),
    [(0, 120.0), (1, 31.4), (2, 16.6), (3, 1.88)],
)
def test_memory_is_as_in_the_papers_figure_1(stage: int, gigabytes: float) -> None:
    """A model of 7.5 billion parameters on 64 devices, K = 12."""
    found = state_bytes(Sharding(name="x", stage=stage), 64, "fp16")
    assert 7.5 * found.device == pytest.approx(gigabytes, rel=0.005)
    assert found.host == 0


def test_offload_moves_a_share_and_loses_nothing() -> None:
    for sharding in shardings():
        for processes in (1, 2, 8):
            held = state_bytes(sharding, processes, "fp32")
            kept = state_bytes(replace(sharding, offload_optimizer=False, offload_params=False), processes, "fp32")
            assert held.device + held.host == pytest.approx(kept.device)
            assert (held.host > 0) == sharding.offloads
    both = state_bytes(Sharding(name="x", stage=3, offload_optimizer=True, offload_params=True), 2, "bf16")
    assert (both.device, both.host) == (1.0, 7.0)


def test_a_name_is_a_shipped_file_and_anything_else_a_path(tmp_path: Path) -> None:
    assert deepspeed_path("zero2") == deepspeed_file("zero2")
    assert deepspeed_path("./zero2") == Path("zero2")
    check_deepspeed("zero3-offload-both")
    check_deepspeed(str(tmp_path))
    with pytest.raises(UserError, match=r"--deepspeed zeor2 is neither a file nor .*'zero2'"):
        check_deepspeed("zeor2")
    with pytest.raises(UserError, match="There is no DeepSpeed configuration 'plain'"):
        deepspeed_file(PLAIN)


def test_a_study_stores_the_name_and_its_trials_get_the_file(tmp_path: Path) -> None:
    task = training_task(study(deepspeed="zero2"), load_profile("cpu"), tmp_path)
    assert task.deepspeed == deepspeed_file("zero2")
    other = training_task(study(deepspeed="mine.json"), load_profile("cpu"), tmp_path)
    assert other.deepspeed == Path("mine.json").absolute()


def test_an_image_has_the_shipped_ones_already(tmp_path: Path) -> None:
    words, binds = bound(["--deepspeed", "zero2", "--seed", "1"], tmp_path, named=None)
    assert words[:2] == ["--deepspeed", "zero2"]
    assert len(binds) == 2, "results and cache alone"
    with pytest.raises(UserError, match=r"There is no none\.json for --deepspeed"):
        bound(["--deepspeed=none.json"], tmp_path, named=None)


def test_jobs_in_an_image_are_given_no_file_for_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: list[list[Path]] = []

    def script(*_: object, inputs: list[Path], **__: object) -> str:
        given.append(inputs)
        return ""

    monkeypatch.setattr("bench.cluster.submit.script", script)
    mine = tmp_path / "mine.json"
    mine.write_text("{}", encoding="utf-8")
    for name in ("zero2", mine):
        words = ("submit", "random", "--profile", "v100", "--deepspeed", name, "--dry-run", "--results", tmp_path / "r")
        assert call(*words, monkeypatch=monkeypatch) == 0
    assert {tuple(inputs) for inputs in given} == {(), (mine,)}


def test_run_refuses_what_is_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("run", "--strategy", "random", "--profile", "cpu", "--deepspeed", "zero9", "--results", tmp_path)
    assert call(*words, monkeypatch=monkeypatch) == 2
    assert "--deepspeed zero9 is neither a file nor a configuration of the suite" in capsys.readouterr().err
