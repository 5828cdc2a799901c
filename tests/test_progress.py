"""The plain lines of a run."""

from __future__ import annotations

from bench.events import GrantOpened
from bench.progress import Lines, intention, preparing
from bench.space import Choice, SearchSpace
from bench.trials import RunState
from tests.builders import SPACE, study
from tests.engines.simulated import virtual_study


def said(devices: int, lines: Lines) -> str | None:
    event = GrantOpened(at_s=0.0, grant=f"worker-{devices}", devices=devices, purpose="search")
    return lines._line(event, RunState())


def test_what_is_to_be_done_is_said_once_and_devices_are_counted_in_english() -> None:
    lines = Lines(study("asha", epochs=2), "GPU")
    assert said(1, lines) == "asha, seed 0: up to 12 trials of 2 epochs, 1 device held"
    assert said(2, lines) == "2 more devices held"
    assert said(1, lines) == "1 more device held"
    assert said(4, Lines(study("asha"), "GPU")) == "asha, seed 0: up to 12 trials of 2 epochs, 4 devices held"


def test_what_a_run_has_that_most_do_not_is_said_at_its_beginning() -> None:
    of = study("asha", space_name="lora", deepspeed="mine/zero2.json", trials_per_device=2, metrics=("samples_per_s",))
    assert said(1, Lines(of, "GPU")) == (
        "asha, seed 0: up to 12 trials of 2 epochs, space lora, by samples_per_s, 2 trials a device, "
        "DeepSpeed zero2.json, 1 device held"
    )
    assert intention(virtual_study("asha")).endswith(" epochs, simulated")


def test_who_waits_for_a_compiler_is_told_so() -> None:
    assert "DeepSpeed compiles" in preparing(study(deepspeed="zero2"))
    stages = SearchSpace((*SPACE.dimensions, Choice("zero_stage", (0, 2))))
    assert "DeepSpeed compiles" in preparing(study(space=stages))
    assert "DeepSpeed" not in preparing(study())
