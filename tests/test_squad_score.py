"""SQuAD's scores against vectors worked by hand."""

from __future__ import annotations

import pytest

from bench.squad_score import exact_match, f1, normalise, score


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The  Eiffel Tower.", "eiffel tower"),
        ("An apple a day", "apple day"),
        ("U.S.A.", "usa"),
        ("theatre", "theatre"),
        ("a", ""),
        ("Bell's \n theorem", "bells theorem"),
        ("«Ō»", "«ō»"),
    ],
)
def test_normalises_as_squad_does(text: str, normal: str) -> None:
    assert normalise(text) == normal


@pytest.mark.parametrize(
    ("prediction", "answers", "expected"),
    [
        # One of one predicted words is among two gold ones: precision 1, recall 1/2.
        ("Oslo", ["Oslo Norway"], 2 / 3),
        # Two of three predicted, two of two gold: precision 2/3, recall 1.
        ("in Oslo Norway", ["Oslo, Norway"], 4 / 5),
        # A word counts as often as both have it: 2 shared of 3 and of 2. As sets the F1 would be 1.
        ("ha ha ha", ["ha ha"], 4 / 5),
        # Order does not matter.
        ("Norway Oslo", ["the Oslo Norway"], 1.0),
        # The best gold answer counts.
        ("figs", ["some ripe figs", "figs"], 1.0),
        ("Paris", ["Oslo"], 0.0),
        ("", ["Oslo"], 0.0),
    ],
)
def test_f1_by_hand(prediction: str, answers: list[str], expected: float) -> None:
    assert f1(prediction, answers) == pytest.approx(expected)


def test_exact_match_over_all_answers() -> None:
    assert exact_match("the Oslo!", ["Bergen", "oslo"])
    assert not exact_match("Oslo Norway", ["Oslo"])


def test_scores_are_means_in_per_cent() -> None:
    assert score(["Oslo", "figs", "x"], [["oslo"], ["ripe figs"], ["y"]]) == pytest.approx((100 / 3, 500 / 9))
    with pytest.raises(ValueError, match="2 predictions for 1"):
        score(["a", "b"], [["a"]])
