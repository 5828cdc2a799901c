"""One site for all tests that only look at it, and one browser: Debian's Chromium, without a network."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bench.leaderboard import Found
from bench.site import build_site
from tests.site.runs import few_runs

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Request

TIMEOUT_MS = 15_000
LOUD = ("error", "warning")
Open = Callable[..., "Page"]
"""Opens a page of the site; keywords are the browser context's (`viewport`, `color_scheme`...)."""


@pytest.fixture(scope="session")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Found]:
    return few_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="session")
def site(found: list[Found], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built") / "site"
    build_site(found, folder)
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    api = pytest.importorskip("playwright.sync_api", reason="the site's browser tests need Playwright")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("there is no chromium: the site's browser tests need one (Debian's package is `chromium`)")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path)
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Browser, site: Path) -> Iterator[Open]:
    """What it opens must in the end have put no error and no warning on the console, raised nothing, and asked for no
    file outside the site."""
    contexts, trouble = [], []
    inside = f"{site.as_uri()}/"

    def go(address: str = "index.html", **options: Any) -> Page:
        context = browser.new_context(**({"viewport": {"width": 1200, "height": 900}} | options))
        contexts.append(context)
        context.set_default_timeout(TIMEOUT_MS)
        context.set_offline(True)
        page = context.new_page()
        page.on(
            "console",
            lambda said: trouble.append(f"console: {said.text}") if said.type in LOUD else None,
        )
        page.on("pageerror", lambda error: trouble.append(f"raised: {error}"))
        page.on("requestfailed", lambda request: None if left(request) else trouble.append(f"failed: {request.url}"))
        page.on("request", lambda request: None if ours(request.url) else trouble.append(f"asked for {request.url}"))
        page.goto(f"{inside}{address}")
        return page

    def left(request: Request) -> bool:
        return request.failure == "net::ERR_ABORTED"  # the page was left before it had loaded

    def ours(url: str) -> bool:
        return url.startswith((inside, "data:", "blob:"))

    yield go
    for context in contexts:
        context.close()
    assert trouble == []
