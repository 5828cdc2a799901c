"""What is recommended, and why, from rows that nobody measured."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.stages.agreement import agreement
from bench.stages.recommend import noise, recommend
from tests.stages.rows import full, row


def test_where_everything_fits_the_plain_trainer_is_the_fastest() -> None:
    found = recommend([row("plain", (300.0, 300.0)), row("zero1", (200.0, 200.0)), row("zero3", (100.0, 100.0))])
    assert found.row == "plain"
    assert found.reasons == (
        "plain: the model's whole state fits on each device, so that there is nothing to shard or to offload.",
        "It trains 300.0 samples a second, 1.50 times as many as zero1 and 3.00 times as many as zero3, the slowest.",
    )


def test_where_it_does_not_fit_it_is_the_fastest_that_does() -> None:
    found = recommend([full("plain"), full("zero1"), row("zero2", (100.0,) * 2), row("zero3", (150.0,) * 2)])
    assert found.row == "zero3"
    assert found.reasons[0] == "zero3: plain runs out of memory, and this is the fastest that does not."
    assert "1.50 times as many as zero2." in found.reasons[1]


def test_within_the_noise_the_simplest_is_preferred() -> None:
    found = recommend([row("plain", (98.0,) * 3), row("zero1", (100.0,) * 3)])
    assert found.row == "plain"
    assert "zero1 was faster by 2.0%, which is within the noise of these measurements (3.0%)" in found.reasons[1]
    assert recommend([row("plain", (96.0,) * 3), row("zero1", (100.0,) * 3)]).row == "zero1"


def test_noisy_epochs_widen_it_and_the_first_which_warms_up_does_not() -> None:
    assert noise(row("plain", (10.0, 100.0, 120.0, 110.0))) == pytest.approx(10 / 110)
    assert noise(row("plain", (10.0, 100.0))) == 0.0
    assert recommend([row("plain", (93.0,) * 4), row("zero1", (100.0, 90.0, 110.0, 100.0))]).row == "plain"


def test_a_row_that_trained_another_model_is_not_recommended() -> None:
    rows = [row("plain", (100.0,) * 2), row("zero1", (900.0,) * 2)]
    assert recommend(rows, outside=["zero1"]).row == "plain"


def test_what_takes_less_memory_is_named_where_devices_have_memory() -> None:
    rows = [row("plain", device_mib=1000.0), row("zero2", (50.0,) * 2, device_mib=950.0),
            row("zero3-offload-both", (25.0,) * 2, device_mib=300.0)]  # fmt: skip
    assert recommend(rows).reasons[-1] == (
        "Where memory is short: zero3-offload-both needs 300 MiB on the device instead of 1,000, at 0.25 times the "
        "speed."
    )
    assert "Where memory" not in " ".join(recommend(rows[:2]).reasons), "five per cent less is not worth a word"


def test_where_nothing_fits_it_says_what_can_be_done() -> None:
    found = recommend([full("plain"), full("zero3")])
    assert found.row is None
    assert "--trial-devices" in found.reasons[0]
    failed = recommend([row("plain", (), state="failed", detail="no compiler")])
    assert failed.row is None
    assert "see above why" in failed.reasons[0]


def test_what_was_not_measured_is_not_spoken_of() -> None:
    assert recommend([row("zero2"), full("zero3")]).reasons == ("zero2: the fastest of what was measured.",)


def test_losses_are_held_against_the_first_row_that_completed() -> None:
    """Later epochs more loosely than the first, and 16 bits more loosely than 32."""
    one, two = row("x").epochs
    rows = [
        full("plain"),
        row("zero1"),
        row("zero2", epochs=(one, replace(two, eval_loss=1.0005))),
        row("zero3", epochs=(replace(one, train_loss=3.006), two)),
    ]
    found = agreement(rows, "fp32")
    assert found is not None
    assert (found.reference, found.outside) == ("zero1", ("zero3",))
    assert found.first.at == "zero3"
    assert found.first.largest == pytest.approx(2e-3)
    assert str(found) == (
        "Largest relative difference of losses from zero1's: first epoch 2.0e-03 (zero3; tolerance 1e-05), later "
        "5.0e-04 (zero2; tolerance 1e-03): beyond tolerance: zero3."
    )
    half = agreement(rows, "bf16")
    assert half is not None
    assert half.outside == ()
    assert str(half).endswith("(zero2; tolerance 1e-01): within tolerance.")
    assert agreement(rows[:2], "fp32") is None, "there is nothing to compare"
