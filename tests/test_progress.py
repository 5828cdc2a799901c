"""The plain lines of a run."""

from __future__ import annotations

from bench.events import GrantOpened
from bench.progress import Lines
from bench.trials import RunState
from tests.builders import study


def said(devices: int, lines: Lines) -> str | None:
    event = GrantOpened(at_s=0.0, grant=f"worker-{devices}", devices=devices, purpose="search")
    return lines._line(event, RunState())


def test_what_is_to_be_done_is_said_once_and_devices_are_counted_in_english() -> None:
    lines = Lines(study("asha", epochs=2), "GPU")
    assert said(1, lines) == "asha, seed 0: up to 12 trials of 2 epochs, 1 device held"
    assert said(2, lines) == "2 more devices held"
    assert said(1, lines) == "1 more device held"
    assert said(4, Lines(study("asha"), "GPU")) == "asha, seed 0: up to 12 trials of 2 epochs, 4 devices held"
