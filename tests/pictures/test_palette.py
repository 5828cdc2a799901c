"""Colours differ for eyes that see two kinds of colour less, and from the paper."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import pytest

from bench.pictures.palette import BLUE, DASHES, PHASE_FILLS, SERIES
from bench.pictures.quality import SHAPES

SEEN = {
    "all": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "no red": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "no green": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "no blue": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}
"""What is left of linear red, green and blue: Machado, Oliveira and Fernandes 2009, severity 1."""
APART = 10.0
"""Of CIE 1976 colour difference; about 2.3 is just noticeable side by side."""


def linear(colour: str) -> list[float]:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]


def lab(rgb: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = (min(1.0, max(0.0, part)) for part in rgb)
    x = (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    z = (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.089
    a, b, c = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in (x, y, z))
    return 116 * b - 16, 500 * (a - b), 200 * (b - c)


def difference(one: str, other: str, eyes: str) -> float:
    seen = [lab([sum(a * b for a, b in zip(row, linear(c), strict=True)) for row in SEEN[eyes]]) for c in (one, other)]
    return float(sum((a - b) ** 2 for a, b in zip(*seen, strict=True)) ** 0.5)


def contrast(one: str, other: str) -> float:
    lights = [sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear(x), strict=True)) for x in (one, other)]
    return (max(lights) + 0.05) / (min(lights) + 0.05)


@pytest.mark.parametrize("eyes", SEEN)
@pytest.mark.parametrize("name", ["series", "phases"])
def test_any_two_colours_are_told_apart(eyes: str, name: str) -> None:
    phases = [fill for kind, fill in PHASE_FILLS.items() if kind != "unsplit"]
    pairs = combinations(SERIES if name == "series" else phases, 2)
    alike = {pair: round(difference(*pair, eyes), 1) for pair in pairs}
    assert min(alike.values()) > APART, sorted(alike.items(), key=lambda item: item[1])[:3]


def test_text_in_bars_is_read_and_lines_are_seen_on_dark_paper() -> None:
    assert all(contrast(fill, "#000000") >= 3.9 for fill in PHASE_FILLS.values())
    assert all(contrast(colour, "#14171c") >= 3 for colour in SERIES)
    assert contrast(BLUE, "#ffffff") >= 4.5


def test_series_meet_each_of_their_dashes_and_shapes_before_they_repeat() -> None:
    for others in (DASHES, SHAPES):
        number = len(SERIES) * len(others)
        assert len({(i % len(SERIES), i % len(others)) for i in range(number)}) == number
