"""How fast a large site is: a thousand runs of twelve trials each, all in rows of their own on one board."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench.leaderboard import collect
from bench.site import build_site
from tests.builders import Run, journal, study
from tests.site.runs import write_run

if TYPE_CHECKING:
    from playwright.sync_api import Page

RUNS, TRIALS = 1_000, 12
BUILD_LIMIT_S = 60
INTERACTIVE_LIMIT_S = 1.0
FIRST_SORT = """() => new Promise((answer) => {
  const header = document.querySelector("th[data-key=allocated_device_min]");
  const rows = document.querySelector("section.board tbody").rows;
  const first = rows[0];
  header.querySelector("button").click();
  requestAnimationFrame(() => setTimeout(() => answer({
    ready_s: Number(document.documentElement.dataset.ready) / 1000,
    answered_s: performance.now() / 1000,
    rows: rows.length,
    moved: rows[0] !== first && header.ariaSort === "ascending",
  })));
})"""
"""Clicks the header of a column that sorts another way, and waits until the page has been painted anew. Times are since
the page began to open."""
FIRST_FILTER = """() => {
  const began = performance.now(), field = document.getElementById("filter-text");
  field.value = "strategy-0999";
  field.dispatchEvent(new Event("input", { bubbles: true }));
  return { shown: document.querySelectorAll("tbody tr:not([hidden])").length, s: (performance.now() - began) / 1000 };
}"""


@pytest.fixture(autouse=True, scope="module")
def _asked_for(request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("benchmark_enable"):
        pytest.skip("a benchmark: make benchmark")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """The site, and in how many seconds it was built from files."""
    runs, site = tmp_path_factory.mktemp("thousand"), tmp_path_factory.mktemp("built") / "site"
    for number in range(RUNS):
        losses = [(5.0, 3.0 + (number * 7919 % 1009 + trial) / 1e3) for trial in range(TRIALS)]
        name = f"strategy-{number:04d}" if number else "manual"
        events = journal([Run(losses=each) for each in losses], study(name), idle_s=1 + (number * 31 + 50) % 101 / 100)
        write_run(runs / name, events)
    began = time.perf_counter()
    assert build_site(collect([runs]), site) == RUNS + 3
    return site, time.perf_counter() - began


@pytest.fixture
def page() -> Iterator[Page]:
    api = pytest.importorskip("playwright.sync_api", reason="this needs Playwright")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("there is no chromium (Debian's package is `chromium`)")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        yield browser.new_page()
        browser.close()


def test_a_site_of_a_thousand_runs_is_built_in_a_minute(large: tuple[Path, float]) -> None:
    built_s = large[1]
    print(f"a site of {RUNS} runs: {built_s:.1f} s")
    assert built_s < BUILD_LIMIT_S


def test_a_board_of_a_thousand_rows_answers_within_a_second(large: tuple[Path, float], page: Page) -> None:
    page.goto(f"{large[0].as_uri()}/terms.html")  # the browser itself has started
    found = []
    for _ in range(3):
        page.goto(f"{large[0].as_uri()}/index.html", wait_until="domcontentloaded")
        sorting = page.evaluate(FIRST_SORT)
        filtering = page.evaluate(FIRST_FILTER)
        print(f"{RUNS} rows: ready in {sorting['ready_s']:.2f} s, sorted and painted in {sorting['answered_s']:.2f} s")
        print(f"{RUNS} rows: filtered in {filtering['s']:.3f} s")
        assert sorting["rows"] == RUNS
        assert sorting["moved"]
        assert filtering["shown"] == 1
        found.append(sorting["answered_s"])
    assert min(found) < INTERACTIVE_LIMIT_S, found
