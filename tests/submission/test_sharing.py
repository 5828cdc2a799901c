"""Runs whose trials share a device or that have other metrics: accepted where they add up, and found where not."""

from __future__ import annotations

from pathlib import Path

from tests.submission.planted import Events, copied, events_of, forge, found, of_kind, write


def shared(events: Events, claimed: float = 0.5) -> None:
    """The committed run on two devices, as one on a single device of which every trial had a half."""
    events[0]["study"] |= {"trials_per_device": 2, "devices": 1}
    for grant in of_kind(events, "grant_opened", purpose="search"):
        grant["devices"] = 1
    for kind in ("trial_started", "work_lost"):
        for event in of_kind(events, kind):
            if event["trial"] != "final":
                event["devices"] = claimed


def test_trials_that_share_a_device_are_accepted(tmp_path: Path) -> None:
    assert not found(forge(copied(tmp_path, "random"), shared).parent)


def test_a_smaller_share_than_the_studys_is_found(tmp_path: Path) -> None:
    folder = forge(copied(tmp_path, "random"), lambda events: shared(events, claimed=0.25))
    assert set(found(folder.parent)) == {"too-many-devices"}


def test_a_whole_device_for_each_of_two_is_found(tmp_path: Path) -> None:
    folder = forge(copied(tmp_path, "random"), lambda events: shared(events, claimed=1))
    assert set(found(folder.parent)) == {"too-many-devices", "overlap"}


def test_the_winner_is_that_of_the_studys_metric(tmp_path: Path) -> None:
    def by_speed(events: Events) -> None:
        events[0]["study"]["metrics"] = ["samples_per_s"]

    assert "wrong-winner" in found(forge(copied(tmp_path, "random"), by_speed).parent)


def test_a_metric_that_is_none_is_refused(tmp_path: Path) -> None:
    folder = copied(tmp_path, "random")
    events = events_of(folder)
    events[0]["study"]["metrics"] = ["speed"]
    write(folder, events)
    (folder / "record.json").unlink()
    assert found(folder.parent)
