"""Runs under a recipe that leaves work out are held against what it cannot leave out, and the losses known of `qa`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.submission.forgeries import EPOCH, first, study
from tests.submission.planted import OWN_DATA, Events, copied, forge, found, of_kind

RUN = "tpe-tiny-squad-qa-cpu-s1"


def in_seconds(train_s: float) -> Callable[[Events], None]:
    """One epoch trained in so many seconds, with rates to match."""

    def change(events: Events) -> None:
        event = of_kind(events, EPOCH)[0]
        factor = event["phases"]["train_s"] / train_s
        event["phases"]["train_s"] = train_s
        event["samples_per_s"] *= factor
        event["tokens_per_s"] *= factor

    return change


def codes(folder: Path, *changes: Callable[[Events], None]) -> set[str]:
    def change(events: Events) -> None:
        for each in changes:
            each(events)

    return set(found(forge(copied(folder, RUN, OWN_DATA), change).parent))


@pytest.mark.parametrize(
    ("recipe", "train_s", "expected"),
    [
        ("fast", 0.05, set()),  # all parameters would take 0.076 s at the core's peak, those worked on 0.034 s
        ("fast", 0.03, {"faster-than-physics"}),
        ("qa", 0.05, {"faster-than-physics"}),
        ("qa", 0.08, set()),
    ],
)
def test_an_epoch_may_be_as_fast_as_its_recipe_allows(
    tmp_path: Path, recipe: str, train_s: float, expected: set[str]
) -> None:
    assert codes(tmp_path, study(recipe=recipe), in_seconds(train_s)) == expected


def test_the_losses_known_are_those_of_qa(tmp_path: Path) -> None:
    assert codes(tmp_path, study(recipe="fast"), first(EPOCH, eval_loss=0.1)) == {"best-known"}
