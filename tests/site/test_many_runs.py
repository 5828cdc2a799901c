"""A site of several boards of one workload, with more runs than there are colours."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from bench.leaderboard import Found, boards, collect
from bench.pictures.palette import SERIES
from bench.site import build_site
from tests.builders import journal, study
from tests.site.conftest import TIMEOUT_MS
from tests.site.runs import GRID, POOR, QUICK, write_run

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SEEDS = 5
LINES = """() => [...document.querySelectorAll("[data-picture=trace] .mark-line.role-mark path")]
  .map((path) => `${path.getAttribute("stroke")} ${path.getAttribute("stroke-dasharray") ?? ""}`)"""
LEGEND = """() => [...document.querySelectorAll("[data-picture=trace] .role-legend-entry .role-legend-symbol path")]
  .map((path) => [path.getAttribute("stroke"), path.getAttribute("stroke-dasharray") ?? "", path.getBBox().width])"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Found]:
    """Five seeds of the grid and of asha, one of a strategy that never gets there, and two boards more, one of them
    with three strategies too."""
    folder = tmp_path_factory.mktemp("many")
    measured = partial(journal, provenance_changes={"probe": {"gpus": [{"name": "A100"}], "cpus": 32}})
    for seed in range(SEEDS):
        write_run(folder / f"manual-{seed}", measured(GRID, study("manual", seed=seed)))
        write_run(folder / f"asha-{seed}", measured(QUICK, study("asha", seed=seed)))
    write_run(folder / "poor", measured(POOR, study("bohb")))
    for name, changes in (("long", {"final_epochs": 9}), ("other", {"dataset": "a.json", "dataset_name": "XQuAD"})):
        write_run(folder / f"manual-{name}", measured(GRID, study("manual", **changes)))
        write_run(folder / f"asha-{name}", measured(QUICK, study("asha", **changes)))
    write_run(folder / "poor-long", measured(POOR, study("bohb", final_epochs=9)))
    return collect([folder])


@pytest.fixture(scope="module")
def many_site(runs: list[Found], tmp_path_factory: pytest.TempPathFactory) -> str:
    """Its address."""
    folder = tmp_path_factory.mktemp("site-of-many") / "site"
    build_site(runs, folder)
    return folder.as_uri()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(TIMEOUT_MS)
    yield page
    page.close()


def compare(page: Page, site: str, names: list[str]) -> None:
    page.goto(f"{site}/compare.html#{','.join(names)}")
    page.wait_for_selector("html[data-compared]")


def drawn(page: Page, picture: str) -> str:
    """All text in it."""
    return page.locator(f"[data-picture={picture}] svg.marks").text_content() or ""


def of(runs: list[Found], strategy: str, number: int = SEEDS) -> list[str]:
    """Names of runs of the largest board."""
    board = max(boards(runs), key=lambda board: len(board.rows))
    row = next(row for row in board.rows if row.strategy == strategy)
    return [found.name for found in row.runs[:number]]


def test_runs_beyond_the_colours_share_one_a_strategy(page: Page, many_site: str, runs: list[Found]) -> None:
    compare(page, many_site, [*of(runs, "manual"), *of(runs, "asha")])
    lines = page.evaluate(LINES)
    assert len(lines) == 2 * SEEDS > len(SERIES)
    assert len(set(lines)) == 2
    assert len(set(lines[:SEEDS])) == 1, "the runs of one strategy look alike"
    legend = page.locator("[data-picture=trace] .role-legend-label text").all_text_contents()
    assert legend == ["manual", "asha"]
    for picture in ("trace", "space"):
        assert "10 runs: those of one strategy look alike" in drawn(page, picture)
    assert "a mark's tooltip names its run" in page.locator("section", has_text="Pictures").first.inner_text()
    page.locator("[data-picture=trace] [aria-roledescription=point]").last.hover(force=True)
    page.locator("#vg-tooltip-element.visible").wait_for()
    assert "asha, seed " in page.locator("#vg-tooltip-element").inner_text()


def test_each_of_a_few_runs_has_its_own_look_and_its_legend_shows_it(
    page: Page, many_site: str, runs: list[Found]
) -> None:
    compare(page, many_site, [*of(runs, "manual"), *of(runs, "asha", 2)])
    lines = page.evaluate(LINES)
    assert len({line.split()[0] for line in lines}) == len(SERIES) == SEEDS + 2
    symbols = page.evaluate(LEGEND)
    assert sorted(f"{colour} {dash}" for colour, dash, _ in symbols) == sorted(lines)
    for _, dash, width in symbols:
        assert width >= 1.7 * sum(map(int, dash.split(","))) if dash else True, "two periods of the pattern"
    assert "look alike" not in drawn(page, "trace")


@pytest.mark.parametrize(
    ("manual", "asha", "said"),
    [
        (1, 1, "One run of each still shows what chance did"),
        (5, 5, "Seeds: manual 5, asha 5."),
        (5, 2, "Seeds: manual 5, asha 2. Fewer than 5 of a strategy still show what chance did"),
    ],
)
def test_the_verdict_counts_the_seeds(
    page: Page, many_site: str, runs: list[Found], manual: int, asha: int, said: str
) -> None:
    compare(page, many_site, [*of(runs, "manual", manual), *of(runs, "asha", asha)])
    verdict = page.locator("#verdict").inner_text()
    assert said in verdict
    assert ("One run" in verdict) is (manual == asha == 1)
    assert ("Fewer than" in verdict) is (asha == 2)


def test_headings_tell_the_boards_apart(page: Page, many_site: str) -> None:
    page.goto(f"{many_site}/index.html")
    headings = page.locator("section.board h2").all_inner_texts()
    assert len(headings) == len(set(headings)) == 3
    assert sum("data set XQuAD" in heading for heading in headings) == 1
    assert sum("2 epochs and 9 for the winner" in heading for heading in headings) == 1


def test_never_stays_last_in_every_column_in_both_directions(page: Page, many_site: str) -> None:
    page.goto(f"{many_site}/index.html")
    board = page.locator("section.board", has_text="BOHB").nth(1)
    for key in ("ratio_shown", "over_shuffled", "expected_device_min"):
        button = board.locator(f"th[data-key={key}] button")
        for _ in "up", "down":
            button.click()
            column = board.locator(f"th[data-key={key}]").evaluate("(header) => header.cellIndex")
            shown = board.locator(f"tbody tr > :nth-child({column + 1})").all_inner_texts()
            assert shown[-1] == "never", key
            assert "never" not in shown[:-1]


def test_a_row_under_the_pointer_is_marked_whole(page: Page, many_site: str) -> None:
    page.goto(f"{many_site}/index.html")
    row = page.locator("section.board tbody tr").first
    row.hover()
    cells = row.evaluate(
        "(row) => [...row.cells].map((cell) => getComputedStyle(cell)).map((s) => [s.backgroundColor, s.borderBottom])"
    )
    assert all(one == other for one, other in pairwise(cells))
    level = "(row) => Number(getComputedStyle(row.querySelector('.name')).zIndex)"
    assert row.evaluate(level) > row.evaluate(f"(row) => ({level})(row.nextElementSibling)"), "it hides the rule"


def test_what_is_counted_over_boards_says_that_no_filter_holds(page: Page, many_site: str) -> None:
    page.goto(f"{many_site}/index.html")
    note = page.locator("#across-unfiltered")
    assert page.locator("section.across").is_visible()
    assert note.is_hidden()
    page.fill("#filter-text", "bohb")
    assert "counts all rows" in note.inner_text()
    page.get_by_role("button", name="Reset").click()
    note.wait_for(state="hidden")


def test_a_part_of_a_name_offers_the_runs_that_fit(page: Page, many_site: str) -> None:
    page.goto(f"{many_site}/compare.html")
    options = page.locator("#chooser-runs option").evaluate_all("(all) => all.map((one) => one.label)")
    assert any("data set XQuAD" in option for option in options)
    page.fill("#chooser-run", "asha")
    page.keyboard.press("Enter")
    offers = page.locator("#offers li")
    assert offers.count() == SEEDS + 2
    assert len(set(offers.all_inner_texts())) == SEEDS + 2
    assert page.locator("#chooser-said").inner_text() == "7 runs fit: add those you want."
    offers.filter(has_text="XQuAD").get_by_role("button").click()
    page.locator("#chosen li", has_text="XQuAD").wait_for()
    assert page.locator("#offers").is_hidden()
    page.fill("#chooser-run", "manual XQuAD")
    page.keyboard.press("Enter")
    page.wait_for_selector("html[data-compared]")
    page.fill("#chooser-run", "XQuAD")
    page.keyboard.press("Enter")
    assert page.locator("#chooser-said").inner_text() == "All runs that fit are chosen."
    page.fill("#chooser-run", "xyz")
    page.keyboard.press("Enter")
    assert page.locator("#chooser-said").inner_text() == "There is no run “xyz”."


def test_a_run_page_says_why_it_has_no_ratio(page: Page, many_site: str, runs: list[Found]) -> None:
    for strategy, said in (("asha", True), ("manual", False)):
        page.goto(f"{many_site}/runs/{of(runs, strategy)[0]}.html")
        assert ("a ratio needs the manual baseline's run" in page.locator("main").inner_text()) is said
