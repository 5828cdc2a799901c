"""`sweepmark ladder` for real, on a few examples."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.cli.ladder import ladder
from bench.errors import UserError
from bench.profile import load_profile
from bench.speed.page import write_page
from bench.speed.record import load_ladder
from bench.speed.rungs import ladder as rungs
from bench.speed.task import Asked, task_of
from bench.workload import load_workload
from tests.speed.ladders import a_ladder, rung, trial


def climb(tmp_path: Path, *arguments: str) -> str:
    always = ["--epochs", "1", "--examples", "24", "--repeats", "1", "--results", str(tmp_path)]
    done = CliRunner().invoke(ladder, [*always, *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_two_rungs_for_real(tmp_path: Path) -> None:
    last = rungs()[-1].name
    chosen = ["--workload", "tiny-squad", "--rung", "padded to longest", "--rung", last]
    told = json.loads(climb(tmp_path, *chosen, "--json"))
    found = load_ladder(tmp_path / "speed" / "tiny-squad-cpu")
    assert [rung.name for rung in found.rungs] == ["padded to longest", last]
    assert all(trial.completed for rung in found.rungs for trial in rung.trials)
    first, fast = (rung.trials[0].epochs[0].eval_loss for rung in found.rungs)
    assert fast == pytest.approx(first, abs=found.tolerance)
    assert 0 < found.rungs[1].hardware_flops < found.rungs[0].hardware_flops
    assert found.rungs[0].model_flops == found.rungs[1].model_flops
    assert found.measured_peak_tflops[0] > 0
    assert found.shape.parameters == found.parameters
    assert told[0]["name"] == "tiny-squad-cpu"
    assert told[0]["losses_agree"] is True
    assert any("device-min a trial of 'padded to longest' over" in note for note in told[0]["tables"][0]["notes"])
    shown = CliRunner().invoke(ladder, ["--show", str(tmp_path / "speed" / "tiny-squad-cpu")], catch_exceptions=False)
    assert last in shown.output


def test_losses_that_differ_are_an_exit_status(tmp_path: Path) -> None:
    right = a_ladder()
    write_page(tmp_path / "right", right)
    write_page(tmp_path / "wrong", a_ladder(*right.rungs, rung("wrong", trial(0, (1.0, 1.0), (3.0, 2.01)))))
    assert CliRunner().invoke(ladder, ["--show", str(tmp_path / "right")]).exit_code == 0
    done = CliRunner().invoke(ladder, ["--show", str(tmp_path / "wrong")])
    assert done.exit_code == 1
    assert "BEYOND" in done.output


def test_random_weights_keep_the_architecture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a small architecture in place of the real one, on generated data: more words than the tokenizer has."""
    from dataclasses import replace

    from bench.speed import task as module

    small = {"hidden_size": 32, "n_layer": 2, "n_head": 2, "vocab_size": 9000}
    real = load_workload("bloom560m-squad")
    tiny = load_workload("tiny-squad")
    changed = replace(real, max_tokens=128, data=tiny.data, model=replace(real.model, architecture=small))
    monkeypatch.setattr(module, "load_workload", lambda name: changed)
    climb(tmp_path, "--workload", "bloom560m-squad", "--random-weights", "--rung", "padded to longest")
    found = load_ladder(tmp_path / "speed" / "bloom560m-squad-random-cpu")
    assert (found.shape.vocab, found.shape.hidden) == (9000, 32)
    assert found.parameters == found.shape.parameters
    assert "RANDOM weights" in found.weights
    assert found.rungs[0].trials[0].completed


def test_the_real_architecture_is_asked_for(tmp_path: Path) -> None:
    task = task_of(Asked(workload="bloom560m-squad", random_weights=True), load_profile("v100"), tmp_path)
    assert task.workload.model.bloom == load_workload("bloom560m-squad").model.architecture
    assert task.workload.model.hub is None
    assert task.precision == "fp16"


def test_mistakes_are_told(tmp_path: Path) -> None:
    cpu = load_profile("cpu")
    for asked, told in (
        (Asked(workload="tiny-squad", random_weights=True), "drop --random-weights"),
        (Asked(workload="tiny-squad", epochs=99), "give up to 15"),
        (Asked(workload="tiny-squad", train=5000), "give up to 1000"),
        (Asked(workload="tiny-squad", dataset=tmp_path / "none.json"), "does not exist"),
    ):
        with pytest.raises(UserError, match=told):
            task_of(asked, cpu, tmp_path)
