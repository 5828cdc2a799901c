"""What a site holds, that it is the same twice, and that names of strangers stay text."""

from __future__ import annotations

import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from bench.errors import UserError
from bench.journal import JOURNAL_NAME
from bench.leaderboard import Found, boards
from bench.leaderboard.write import leaderboard_texts
from bench.record import RECORD_NAME, load_record
from bench.site import build_site
from bench.site.script import register
from tests.site.runs import HOSTILE


class Links(HTMLParser):
    """What a page points at, its ids, and what it would run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.handlers: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("href", "src") and value is not None:
                self.addresses.append(value)
            if name == "id":
                self.ids.append(value or "")
            if name.startswith("on") or name == "style":
                self.handlers.append(name)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def registered(script: str) -> dict[str, Any]:
    """Key and data of a data script, read as JSON."""
    match = re.fullmatch(r"sweepmark\.register\((.*)\);\n", script, flags=re.DOTALL)
    assert match is not None
    key, data = json.loads(f"[{match[1]}]")
    return {key: data}


def test_the_same_runs_give_the_same_bytes_in_any_order(found: list[Found], site: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    pages = build_site(list(reversed(found)), again)
    assert pages == len(found) + 3 == len(list(again.rglob("*.html")))
    assert tree(again) == tree(site)


def test_files_to_download_are_those_of_the_run_with_their_digests(found: list[Found], site: Path) -> None:
    for one in found:
        page = (site / "runs" / f"{one.name}.html").read_text(encoding="utf-8")
        folder = site / "data" / one.name
        assert (folder / JOURNAL_NAME).read_bytes() == (one.folder / JOURNAL_NAME).read_bytes()
        assert load_record(folder) == one.record
        for name in (RECORD_NAME, JOURNAL_NAME):
            assert hashlib.sha256((folder / name).read_bytes()).hexdigest() in page


def test_the_leaderboard_lies_beside_the_pages_as_text(found: list[Found], site: Path) -> None:
    for name, text in leaderboard_texts(boards(found)).items():
        assert (site / name).read_text(encoding="utf-8") == text


def test_every_link_leads_somewhere_inside_the_site(site: Path) -> None:
    pages = {path: Links(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    for path, page in pages.items():
        assert len(page.ids) == len(set(page.ids)), path
        for address in page.addresses:
            if address == "data:,":
                continue
            name, _, anchor = address.partition("#")
            target = (path.parent / name).resolve() if name else path
            assert target.is_relative_to(site.resolve()), address
            assert target.is_file(), address
            if anchor and target.name != "compare.html":
                assert anchor in pages[target].ids, address


def test_a_hostile_name_is_text_in_pages(found: list[Found], site: Path) -> None:
    (hostile,) = [one for one in found if one.record.study["strategy"] == HOSTILE]
    assert re.fullmatch(r"[a-z0-9][a-z0-9._-]*", hostile.name)
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        page = Links(text)
        assert "<script>window" not in text
        assert "\u2028" not in text
        assert "img" not in page.tags
        assert page.handlers == []
        scripts = [address for address in page.addresses if address.endswith(".js")]
        assert page.tags.count("script") == len(scripts), "no script stands in a page itself"
    for name in ("index.html", f"runs/{hostile.name}.html"):
        assert "&lt;/script&gt;&lt;script&gt;" in (site / name).read_text(encoding="utf-8")


def test_a_hostile_name_is_text_in_scripts_of_data(found: list[Found], site: Path) -> None:
    scripts = [*site.glob("data/*/data.js"), *(site / "static" / f"{name}.js" for name in ("runs", "boards"))]
    assert len(scripts) == len(found) + 2
    for path in scripts:
        text = path.read_text(encoding="utf-8")
        assert not set(text) & {"<", ">", "&", "\u2028", "\u2029"}, path
        registered(text)
    assert "window.evil" in (site / "static" / "runs.js").read_text(encoding="utf-8")


def test_a_script_of_data_reads_back_and_refuses_what_json_has_not() -> None:
    data = {HOSTILE: [HOSTILE, 1.5, None, "ü"]}
    assert registered(register(HOSTILE, data)) == {HOSTILE: data}
    with pytest.raises(ValueError, match="JSON compliant"):
        register("key", float("nan"))


def test_pages_allow_nothing_but_their_own_files(site: Path) -> None:
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
        assert policy is not None
        assert "default-src &#39;none&#39;" in policy[1]
        assert "unsafe" not in policy[1]
    assert all(b"http://" not in data or name.startswith("static/") for name, data in tree(site).items())


def test_kinds_of_rows_are_said(site: Path) -> None:
    text = (site / "index.html").read_text(encoding="utf-8")
    assert re.findall(r'data-origin="(\w+)"', text) == ["measured", "simulated"]
    assert text.count("(provisional)") == 5, "no row has enough seeds for a claim"


def test_a_record_without_its_journal_has_a_page(found: list[Found], tmp_path: Path) -> None:
    (one,) = [f for f in found if f.record.study["strategy"] == "tpe"]
    alone = Found(folder=tmp_path / "nowhere", record=one.record, name=one.name)
    build_site([alone], tmp_path / "site")
    assert not (tmp_path / "site" / "data" / one.name / JOURNAL_NAME).exists()
    assert JOURNAL_NAME not in (tmp_path / "site" / "runs" / f"{one.name}.html").read_text(encoding="utf-8")


def test_no_runs_give_a_site_that_says_so(tmp_path: Path) -> None:
    assert build_site([], tmp_path / "site") == 3
    assert "There are no runs yet" in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")


def test_progress_is_told_run_by_run(found: list[Found], tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    build_site(found[:2], tmp_path / "site", lambda done, total: told.append((done, total)))
    assert told == [(1, 2), (2, 2)]


def test_a_run_that_cannot_be_read_leaves_no_site(found: list[Found], tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / JOURNAL_NAME).write_text('{"kind": "nothing"}\n', encoding="utf-8")
    with pytest.raises(UserError):
        build_site([Found(folder=bad, record=found[0].record, name="bad")], tmp_path / "site")
    assert [path.name for path in tmp_path.iterdir()] == ["bad"]
