"""The format of curve sets: what is written is read again, and what is wrong is told in a sentence."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.cli.curves import curves as curves_command
from bench.curves import (
    FAILURES,
    METADATA_NAME,
    TABLE_NAME,
    Curve,
    CurveSet,
    Epoch,
    ModelError,
    curve_set_names,
    header,
    load_curve_set,
    parse_table,
    read_curve_set,
    write_metadata,
    write_table,
)
from bench.errors import UserError
from tests.builders import SPACE

NAMES = SPACE.names


def curve_set(**changes: Any) -> CurveSet:
    fields: dict[str, Any] = {
        "name": "made-up",
        "kind": "recorded",
        "summary": "made up",
        "workload": "bloom560m-squad",
        "recipe": "qa",
        "profile": "a100",
        "space": SPACE,
        "epochs": 3,
        "seeds": (0, 1),
    }
    return CurveSet(**(fields | changes))


losses = st.one_of(st.none(), st.floats(0.001, 40).map(lambda v: round(v, 6)))
seconds = st.floats(0.0001, 1e4).map(lambda v: round(v, 4))


@st.composite
def trials(draw: st.DrawFn) -> tuple[Curve, ...]:
    keys = st.tuples(
        st.floats(5e-6, 2e-4), st.sampled_from([1, 2]), st.sampled_from([0.0, 0.01]), st.sampled_from([0, 1])
    )
    made = []
    for rate, size, decay, seed in sorted(draw(st.lists(keys, max_size=5, unique=True))):
        failure = draw(st.sampled_from(tuple(FAILURES.values())))
        count = 3 if failure is None else draw(st.integers(0, 3))
        epochs = [
            Epoch(
                epoch=i + 1,
                eval_loss=draw(losses),
                train_loss=draw(losses),
                train_s=draw(seconds),
                eval_s=draw(seconds),
                checkpoint_s=draw(seconds),
                samples_per_s=draw(losses),
            )
            for i in range(count)
        ]
        made.append(
            Curve(
                config={"learning_rate": rate, "batch_size": size, "weight_decay": decay},
                seed=seed,
                startup_s=draw(seconds),
                epochs=tuple(epochs),
                failure=failure,
            )
        )
    return tuple(made)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(curves=trials(), noise=st.one_of(st.none(), st.floats(0, 1)))
def test_a_set_is_read_as_it_was_written(curves: tuple[Curve, ...], noise: float | None, tmp_path: Path) -> None:
    error = ModelError(loss_median=0.1, loss_q90=0.2, loss_rank_correlation=0.9, seconds_median_relative=0.01, points=7)
    written = curve_set(
        curves=curves, noise_log_loss=noise, error=error, limits=("It is made up.",), provenance={"a": [1]}
    )
    write_table(tmp_path, written)
    write_metadata(tmp_path, written)
    found = read_curve_set(tmp_path)
    assert replace(found, table_sha256=None) == written
    before = (tmp_path / TABLE_NAME).read_bytes()
    write_table(tmp_path, replace(found, curves=found.curves[::-1]))
    assert (tmp_path / TABLE_NAME).read_bytes() == before


ROW = "1e-05,1,0.0,0,3.0,,1,9.5,9.6,100.0,1.0,1.0,10.0\n"


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (ROW.replace("1e-05,1,", "1e-05,one,"), "line 2: could not convert"),
        (ROW.replace(",1,9.5", ",2,9.5"), "line 2: epoch 2 does not follow the 0 before it"),
        (ROW + ROW, "line 3: epoch 1 does not follow the 1 before it"),
        (ROW.replace("9.5", "inf"), "line 2: inf is not a finite number"),
        (ROW.replace("100.0", "-1"), "seconds are 0 or more"),
        (ROW.replace("3.0,,", "3.0,tired,"), "failure is 'tired'"),
        (ROW[:30] + "\n", "too many or too few fields"),
        (ROW + ROW.replace(",1,9.5", ",2,9.5").replace("3.0,", "4.0,"), "startup_s or failure differs"),
        ("1e-05,1,0.0,0,3.0,,0,,,,,,\n", "must say how it failed"),
        ("1e-05,1,0.0,0,3.0,nan,0,,,,,,\n" * 2, "line 3: epoch 0 does not follow"),
    ],
)
def test_a_wrong_row_is_named(rows: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_table(header(NAMES) + rows, SPACE)


def test_a_table_must_begin_with_its_header() -> None:
    with pytest.raises(ValueError, match="its first line must be learning_rate,batch_size"):
        parse_table(ROW, SPACE)


def test_a_trial_that_stops_early_without_a_failure_is_refused(tmp_path: Path) -> None:
    write_metadata(tmp_path, curve_set())
    (tmp_path / TABLE_NAME).write_text(header(NAMES) + ROW)
    with pytest.raises(UserError, match="under seed 0 has 1 of 3 epochs"):
        read_curve_set(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema_version": 7}, "schema_version 7; this version reads 1"),
        ({"colour": "red"}, r"differ from the expected by \['colour'\]"),
        ({"kind": "guessed"}, "kind: Input should be 'recorded' or 'fitted'"),
        ({"name": "../up"}, "use small letters, digits and dashes"),
        ({"epochs": "many"}, "epochs: Input should be a valid integer"),
        ({"space": {"learning_rate": {"normal": [0, 1]}}}, "expected one of 'choice', 'log_uniform'"),
    ],
)
def test_wrong_metadata_is_refused(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    data = {**curve_set().metadata(), **change}
    (tmp_path / METADATA_NAME).write_text(json.dumps(data))
    with pytest.raises(UserError, match=words):
        read_curve_set(tmp_path)


def test_what_is_not_there_or_not_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no curve set 'tiny-sqad'; did you mean 'tiny-squad'"):
        load_curve_set("tiny-sqad")
    with pytest.raises(UserError, match="No such file"):
        load_curve_set(str(tmp_path))
    (tmp_path / METADATA_NAME).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not text in UTF-8"):
        load_curve_set(str(tmp_path))


@pytest.mark.parametrize("name", curve_set_names())
def test_each_committed_set_can_be_read_and_described(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = load_curve_set(name)
    assert found.name == name
    assert found.limits
    assert found.error is not None
    curves_command.main([name], standalone_mode=False)
    text = capsys.readouterr().out
    assert "model error" in text
    assert "mean loss by epoch" in text
    assert "\x1b" not in text
    curves_command.main([name, "--json"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out)["best"]


def test_the_sets_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    curves_command.main([], standalone_mode=False)
    listed = capsys.readouterr().out
    assert all(name in listed for name in curve_set_names())
    curves_command.main(["--json"], standalone_mode=False)
    assert [each["name"] for each in json.loads(capsys.readouterr().out)] == curve_set_names()


def test_the_default_set_is_the_one_named_after_its_workload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench import curves, simulate

    shutil.copytree(curves.curves_dir(), tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(curves, "curves_dir", lambda: tmp_path)
    shutil.copytree(tmp_path / "tiny-squad", tmp_path / "mine")
    path = tmp_path / "mine" / METADATA_NAME
    path.write_text(path.read_text().replace('"name": "tiny-squad"', '"name": "mine"'))
    assert curves.read_metadata(tmp_path / "mine").name == "mine"
    assert simulate.find_curve_set(None, profile=None, workload=None) == "tiny-squad"
    assert simulate.find_curve_set(None, profile="v100", workload=None) == "published-v100"
    assert simulate.find_curve_set(None, profile=None, workload="bloom560m-squad") == "published-a100"
    path.write_text("[]")
    assert simulate.find_curve_set(None, profile="cpu", workload=None) == "tiny-squad", "a broken set stops no other"
    with pytest.raises(UserError, match="not an object with keys"):
        curves.load_curve_set("mine")
