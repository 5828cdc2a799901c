"""Pictures as the renderer draws them: all are valid, say what their axes are, and keep text text."""

from __future__ import annotations

import json
from typing import Any

import pytest
import vl_convert

from bench.pictures import PICTURES, board_rows, run_rows, specification, theme, to_svg
from bench.pictures.palette import SERIES
from bench.record import build_record
from bench.report.pareto import front_by
from tests.pictures.drawn import FAILED, GRID, MIXED, SVG, Drawn, board, events, found, full_board, place

Rows = list[dict[str, Any]]

UNITS = {
    "trace": ["Search cost (GPU-min)", "Best eval loss (nats a token)"],
    "curves": ["Epoch", "Eval loss (nats a token, log scale)"],
    "schedule": ["Time since the start (s)", "Device"],
    "space": ["learning rate", "batch size", "weight decay", "Eval loss (nats a token, log scale)"],
    "phases": ["Cost (GPU-min)"],
    "pareto": ["Eval loss (nats a token), less is better", "Samples/s, more is better"],
    "ratios": ["Cost to target / the manual grid's (log scale, below 1 is cheaper)"],
    "quality": ["Search cost, allocated, median (GPU-min)", "Winner's eval loss, median (nats a token)"],
}
HOSTILE = "</text><script>window.evil=1</script>&\"'\x1b[31m"


@pytest.fixture(scope="module")
def drawn_rows() -> dict[str, Rows]:
    front = front_by(events(MIXED), ("eval_loss", "samples_per_s"))
    return run_rows(build_record(events(MIXED)), events(MIXED), front) | board_rows(full_board())


def several(rows: Rows, *labels: str) -> Rows:
    return [row | {"run": label} for label in labels for row in rows]


@pytest.mark.parametrize("name", PICTURES)
def test_each_specification_is_valid_alone_and_for_several(name: str, drawn_rows: dict[str, Rows]) -> None:
    for more in (False, True):
        made = specification(name, several=more)
        assert "config" not in made
        assert PICTURES[name].caption in made["description"]
        assert vl_convert.vegalite_to_vega(made | {"datasets": {"rows": drawn_rows[name]}})["marks"]
        assert json.dumps(made) == json.dumps(specification(name, several=more))


def test_a_specification_is_its_callers_own() -> None:
    specification("trace")["layer"].clear()
    assert specification("trace")["layer"]
    with pytest.raises(KeyError):
        specification("pie")


@pytest.mark.parametrize("name", PICTURES)
def test_axes_have_names_and_units(name: str, drawn_rows: dict[str, Rows]) -> None:
    texts = Drawn(to_svg(name, drawn_rows[name], title="Of a run")).texts()
    assert {*UNITS[name], "Of a run"} <= set(texts)
    elsewhere = [row | {"minutes": "device-min"} for row in drawn_rows[name]]
    assert UNITS[name][0].replace("GPU-min", "device-min") in Drawn(to_svg(name, elsewhere)).texts()


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("more", [False, True])
def test_the_same_rows_give_the_same_bytes_and_none_still_a_picture(
    name: str, more: bool, drawn_rows: dict[str, Rows]
) -> None:
    rows = several(drawn_rows[name], "one", "other") if more else drawn_rows[name]
    text = to_svg(name, rows, several=more)
    assert text == to_svg(name, json.loads(json.dumps(rows)), several=more)
    assert PICTURES[name].title in Drawn(text).texts()
    empty = Drawn(to_svg(name, [], several=more)).texts()
    assert (name, more) == ("schedule", True) or any(t.startswith(("No", "There are no")) for t in empty), empty


@pytest.mark.parametrize("name", PICTURES)
def test_labels_of_anybody_are_text(name: str, drawn_rows: dict[str, Rows]) -> None:
    rows = [row | ({"label": HOSTILE} if "label" in row else {}) for row in drawn_rows[name]]
    for text in (to_svg(name, rows, title=HOSTILE), to_svg(name, several(rows, HOSTILE), several=True)):
        assert "<script" not in text
        assert any("<script>window.evil=1</script>" in found for found in Drawn(text).texts())
        assert "\x1b" not in text


@pytest.mark.parametrize("runs", [FAILED, (), GRID[:1]])
def test_runs_with_little_to_show_are_drawn(runs: Any) -> None:
    for name, rows in run_rows(build_record(events(runs)), events(runs)).items():
        Drawn(to_svg(name, rows))
        Drawn(to_svg(name, several(rows, "a", "b"), several=True))


def test_boards_with_little_to_show_are_drawn() -> None:
    for made in (board(found(GRID)), board(found(FAILED)), board(found(GRID, "manual"), found(FAILED))):
        for name, rows in board_rows(made).items():
            Drawn(to_svg(name, rows))


def test_a_lone_value_is_named_in_full() -> None:
    """A tick format from one value alone would be without decimals: 4 for 3.5."""
    rows = run_rows(build_record(events(GRID[1:])), None)
    for name in ("trace", "space"):
        assert "3.5" in Drawn(to_svg(name, rows[name])).texts()
    assert [t for t in Drawn(to_svg("curves", rows["curves"])).texts() if t in ("1", "2")] == ["1", "2"]


def test_ratios_are_drawn_in_the_boards_order_and_at_their_place(drawn_rows: dict[str, Rows]) -> None:
    rows = drawn_rows["ratios"]
    drawn = Drawn(to_svg("ratios", rows))
    names = [t for t in drawn.texts() if t in {row["label"] for row in rows}]
    assert names == [row["label"] for row in rows]
    assert "target missed →" in drawn.texts()
    # Three known ratios, and an arrow where the interval of the strategy that sometimes misses has no end.
    symbols = sorted(place(shape) for shape in drawn.shapes("symbol"))
    assert len(symbols) == 4
    assert symbols[0][0] == symbols[1][0] < symbols[2][0] < symbols[3][0]


def test_the_legend_of_qualities_is_in_the_boards_order(drawn_rows: dict[str, Rows]) -> None:
    labels = [row["label"] for row in drawn_rows["quality"]]
    drawn = Drawn(to_svg("quality", drawn_rows["quality"]))
    assert [t for t in drawn.texts() if t in labels] == labels
    assert len(drawn.shapes("symbol")) == len(labels)
    assert len(drawn.shapes("rule")) == 2, "the manual grid's cost and loss"


def test_a_point_for_each_trial_in_each_panel(drawn_rows: dict[str, Rows]) -> None:
    drawn = Drawn(to_svg("space", drawn_rows["space"]))
    rings = 3
    assert len(drawn.shapes("symbol")) == 3 * len(MIXED) + rings
    assert {"completed", "stopped", "failed", "batch size 1", "batch size 2"} <= set(drawn.texts())
    assert "× at the top: 1 without a loss" in drawn.texts()


def test_several_runs_are_told_apart_in_the_order_given(drawn_rows: dict[str, Rows]) -> None:
    for name in ("trace", "space", "curves"):
        texts = Drawn(to_svg(name, several(drawn_rows[name], "zeta", "alpha"), several=True)).texts()
        assert [t for t in texts if t in ("zeta", "alpha")] == ["zeta", "alpha"]
    bars = Drawn(to_svg("phases", several(drawn_rows["phases"], "zeta", "alpha"), several=True)).texts()
    assert [t for t in bars if t.startswith(("zeta", "alpha"))] == ["zeta", "zeta, final", "alpha", "alpha, final"]


def test_more_runs_than_colours_look_as_their_strategies_do(drawn_rows: dict[str, Rows]) -> None:
    number = len(SERIES) + 1
    for name in ("trace", "space", "curves"):
        rows = [
            row | {"run": f"{strategy}, seed {seed}", "strategy": strategy}
            for strategy in ("zeta", "alpha")
            for seed in range(number)
            for row in drawn_rows[name]
        ]
        texts = Drawn(to_svg(name, rows, several=True)).texts()
        assert [t for t in texts if t.startswith(("zeta", "alpha"))] == ["zeta", "alpha"]
        assert any(f"{2 * number} runs: those of one strategy look alike" in t for t in texts)
        few = [row for row in rows if row["run"].endswith(("seed 0", "seed 1"))]
        texts = Drawn(to_svg(name, few, several=True)).texts()
        assert len([t for t in texts if t.startswith(("zeta", "alpha"))]) == 4
        assert not any("look alike" in t for t in texts)


@pytest.mark.parametrize("name", ["trace", "curves"])
def test_the_legend_shows_the_dashes_that_are_drawn(name: str, drawn_rows: dict[str, Rows]) -> None:
    root = Drawn(to_svg(name, drawn_rows[name])).root
    symbols = [
        symbol
        for group in root.iter(f"{SVG}g")
        if "role-legend-symbol" in group.get("class", "")
        for symbol in group.iter(f"{SVG}path")
    ]
    lines = [
        line for group in root.iter(f"{SVG}g") if "mark-line role-mark" in group.get("class", "") for line in group
    ]
    looks = {(line.get("stroke"), line.get("stroke-dasharray")) for line in lines if line.get("d")}
    assert looks <= {(symbol.get("stroke"), symbol.get("stroke-dasharray")) for symbol in symbols}
    assert any(dash not in (None, "1,0") for _, dash in looks)


def test_phases_are_bars_as_long_as_their_cost(drawn_rows: dict[str, Rows]) -> None:
    rows = drawn_rows["phases"]
    assert len(Drawn(to_svg("phases", rows)).marks("bar")) == len(rows)


def test_the_theme_of_static_pictures_is_on_white_paper() -> None:
    assert theme(static=True)["background"] == "white"
    assert theme()["background"] == "transparent"
