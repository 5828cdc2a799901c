"""A ladder's numbers against hand-worked ones, and what its tables and page say of planted defects."""

from __future__ import annotations

from dataclasses import astuple, replace
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.speed.measure import left
from bench.speed.page import page, write_page
from bench.speed.record import encode_ladder, load_ladder
from bench.speed.rungs import REFERENCE
from bench.speed.summary import largest_difference, rows
from bench.speed.tables import agreement, agrees, loss_table, speed_table
from tests.speed.ladders import a_ladder, rung, trial


def test_numbers_by_hand() -> None:
    """No sharding: 5 and 4 s in the steady epoch; 14 and 12 s in all, of the reference's 25 s."""
    found = {row.rung.name: row for row in rows(a_ladder())}
    row = found["no sharding"]
    assert row.train_per_s == pytest.approx(100 * (1 / 5 + 1 / 4) / 2)
    assert row.tokens_per_s == pytest.approx(1000 * (1 / 5 + 1 / 4) / 2)
    assert row.eval_per_s == pytest.approx(10)
    assert row.share_declared == pytest.approx(4e9 * 0.225 / 0.01e12)
    assert row.share_measured == pytest.approx(4e9 * 0.225 / 0.004e12)
    assert row.share_computed == pytest.approx(8e9 * 0.225 / 0.004e12)
    assert row.device_min is not None
    assert astuple(row.device_min) == pytest.approx((13 / 60, 12 / 60, 14 / 60))
    assert row.speed_up is not None
    assert astuple(row.speed_up)[1:] == pytest.approx((25 / 14, 25 / 12))
    assert row.over_published is not None
    assert row.over_published.low == pytest.approx(48 / 14)
    assert (row.host_memory_mib, row.device_memory_mib, row.startup_s) == (302.0, None, 4.0)


def test_one_epoch_is_all_there_is() -> None:
    ladder = a_ladder(rung(REFERENCE, trial(0, (4.0,), (3.0,))), epochs=1, repeats=1)
    (row,) = rows(ladder)
    assert row.train_per_s == pytest.approx(25)
    assert not any("without a trial's first epoch" in note for note in speed_table(ladder, [row]).notes)


def test_the_first_comparable_rung_is_the_reference_and_named() -> None:
    """Without the one that usually is, and where it never came to its end."""
    published, first, second, last = a_ladder().rungs
    broken = replace(first, trials=(trial(0, (), (), state="oom"),))
    for rungs in ((second, last), (published, broken, second, last)):
        ladder = a_ladder(*rungs)
        found = rows(ladder)
        assert found[-1].speed_up is not None
        assert found[-1].speed_up.high == pytest.approx(14 / 8)
        assert agrees(ladder, found) is True
        told = [*speed_table(ladder, found).notes, agreement(ladder, found)]
        assert sum("'no sharding'" in note for note in told) == 2
        assert not any(REFERENCE in note for note in told if "oom" not in note)
        assert any("'workshop'" in note for note in told) == (published in rungs)


def test_columns_that_no_rung_has_are_for_machines_alone() -> None:
    ladder = a_ladder()
    table = speed_table(ladder, rows(ladder))
    assert "device memory" not in table.to_markdown()
    assert "over published" in table.to_markdown()
    assert table.column("device_memory_mib") == [None] * 4
    last = ladder.rungs[-1].trials[0]
    epochs = tuple(replace(epoch, device_memory_mib=7.0) for epoch in last.epochs)
    on_a_device = a_ladder(*ladder.rungs, rung("more", replace(last, epochs=epochs)))
    assert "device memory" in speed_table(on_a_device, rows(on_a_device)).to_markdown()


def test_evaluation_beside_a_checkpoint_is_explained() -> None:
    ladder = a_ladder(*(replace(r, settings={"checkpoints": "waits"}) for r in a_ladder().rungs))
    aside = a_ladder(*ladder.rungs[:-1], replace(ladder.rungs[-1], settings={"checkpoints": "aside"}))
    told = [any("written meanwhile" in note for note in speed_table(one, rows(one)).notes) for one in (ladder, aside)]
    assert told == [False, True]


def test_equal_losses_are_checked_and_said() -> None:
    ladder = a_ladder()
    assert largest_difference(rows(ladder)) == pytest.approx(5e-5)
    assert agrees(ladder, rows(ladder))
    assert "by 5.0e-05 nats at most, within" in agreement(ladder, rows(ladder))
    planted = a_ladder(*ladder.rungs, rung("wrong", trial(0, (1.0, 1.0), (3.0, 2.01))))
    assert agrees(planted, rows(planted)) is False
    assert "BEYOND" in agreement(planted, rows(planted))
    alone = a_ladder(ladder.rungs[0], ladder.rungs[1])
    assert agrees(alone, rows(alone)) is None
    assert "another objective" in str(loss_table(ladder, rows(ladder)).rows[0])


def test_a_trial_that_failed_is_a_row_that_says_so() -> None:
    broken = rung("fast", trial(0, (), (), state="oom", detail="out of | memory", startup_s=None))
    ladder = a_ladder(*a_ladder().rungs[:3], broken)
    table = speed_table(ladder, rows(ladder))
    assert table.rows[-1][0] == "fast (oom)"
    assert table.rows[-1][1] is None
    assert any("fast: oom in repeat 1: out of | memory" in note for note in table.notes)
    assert "out of \\| memory" in page(ladder, rows(ladder), Path())


def test_the_folder_is_made_again_from_the_record(tmp_path: Path) -> None:
    ladder = a_ladder()
    written = write_page(tmp_path / "a", ladder)
    assert {path.name for path in written} == {"README.md", "ladder.svg", "losses.svg"}
    again = load_ladder(tmp_path / "a")
    assert again == ladder
    write_page(tmp_path / "b", again)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_records_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "ladder.json"
    with pytest.raises(UserError, match="Cannot read the ladder"):
        load_ladder(tmp_path)
    path.write_text("[1")
    with pytest.raises(UserError, match="not a ladder of schema 1"):
        load_ladder(tmp_path)
    good = encode_ladder(a_ladder()).decode()
    for wrong, told in (
        (good.replace('"threads": 1', '"threads": "1"'), "threads"),
        (good.replace('"threads": 1', '"threads": 1, "more": 2'), "more"),
        (good.replace('"schema_version": 1', '"schema_version": 9'), "schema 9"),
    ):
        path.write_text(wrong)
        with pytest.raises(UserError, match=told):
            load_ladder(path)


def test_time_left() -> None:
    assert left({}, 3, 2, 0) is None
    # The first of three took 5 s: five more of the like.
    assert left({0: 5.0}, 3, 2, 1) == pytest.approx(25)
    took = {0: 5.0, 1: 3.0, 2: 1.0}
    assert left(took, 3, 2, 3) == pytest.approx(9)
    # The second time begins with the last one.
    assert left(took, 3, 2, 4) == pytest.approx(8)
    assert left(took, 3, 2, 6) == pytest.approx(0)
