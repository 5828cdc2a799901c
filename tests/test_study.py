"""A study's plain data: what is not asked for is not in it, so that run ids and journals stay what they were."""

from __future__ import annotations

from typing import Any

import pytest

from bench.study import Study
from tests.builders import study


def test_defaults_are_not_in_the_plain_data() -> None:
    assert not {"metrics", "trials_per_device", "simulation", "space_name"} & study("asha").to_dict().keys()
    assert study("asha", metrics=("eval_loss",), trials_per_device=1).run_id() == study("asha").run_id()


@pytest.mark.parametrize("changes", [{"metrics": ("samples_per_s",)}, {"trials_per_device": 4}, {"space_name": "lora"}])
def test_what_is_asked_for_is_another_run_and_comes_back(changes: dict[str, Any]) -> None:
    asked = study("asha", **changes)
    assert asked.run_id() != study("asha").run_id()
    assert Study.from_dict(asked.to_dict()) == asked


def test_runs_of_other_metrics_do_not_compare_and_shared_devices_do() -> None:
    key = study("asha").comparison_key()
    assert study("asha", metrics=("samples_per_s",)).comparison_key() != key
    assert study("asha", metrics=("eval_loss", "memory_mib")).comparison_key() != key
    assert study("asha", trials_per_device=4).comparison_key() == key
    assert study("asha", space_name="lora").comparison_key() == key


def test_trials_that_share_a_device_have_a_share_of_it() -> None:
    shared = study("asha", devices=2, trials_per_device=4)
    assert (shared.slots, shared.devices_of_a_trial) == (8, 0.25)
    assert (study("asha", devices=2).slots, study("asha", devices_per_trial=1).devices_of_a_trial) == (2, 1)


@pytest.mark.parametrize(
    ("strategy", "changes", "message"),
    [
        ("asha", {"metrics": ("speed",)}, "no metric 'speed'"),
        ("asha", {"metrics": ("eval_loss", "eval_loss")}, "two different ones"),
        ("asha", {"trials_per_device": 0}, "trials_per_device is 0"),
        ("asha", {"trials_per_device": 17}, "16 are allowed"),
        ("asha", {"trials_per_device": 2, "devices": 2, "devices_per_trial": 2}, "cannot share"),
        ("manual", {"trials_per_device": 2}, "cannot share"),
        ("asha", {"space_name": ""}, "cannot have the name ''"),
        ("asha", {"space_name": "<b>"}, "cannot have the name '<b>'"),
        ("asha", {"space_name": 3}, "cannot have the name 3"),
    ],
)
def test_what_cannot_be_is_refused(strategy: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        study(strategy, **changes)
