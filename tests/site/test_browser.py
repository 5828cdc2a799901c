"""The pages in a real browser, opened from files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bench.journal import JOURNAL_NAME
from bench.leaderboard import Found
from bench.table_html import LONG
from tests.site.conftest import Open
from tests.site.runs import HOSTILE

if TYPE_CHECKING:
    from playwright.sync_api import Page

MEASURED = "section.board[data-origin=measured]"
DRAW_ALL = """async () => {
  for (const fold of document.querySelectorAll("details")) fold.open = true;
  for (const figure of document.querySelectorAll("figure.picture")) {
    figure.scrollIntoView();
    for (let i = 0; i < 300 && !figure.dataset.drawn; i++) await new Promise((go) => setTimeout(go, 20));
  }
  window.scrollTo(0, 0);
  return [...document.querySelectorAll("figure.picture")].map((f) => [f.dataset.picture, f.dataset.drawn]);
}"""
CONTRAST = Path(__file__).with_name("contrast.js").read_text(encoding="utf-8")


def names(page: Page, board: str = MEASURED) -> list[str]:
    """The strategies of a board's shown rows, from above."""
    return page.evaluate(  # type: ignore[no-any-return]
        "(board) => [...document.querySelectorAll(`${board} tbody tr:not([hidden])`)].map((r) => r.dataset.strategy)",
        board,
    )


def header(page: Page, text: str, board: str = MEASURED) -> Any:
    return page.locator(f"{board} thead th", has=page.locator("button.sort")).filter(has_text=text).first


def run_of(found: list[Found], strategy: str, seed: int = 0) -> Found:
    return next(f for f in found if (f.record.study["strategy"], f.record.study["seed"]) == (strategy, seed))


def pages(found: list[Found]) -> list[str]:
    compared = ",".join(run_of(found, name).name for name in ("asha", "manual", "tpe"))
    runs = [f"runs/{run_of(found, name).name}.html" for name in ("asha", "tpe", HOSTILE)]
    return ["index.html", f"compare.html#{compared}", "terms.html", *runs]


def all_drawn(page: Page) -> list[list[str]]:
    if "compare" in page.url:
        page.wait_for_selector("html[data-compared]")
    return page.evaluate(DRAW_ALL)  # type: ignore[no-any-return]


def test_a_click_sorts_and_another_turns_it_round(open_page: Open) -> None:
    page = open_page()
    before = names(page)
    assert before == ["asha", "manual", "tpe", HOSTILE.replace("\u2028", " ")]
    cost = header(page, "allocated")
    cost.get_by_role("button").click()
    assert cost.get_attribute("aria-sort") == "ascending"
    upwards = names(page)
    cost.get_by_role("button").click()
    assert cost.get_attribute("aria-sort") == "descending"
    assert names(page) == upwards[::-1]
    assert header(page, "reached").get_attribute("aria-sort") is None
    header(page, "rank").get_by_role("button").click()
    assert names(page) == before
    assert cost.get_attribute("aria-sort") is None


def test_the_keyboard_alone_sorts_filters_chooses_and_compares(open_page: Open) -> None:
    page = open_page()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('main').contains(document.activeElement)")
    header(page, "strategy").get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert header(page, "strategy").get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Space")
    assert header(page, "strategy").get_attribute("aria-sort") == "descending"
    page.locator(f"{MEASURED} tr[data-strategy=asha] input.pick").focus()
    page.keyboard.press("Space")
    page.locator("#tray-compare").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("html[data-compared]")
    assert "compare.html#" in page.url


def test_every_control_shows_that_it_has_the_focus(open_page: Open) -> None:
    page = open_page()
    seen = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        style = page.evaluate(
            "() => { const a = document.activeElement, s = getComputedStyle(a);"
            " return [a.tagName, s.outlineStyle, parseFloat(s.outlineWidth)] }"
        )
        if style[0] == "BODY":
            break
        seen.add(style[0])
        assert style[1] != "none", style
        assert style[2] >= 1, style
    assert {"A", "INPUT", "SELECT", "BUTTON", "DIV"} <= seen


def test_filters_leave_the_rows_that_fit_and_say_how_many(open_page: Open) -> None:
    page = open_page()
    total = int(page.locator("#filter-count").inner_text().split()[0])
    page.fill("#filter-text", "ASHA measured")
    assert set(names(page)) == {"asha"}
    assert page.locator("section.board:visible").count() == 1
    assert page.locator("#filter-count").inner_text() == f"1 of {total} rows"
    page.get_by_role("button", name="Reset").click()
    page.locator("section.board:not([hidden])").nth(1).wait_for()
    page.select_option("#filter-origin", "simulated")
    assert page.locator("section.board:visible").get_attribute("data-origin") == "simulated"
    page.select_option("#filter-origin", "")
    page.select_option("#filter-strategy", HOSTILE.replace("\u2028", " "))
    assert page.locator("#filter-count").inner_text() == f"1 of {total} rows"
    page.fill("#filter-text", "nothing has these words")
    assert page.locator("section.board:visible").count() == 0
    assert page.locator("#filter-count").inner_text() == f"0 of {total} rows"


def test_a_run_opens_from_its_row_with_all_its_pictures(open_page: Open, found: list[Found]) -> None:
    page = open_page()
    row = page.locator(f"{MEASURED} tbody tr[data-strategy=asha]")
    row.locator("summary").click()
    row.get_by_role("link", name="seed 1").click()
    page.wait_for_load_state()
    assert page.url.endswith(f"runs/{run_of(found, 'asha', 1).name}.html")
    assert page.locator("h1").inner_text() == "asha, seed 1 measured"
    assert all_drawn(page) == [[name, "yes"] for name in ("trace", "curves", "schedule", "space", "phases")]
    assert page.locator("#trials tbody tr").count() == 2
    assert page.locator(".downloads a").all_inner_texts() == ["record.json", "events.jsonl"]


def test_all_pictures_of_a_run_are_drawn_unseen_so_that_a_print_has_them(open_page: Open, found: list[Found]) -> None:
    page = open_page(f"runs/{run_of(found, 'tpe').name}.html", viewport={"width": 800, "height": 300})
    page.locator("figure[data-drawn=yes]").nth(4).wait_for(state="attached")


def test_a_mark_says_what_it_is(open_page: Open, found: list[Found]) -> None:
    page = open_page(f"runs/{run_of(found, 'asha').name}.html")
    all_drawn(page)
    for picture, kind, told in (
        ("trace", "point", "eval loss"), ("curves", "point", "epoch"), ("schedule", "bar", "evaluation"),
        ("space", "point", "learning rate"), ("phases", "bar", "device-min"),
    ):  # fmt: skip
        mark = page.locator(f"figure[data-picture={picture}] [aria-roledescription={kind}]").last
        mark.scroll_into_view_if_needed()
        mark.hover(force=True)
        tooltip = page.locator("#vg-tooltip-element.visible")
        tooltip.wait_for()
        assert told in tooltip.inner_text()
        page.mouse.move(0, 0)


def test_a_picture_is_saved_as_a_file(open_page: Open, found: list[Found]) -> None:
    page = open_page(f"runs/{run_of(found, 'asha').name}.html")
    all_drawn(page)
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save “Best loss over cost” as SVG").click()
    assert saved.value.suggested_filename == "sweepmark-trace.svg"
    assert "<svg" in Path(saved.value.path()).read_text(encoding="utf-8")


def test_a_long_table_is_folded_sorted_as_a_whole_and_opens(open_page: Open, found: list[Found]) -> None:
    simulated = next(f for f in found if f.record.study.get("simulation"))
    page = open_page(f"runs/{simulated.name}.html")
    rows = page.locator("#trials tbody tr")
    visible = page.locator("#trials tbody tr:visible")
    assert (rows.count(), visible.count()) == (LONG + 5, LONG)
    loss = header(page, "eval loss", "#trials")
    loss.get_by_role("button").click()
    column = loss.evaluate("(header) => header.cellIndex")
    shown = [float(text) for text in visible.locator(f"td:nth-child({column + 1})").all_inner_texts()]
    best = min(trial.best_loss for trial in simulated.record.search_trials if trial.best_loss is not None)
    assert shown == sorted(shown)
    assert shown[0] == pytest.approx(best)
    page.emulate_media(media="print")
    assert visible.count() == LONG + 5
    page.emulate_media(media="screen")
    page.get_by_role("button", name="show all").click()
    assert visible.count() == LONG + 5


def test_the_journal_opens_as_it_is(open_page: Open, found: list[Found]) -> None:
    one = run_of(found, "asha")
    page = open_page(f"runs/{one.name}.html")
    link = page.locator(".downloads a", has_text=JOURNAL_NAME)
    assert link.get_attribute("download") == f"{one.name}-{JOURNAL_NAME}"
    link.click()
    page.wait_for_url(f"**/{JOURNAL_NAME}")
    assert page.locator("body").inner_text() == (one.folder / JOURNAL_NAME).read_text(encoding="utf-8")


def test_runs_are_chosen_on_the_board_and_compared(open_page: Open, found: list[Found]) -> None:
    page = open_page()
    assert page.locator("#tray").is_hidden()
    for strategy in ("tpe", "asha"):
        page.locator(f"{MEASURED} tr[data-strategy={strategy}] input.pick").check()
    assert page.locator("#tray-count").inner_text() == "3 runs chosen"
    page.locator("#tray-compare").click()
    page.wait_for_selector("html[data-compared]")
    chosen = {run_of(found, "tpe").name, run_of(found, "asha", 0).name, run_of(found, "asha", 1).name}
    assert set(page.evaluate("document.documentElement.dataset.compared").split(",")) == chosen
    assert page.locator("#verdict").inner_text().startswith("These runs compare:")
    assert all_drawn(page) == [[name, "yes"] for name in ("trace", "space", "phases")]
    cells = page.evaluate(
        "[...document.querySelectorAll('#facts tr')].map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    rows = {row[0].removesuffix(" ≠"): row for row in cells}
    assert sorted(rows["strategy"][1:]) == ["asha", "asha", "tpe"]
    assert rows["strategy"][0].endswith("≠")
    assert rows["workload"][1:] == ["bloom560m-squad"] * 3
    assert rows["workload"][0] == "workload"


def test_runs_that_do_not_compare_are_shown_and_said_so(open_page: Open, found: list[Found]) -> None:
    simulated = next(f for f in found if f.record.study.get("simulation"))
    page = open_page(f"compare.html#{run_of(found, 'manual').name},{simulated.name}")
    page.wait_for_selector("html[data-compared]")
    told = page.locator("#verdict").inner_text()
    assert told.startswith("These runs do not compare:")
    assert "measured or simulated: measured against simulated" in told


def test_a_comparison_grows_and_shrinks_on_its_page(open_page: Open, found: list[Found]) -> None:
    page = open_page("compare.html")
    assert page.locator("#empty").is_visible()
    for strategy in ("asha", "manual"):
        page.fill("#chooser-run", run_of(found, strategy).name)
        page.get_by_role("button", name="Add").click()
    page.wait_for_selector("html[data-compared]")
    page.fill("#chooser-run", "no-such-run")
    page.get_by_role("button", name="Add").click()
    assert page.locator("#chooser-said").inner_text() == "There is no run “no-such-run”."
    page.get_by_role("button", name="Remove asha").click()
    page.wait_for_selector("#comparison", state="hidden")
    assert page.locator("#chosen li").count() == 1


@pytest.mark.parametrize("mangled", ["%", "%3Cscript%3E,../../secret", "a,,b"])
def test_an_address_that_names_no_run_breaks_nothing(open_page: Open, mangled: str) -> None:
    page = open_page(f"compare.html#{mangled}")
    assert page.locator("#empty").is_visible()
    assert page.locator("#comparison").is_hidden()


def test_a_hostile_name_runs_nowhere(open_page: Open, found: list[Found]) -> None:
    hostile = run_of(found, HOSTILE)
    for address in (
        "index.html",
        f"runs/{hostile.name}.html",
        f"compare.html#{hostile.name},{run_of(found, 'tpe').name}",
    ):
        page = open_page(address)
        all_drawn(page)
        assert page.evaluate("window.evil") is None
        assert "</script><script>" in page.locator("body").inner_text()
        assert page.locator("main img").count() == 0


def test_text_stands_out_from_its_ground(open_page: Open, found: list[Found]) -> None:
    for address in pages(found):
        page = open_page(address)
        all_drawn(page)
        for scheme, dark in (("light", False), ("dark", True)):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (max(map(int, re.findall(r"\d+", ground)[:3])) < 60) is dark
            assert page.evaluate(CONTRAST) == []
        page.close()


def test_pale_text_would_be_found(open_page: Open) -> None:
    page = open_page("terms.html")
    page.evaluate("document.querySelector('main').style.color = '#8a8a8a'")
    assert len(page.evaluate(CONTRAST)) > 20


def test_no_page_scrolls_sideways(open_page: Open, found: list[Found]) -> None:
    for address in pages(found):
        page = open_page(address, viewport={"width": 360, "height": 700})
        all_drawn(page)
        for width in (360, 320, 800):
            page.set_viewport_size({"width": width, "height": 700})
            page.wait_for_timeout(50)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, address
        page.close()


def test_a_print_is_black_on_white_with_whole_tables_and_no_controls(open_page: Open, found: list[Found]) -> None:
    for address in pages(found):
        page = open_page(address, color_scheme="dark", viewport={"width": 700, "height": 1000})  # an A4 sheet
        all_drawn(page)
        page.emulate_media(media="print")
        colours = "((style) => [style.backgroundColor, style.color])(getComputedStyle(document.body))"
        assert page.evaluate(colours) == ["rgb(255, 255, 255)", "rgb(0, 0, 0)"]
        for control in ("#filters", "#chooser", "header nav", "input.pick", ".tray", "button.save"):
            assert all(not one.is_visible() for one in page.locator(control).all()), control
        whole = "[...document.querySelectorAll('.table')].every((box) => box.scrollWidth <= box.clientWidth + 1)"
        assert page.evaluate(whole)
        assert page.evaluate(CONTRAST) == []
        page.close()


def test_without_scripts_the_tables_are_there(open_page: Open, found: list[Found]) -> None:
    page = open_page(java_script_enabled=False)
    assert page.locator(f"{MEASURED} tbody tr").count() == 4
    assert page.locator("#filters").is_hidden()
    page.goto(page.url.replace("index.html", f"runs/{run_of(found, 'asha').name}.html"))
    assert page.locator("#trials tbody tr").count() == 2
    assert "Pictures need scripts" in page.locator("figure").first.inner_text()
